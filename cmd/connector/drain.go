package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/source"
)

// Drain implements [control.Daemon]: it closes the sessions at a pace, those
// without a recent pop first. Where nobody waits any more it stops as it is: what
// is closed stays closed until an undo.
func (d *daemon) Drain(ctx context.Context, r control.DrainRequest, yield func(control.Drained) error) error {
	if r.Undo {
		opened, err := d.undrain()
		if err != nil {
			return err
		}
		return yield(control.Drained{Opened: opened})
	}
	if err := d.drain(ctx, source.Pace(r.Pace), yield); err != nil {
		return err
	}
	if r.Exit {
		d.leaveOnce.Do(func() { close(d.leave) })
	}
	return nil
}

// leaving is one session on its way out.
type leaving struct {
	fleet  *source.Fleet
	status source.AgentStatus
}

var errUndone = control.Wrong(errors.New("the drain was undone before all sessions were closed"))

var errDrained = errors.New("the drain was ended before all sessions were closed: those that were stay closed until 'connector drain --undo'")

// drain opens nothing more and closes what there is.
func (d *daemon) drain(ctx context.Context, pace source.Pace, yield func(control.Drained) error) error {
	all, err := d.beginDrain()
	if err != nil {
		return err
	}
	d.log.Warn("draining: no session is opened any more", "sessions", len(all), "pace", pace.String())
	limiter := rate.NewLimiter(rate.Inf, 1)
	if pace > 0 {
		limiter = rate.NewLimiter(rate.Limit(pace), 1)
	}
	if err := yield(control.Drained{Left: len(all), Total: len(all)}); err != nil {
		return err
	}
	for i, l := range all {
		if err := limiter.Wait(ctx); err != nil || ctx.Err() != nil {
			return errDrained
		}
		if d.desk.drained().IsZero() {
			return errUndone
		}
		l.fleet.CloseAgent(l.status.ID)
		if err := yield(control.Drained{Left: len(all) - i - 1, Total: len(all)}); err != nil {
			return err
		}
	}
	d.log.Info("drained", "sessions", len(all))
	return nil
}

// beginDrain stops all dialling and returns the sessions, those whose last pop is
// longest ago first.
func (d *daemon) beginDrain() ([]leaving, error) {
	d.desk.turn.Lock()
	defer d.desk.turn.Unlock()
	if d.reloading.sources == nil && !d.stopping.Load() {
		return nil, errNotRunning
	}
	d.desk.setDrained(time.Now())
	var all []leaving
	for _, held := range d.held() {
		for _, status := range held.Fleet().Drain() {
			all = append(all, leaving{held.Fleet(), status})
		}
	}
	slices.SortFunc(all, func(a, b leaving) int {
		return cmp.Or(a.status.LastPop.Compare(b.status.LastPop), cmp.Compare(a.status.ID, b.status.ID))
	})
	return all, nil
}

// undrain opens the sessions again.
func (d *daemon) undrain() (opened int, err error) {
	d.desk.turn.Lock()
	defer d.desk.turn.Unlock()
	if d.reloading.sources == nil {
		return 0, errNotRunning
	}
	if d.desk.drained().IsZero() {
		return 0, control.Wrong(errors.New("the connector is not drained"))
	}
	d.desk.setDrained(time.Time{})
	for _, held := range d.held() {
		opened += held.Fleet().Resume().Opened
	}
	d.log.Warn("no longer drained: sessions are opened again", "opened", opened)
	return opened, nil
}

func (k *desk) setDrained(since time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if since.IsZero() || k.drainedSince.IsZero() {
		k.drainedSince = since
	}
}

func (k *desk) drained() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.drainedSince
}

// closePaced closes the sessions before a stop, at drain_pace, or faster where
// that would not be done in time.
func (d *daemon) closePaced(ctx context.Context, within time.Duration) {
	pace := d.running.Load().DrainPace
	if pace == 0 {
		return
	}
	sessions := 0
	for _, held := range d.held() {
		sessions += held.Fleet().Up()
	}
	if least := source.Pace(float64(sessions) / within.Seconds()); least > pace {
		d.log.Warn("drain_pace cannot close all sessions in half of shutdown_timeout: they are closed faster",
			"sessions", sessions, "drain_pace", pace.String(), "pace", fmt.Sprintf("%.1f/s", float64(least)), "within", within.String())
		pace = least
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := d.drain(ctx, pace, func(control.Drained) error { return nil }); err != nil {
		d.log.Warn("the rest of the sessions is closed at once", "error", err)
	}
}
