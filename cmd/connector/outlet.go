package main

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
)

// outlet is where the intake stores events. It can be shut, so that events wait in
// memory, and opened to another log: that of a successor.
type outlet struct {
	// passing has a part for each event under way; who has all of them has shut it.
	passing *semaphore.Weighted
	// emit is read with a part of passing, written with all.
	emit source.Emit
}

// outletParts is more than the intake has events under way.
const outletParts = 1 << 20

func newOutlet(emit source.Emit) *outlet {
	return &outlet{passing: semaphore.NewWeighted(outletParts), emit: emit}
}

// Emit is a source.Emit. While the outlet is shut it waits.
func (o *outlet) Emit(ctx context.Context, e schema.Event) error {
	if err := o.passing.Acquire(ctx, 1); err != nil {
		return fmt.Errorf("emit event %s: the log is being passed on: %w", e.ID, err)
	}
	defer o.passing.Release(1)
	return o.emit(ctx, e)
}

// shut lets nothing more through, and waits for what is under way; ctx bounds the
// wait, and where it ends first the outlet is open.
func (o *outlet) shut(ctx context.Context) error {
	if err := o.passing.Acquire(ctx, outletParts); err != nil {
		return fmt.Errorf("the log does not take the events that are under way: %w", context.Cause(ctx))
	}
	return nil
}

// open lets events through to emit. The outlet is shut.
func (o *outlet) open(emit source.Emit) {
	o.emit = emit
	o.passing.Release(outletParts)
}
