package sinktest

import (
	"context"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

func closeSink(t *testing.T, s sink.Sink) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Close(ctx); err != nil {
		t.Errorf("Close: %v", err)
	}
}

func (h Harness) closeTwice(t *testing.T) {
	b := h.Open(t)
	publish(t, b.Sink, records(spread(schema.TypeCallPop, 3, 3)))
	closeSink(t, b.Sink)
	closeSink(t, b.Sink)
}

func (h Harness) closeUnused(t *testing.T) {
	b := h.Open(t)
	closeSink(t, b.Sink)
	closeSink(t, b.Sink)
}

// closeAway does not ask for an error or its absence: only that Close ends.
func (h Harness) closeAway(t *testing.T) {
	b := h.Open(t)
	if b.Stop == nil {
		t.Skip("the harness cannot take its broker away")
	}
	publish(t, b.Sink, records(spread(schema.TypeCallPop, 3, 3)))
	b.Stop(t)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = b.Sink.Publish(ctx, records(spread(schema.TypeCallPop, 3, 3)))
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		_ = b.Sink.Close(ctx)
	}()
	select {
	case <-closed:
	case <-time.After(patience):
		t.Fatal("Close does not return though its context is done")
	}
}

func (h Harness) publishClosed(t *testing.T) {
	b := h.Open(t)
	closeSink(t, b.Sink)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := b.Sink.Publish(ctx, records(spread(schema.TypeCallPop, 3, 3)))
	if err == nil || sink.IsPermanent(err) {
		t.Errorf("Publish after Close: %v", err)
	}
}
