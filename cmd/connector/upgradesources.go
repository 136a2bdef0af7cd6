package main

import (
	"context"
	"errors"
	"time"

	"github.com/callpop/connector/source/relay"
	"github.com/callpop/connector/source/session"
)

// passSources empties the memory, has the sockets wait, and passes them on.
func (h *handing) passSources(ctx context.Context) error {
	// What has been waiting first, with the sockets still read; then what came
	// meanwhile, which is next to nothing.
	if err := within(ctx, openTimeout, h.intake.Flush); err != nil {
		return err
	}
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, pauseTimeout, errPausedTooLong)
	defer cancel()
	handed, err := h.collect(ctx)
	if err != nil {
		return err
	}
	if err := h.intake.Flush(ctx); err != nil {
		return err
	}
	if err := h.sendSources(ctx, handed); err != nil {
		return err
	}
	if err := h.line.Send(kindWhole, wholeBody{DrainedSince: h.desk.drained()}); err != nil {
		return err
	}
	if err := h.awaitTaken(ctx); err != nil {
		return err
	}
	h.result.Paused = time.Since(began)
	for _, s := range h.passables() {
		s.Part()
	}
	return nil
}

// awaitTaken waits for the successor's last word. Where it does not come in time,
// the line is closed in a way that leaves no doubt whether it was said.
func (h *handing) awaitTaken(ctx context.Context) error {
	_, err := h.expect(ctx, kindTaken, pauseTimeout)
	if err == nil {
		return nil
	}
	if deafened := h.line.Deafen(); deafened != nil {
		return errors.Join(err, deafened)
	}
	// What was sent before comes still, then the end.
	if _, last := h.expect(context.WithoutCancel(ctx), kindTaken, pauseTimeout); last == nil {
		return nil
	}
	return err
}

// collect has all sources wait and takes their state.
func (h *handing) collect(ctx context.Context) (all []sourceBody, err error) {
	for _, s := range h.openSources() {
		body := sourceBody{Name: s.name}
		switch made := s.source.(type) {
		case *session.Source:
			body.Session, err = made.HandOver(ctx)
		case *relay.Source:
			body.Relay, err = made.HandOver(ctx)
		default:
			continue // its listener is all it has
		}
		if err != nil {
			return nil, err
		}
		all = append(all, body)
	}
	return all, nil
}

// sendSources passes sources on, message by message.
func (h *handing) sendSources(ctx context.Context, all []sourceBody) error {
	for _, s := range all {
		if err := h.deliver(ctx, kindSource, s); err != nil {
			return err
		}
		if err := h.sendAgents(ctx, s.Session); err != nil {
			return err
		}
		if err := h.sendDesktops(ctx, s.Relay); err != nil {
			return err
		}
	}
	return nil
}
