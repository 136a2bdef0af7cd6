package main

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/source"
)

// passSpool stops everything that uses the spool and lets the successor open it.
func (h *handing) passSpool(ctx context.Context) error {
	h.paused = true
	if err := within(ctx, shutTimeout, func(ctx context.Context) error {
		for _, s := range h.passables() {
			if err := s.Pause(ctx); err != nil {
				return err
			}
		}
		return h.outlet.shut(ctx)
	}); err != nil {
		return err
	}
	h.shut = true
	h.pauseSinks()
	h.suspended = true
	if err := h.spool.Suspend(ctx); err != nil {
		return err
	}
	if err := h.sendListeners(); err != nil {
		return err
	}
	if err := h.line.Send(kindSpool, spoolBody{thisBuild().Version, ownProcess()}); err != nil {
		return err
	}
	if err := h.awaitOpen(ctx); err != nil {
		return err
	}
	h.shut, h.opened = false, true
	h.outlet.open(h.remote.Emit)
	return nil
}

// awaitOpen waits until the successor has the spool open, or memory gets short.
func (h *handing) awaitOpen(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	looked := make(chan struct{})
	go func() {
		defer close(looked)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if limit := cmp.Or(h.running.Load().Intake.BufferBytes, source.DefaultBufferBytes); h.intake.Queued() > limit/4*3 {
					cancel(errors.New("the successor takes too long to open the spool: source.buffer_bytes is three quarters full"))
				}
			}
		}
	}()
	_, err := h.expect(ctx, kindOpen, openTimeout)
	cancel(nil)
	<-looked
	return err
}

// within calls do with a bound.
func within(ctx context.Context, limit time.Duration, do func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	return do(ctx)
}

// reopen opens the spool again, as soon as the successor has let go of it.
func (h *handing) reopen() {
	pause := 10 * time.Millisecond
	for began := time.Now(); ; {
		err := h.spool.Resume(context.Background())
		if err == nil || errors.Is(err, spool.ErrClosed) {
			if err := h.desk.rewrite(); err != nil {
				h.log.Warn("the rosters' file may be as the successor left it", "error", err)
			}
			return
		}
		if time.Since(began) > reopenTimeout && h.upgrading.kill(h.hello.Process) {
			h.log.Warn("the successor was killed: it did not end, and kept the spool", "successor", h.hello.Process)
		}
		h.log.Warn("the spool cannot be opened again yet: events wait in memory", "error", err)
		time.Sleep(pause)
		pause = min(2*pause, maxReopen)
	}
}

// pauseSinks ends the forwarders, each with its cursor stored.
func (d *daemon) pauseSinks() {
	all := d.openSinks()
	for _, s := range all {
		d.reloading.sinks.dismiss(s.name, &s.task, func() {})
	}
	for _, s := range all {
		<-s.done
	}
}

// resumeSinks starts forwarders for the sinks again.
func (d *daemon) resumeSinks() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, former := range d.sinks {
		s := &delivery{name: former.name, kind: former.kind, sink: former.sink, types: former.types}
		var err error
		s.forwarder, err = sink.New(sink.Options{
			Name: s.name, Sink: s.sink, Types: s.types, Start: d.startOf(s.name), Spool: sink.FromSpool(d.spool),
			Logger: d.log.With("part", "sink"), Meter: d.telemetry.Meter("sink"),
		})
		if err != nil {
			// It was made of the same before, so this is a defect; the others go on.
			d.log.Error("a sink is not served any more", "sink", s.name, "error", err)
			continue
		}
		d.sinks[i] = s
		d.reloading.sinks.start(s.name, &s.task, s.forwarder.Run)
	}
}
