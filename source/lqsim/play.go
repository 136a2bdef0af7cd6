package lqsim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/callpop/connector/source/pop"
)

// PlayOptions say how a scenario is played.
type PlayOptions struct {
	// Agents is the roster that $1, $2 … and $all stand for.
	Agents []string
	// Format, Charset and Seed are used where the scenario names none. Defaults
	// t1v5, utf-8 and 0.
	Format  string
	Charset string
	Seed    uint64
	// FirstSN is the serial number of the first call. Default 1000.
	FirstSN uint64
	// Location is the server's zone for tm. Default UTC+8.
	Location *time.Location
	// OnStep, where not nil, is called after each step for each of its agents.
	OnStep func(Played)
}

// Played is one step that was done.
type Played struct {
	// Round counts from 1; Line is the step's line in the file.
	Round, Line int
	Kind        Kind
	// Agent is whom it was for; empty for a step that is for the whole server.
	Agent string
	// Err is why it did nothing, such as [ErrNoSession]. The scenario goes on.
	Err error
}

// stage is what a scenario plays on: a [Server].
type stage interface {
	Send(agent string, raw []byte) error
	SendBytes(agent string, data []byte) error
	Heartbeat(agent string) error
	Silence(agent string, on bool)
	HalfOpen(agent string) error
	Close(agent string) error
	Reset(agent string) error
	Cut(agent string, raw []byte, at int) error
	CutReset(agent string, raw []byte, at int) error
	Refuse(on bool) error
	HangUp(on bool)
	Mute(on bool)
	WaitSessions(ctx context.Context, n int) error
}

// Play plays the scenario on a server that runs. It returns when all rounds are
// done, or with the context's cause. Silence, refusals and the like that still
// last then are lifted. A step whose agent has no session does nothing and is
// reported to [PlayOptions.OnStep]; an error is the scenario's own (a
// [*ScenarioError]: a roster too short for $2, a field that its format cannot
// carry), a wait that ran out, or a port that could not be had again.
func (s *Scenario) Play(ctx context.Context, server *Server, opts PlayOptions) (Tally, error) {
	return s.play(ctx, server, opts)
}

func (s *Scenario) play(ctx context.Context, on stage, opts PlayOptions) (tally Tally, err error) {
	opts.Format = cmp.Or(s.format, opts.Format, pop.T1V5)
	opts.Charset = cmp.Or(s.charset, opts.Charset, UTF8)
	if s.seed != nil {
		opts.Seed = *s.seed
	}
	if err := cmp.Or(checkAgents(opts.Agents), checkFormat(opts.Format), checkCharset(opts.Charset)); err != nil {
		return Tally{}, fmt.Errorf("play scenario %s: %w", s.Name, err)
	}
	p := &player{scenario: s, opts: opts, on: on, exchange: newExchange(opts.Seed, opts.FirstSN, opts.Location)}
	for i := range s.steps {
		if err := p.checkRoster(&s.steps[i]); err != nil {
			return Tally{}, err
		}
	}
	defer func() {
		tally = p.tally
		err = errors.Join(err, p.lift())
	}()
	for p.round = 1; s.rounds == 0 || p.round <= s.rounds; p.round++ {
		if err := p.playRound(ctx); err != nil {
			return p.tally, err
		}
	}
	return p.tally, nil
}

// player plays one scenario once.
type player struct {
	scenario *Scenario
	opts     PlayOptions
	on       stage
	exchange *exchange
	tally    Tally

	round int
	calls map[string]*call // by name, in this round
	last  *call
	// lasting are the states that end by themselves, or with the scenario.
	lasting []lasting
}

// lasting is a state that the script has switched on.
type lasting struct {
	what  string    // one state is lifted once
	until time.Time // zero: when the scenario ends
	lift  func() error
}

// last until the step's time is over. A later step for the same takes over.
func (p *player) start(s *step, now time.Time, what string, lift func() error) {
	p.lasting = slices.DeleteFunc(p.lasting, func(l lasting) bool { return l.what == what })
	l := lasting{what: what, lift: lift}
	if s.duration > 0 {
		l.until = now.Add(s.duration)
	}
	p.lasting = append(p.lasting, l)
}

// lift ends every state that lasts.
func (p *player) lift() error {
	var errs []error
	for _, l := range p.lasting {
		errs = append(errs, l.lift())
	}
	p.lasting = nil
	return errors.Join(errs...)
}

// sleep waits until then, and lifts what ends before.
func (p *player) sleep(ctx context.Context, until time.Time) error {
	for {
		next, at := until, -1
		for i, l := range p.lasting {
			if !l.until.IsZero() && !l.until.After(next) {
				next, at = l.until, i
			}
		}
		if wait := time.Until(next); wait > 0 {
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if at < 0 {
			return nil
		}
		l := p.lasting[at]
		p.lasting = slices.Delete(p.lasting, at, at+1)
		if err := l.lift(); err != nil {
			return err
		}
	}
}

func (p *player) playRound(ctx context.Context) error {
	p.calls, p.last = make(map[string]*call), nil
	origin := time.Now()
	clock := origin
	for i := range p.scenario.steps {
		s := &p.scenario.steps[i]
		if s.hasAt {
			clock = origin.Add(s.at)
		} else {
			clock = clock.Add(s.after)
		}
		if err := p.sleep(ctx, clock); err != nil {
			return err
		}
		switch {
		case s.kind == Wait && s.sessions > 0:
			waited, err := p.waitSessions(ctx, s)
			if err != nil {
				return err
			}
			// The script's clock stands still meanwhile.
			origin, clock = origin.Add(waited), clock.Add(waited)
			p.done(s, "", nil)
		case s.kind == Wait:
			clock = clock.Add(s.duration)
			if err := p.sleep(ctx, clock); err != nil {
				return err
			}
			p.done(s, "", nil)
		default:
			if err := p.step(ctx, s, clock); err != nil {
				return err
			}
		}
	}
	for _, l := range p.lasting {
		if l.until.After(clock) {
			clock = l.until
		}
	}
	return p.sleep(ctx, clock)
}

func (p *player) waitSessions(ctx context.Context, s *step) (time.Duration, error) {
	begun := time.Now()
	within := ctx
	if s.duration > 0 {
		var cancel context.CancelFunc
		within, cancel = context.WithTimeout(ctx, s.duration)
		defer cancel()
	}
	err := p.on.WaitSessions(within, s.sessions)
	if err != nil && ctx.Err() == nil {
		return 0, p.wrong(s, "sessions", "too few", fmt.Sprintf("%d within %s", s.sessions, s.duration))
	}
	return time.Since(begun), err
}

// wrong is an error of the step's own.
func (p *player) wrong(s *step, key, what, expected string) error {
	return &ScenarioError{File: p.scenario.file, Line: s.line, Key: key, Value: what, Expected: expected}
}
