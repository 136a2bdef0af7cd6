package main

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"
)

// poster empties the outbox into the hook.
type poster struct {
	outbox *outbox
	hook   *hook
	log    *slog.Logger
	down   bool // whether the last attempts failed
}

const (
	postsPerLook = 128
	// The pause before a call is posted again doubles from one to the other.
	firstPause = time.Second
	lastPause  = 5 * time.Minute
	// An event that was done so long ago is forgotten: no broker has it any more.
	remembered = 30 * 24 * time.Hour
	prunes     = time.Hour
)

// run posts what the outbox has and gets, until ctx is done; then it returns nil.
// A call that cannot be posted is tried again for ever, less and less often; it
// does not hold up the others for longer than an attempt takes.
func (p *poster) run(ctx context.Context) error {
	defer p.hook.close()
	var pruned time.Time
	for ctx.Err() == nil {
		now := time.Now()
		if now.Sub(pruned) > prunes {
			if err := p.outbox.prune(ctx, now.Add(-remembered)); err != nil && ctx.Err() == nil {
				return err
			}
			pruned = now
		}
		letters, next, err := p.outbox.due(ctx, now, postsPerLook)
		if err == nil && len(letters) > 0 {
			err = p.post(ctx, letters)
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		case len(letters) == 0:
			p.wait(ctx, next)
		}
	}
	return nil
}

// wait returns when something was put in, when the next call is due, or now and
// then.
func (p *poster) wait(ctx context.Context, next time.Time) {
	pause := prunes
	if !next.IsZero() {
		pause = min(pause, time.Until(next))
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-p.outbox.filled:
	case <-ctx.Done():
	}
}

// post posts some calls, several at once.
func (p *poster) post(ctx context.Context, letters []letter) error {
	states := make([]state, len(letters))
	whys := make([]string, len(letters))
	var group errgroup.Group
	group.SetLimit(postsAtOnce)
	for i, l := range letters {
		group.Go(func() error {
			if ctx.Err() == nil {
				states[i], whys[i] = p.hook.post(ctx, l.event, l.body)
			}
			return nil
		})
	}
	_ = group.Wait()
	outcomes := make([]outcome, 0, len(letters))
	failed := -1
	for i, l := range letters {
		switch {
		case states[i] == done:
		case ctx.Err() != nil:
			continue // it may have been cut short: no attempt
		case states[i] == refused:
			p.log.Warn("the CRM refuses a call for good; it stays in the outbox as refused", "event", l.event, "answer", whys[i])
		default:
			failed = i
		}
		outcomes = append(outcomes, outcome{event: l.event, state: states[i], next: time.Now().Add(pause(l.tries))})
	}
	if err := p.outbox.settle(ctx, outcomes); err != nil {
		return err
	}
	return p.tell(ctx, failed, whys)
}

// tell logs once that the hook went down, and once that it is up again.
func (p *poster) tell(ctx context.Context, failed int, whys []string) error {
	down := failed >= 0
	if down == p.down || ctx.Err() != nil {
		return nil
	}
	p.down = down
	n, err := p.outbox.count(ctx)
	if err != nil {
		return err
	}
	if down {
		p.log.Warn("the CRM does not take calls; they are kept and tried again", "waiting", n, "error", whys[failed])
	} else {
		p.log.Info("the CRM takes calls again", "waiting", n)
	}
	return nil
}

// pause is with jitter, so that what failed together does not come back together.
func pause(tries int) time.Duration {
	longest := lastPause
	if tries < 16 {
		longest = min(lastPause, firstPause<<tries)
	}
	return longest/2 + rand.N(longest/2)
}
