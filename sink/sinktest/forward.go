package sinktest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// forward runs a forwarder between a spool in memory and s while work runs, then
// drains and stops it.
func forward(t *testing.T, spool *Spool, s sink.Sink, work func()) {
	t.Helper()
	f, err := sink.New(sink.Options{
		Name:  "suite",
		Sink:  s,
		Types: schema.Types[:],
		Spool: spool,
		Start: sink.StartAll,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	work()
	bounded, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	if err := f.WaitDrained(bounded); err != nil {
		status, _ := json.Marshal(f.Status(ctx))
		t.Errorf("%v: %s", err, status)
	}
	stop()
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func emitAll(t *testing.T, spool *Spool, events []schema.Event) {
	t.Helper()
	for _, e := range events {
		if err := spool.Emit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// letterIDs returns the ids of the events whose dead letters the spool holds.
func letterIDs(t *testing.T, spool *Spool) map[string]int {
	t.Helper()
	found := make(map[string]int)
	for _, r := range spool.Records(schema.TypeDeadLetter) {
		var letter schema.DeadLetter
		if err := json.Unmarshal(r.Body, &letter); err != nil {
			t.Fatal(err)
		}
		found[letter.Headers[schema.AttributeID]]++
	}
	return found
}

func (h Harness) forwardOutage(t *testing.T) {
	b := h.Open(t)
	if b.Stop == nil || b.Start == nil {
		t.Skip("the harness cannot take its broker away and bring it back")
	}
	spool := NewSpool()
	events := spread(schema.TypeCallPop, 600, 40)
	forward(t, spool, b.Sink, func() {
		emitAll(t, spool, events[:200])
		b.Stop(t)
		emitAll(t, spool, events[200:400])
		b.Start(t)
		emitAll(t, spool, events[400:])
	})
	t.Logf("%d duplicates", CheckDelivered(t, events, b.Stored(t, schema.TypeCallPop)))
}

// mixture makes n events of which some are too large, and says which are not.
func (h Harness) mixture(n, keys int) (all, good []schema.Event, bad map[string]bool) {
	all = spread(schema.TypeCallPop, n, keys)
	bad = make(map[string]bool)
	for i := range all {
		if i%7 == 3 {
			all[i].Body = bytes.Repeat([]byte("x"), h.TooLarge)
			bad[all[i].ID] = true
		} else {
			good = append(good, all[i])
		}
	}
	return all, good, bad
}

func checkLetters(t *testing.T, spool *Spool, bad map[string]bool) {
	t.Helper()
	found := letterIDs(t, spool)
	for id := range bad {
		if found[id] != 1 {
			t.Errorf("event %s, which is too large, has %d dead letters, want 1", id, found[id])
		}
	}
	if len(found) != len(bad) {
		t.Errorf("%d events have dead letters, want %d", len(found), len(bad))
	}
}

func (h Harness) forwardRefused(t *testing.T) {
	if h.TooLarge == 0 {
		t.Skip("the broker has no limit")
	}
	b := h.Open(t)
	spool := NewSpool()
	all, good, bad := h.mixture(28, 3)
	forward(t, spool, b.Sink, func() { emitAll(t, spool, all) })
	CheckDelivered(t, good, b.Stored(t, schema.TypeCallPop))
	checkLetters(t, spool, bad)
}

func (h Harness) forwardMixed(t *testing.T) {
	b := h.Open(t)
	if b.Stop == nil || b.Start == nil || h.TooLarge == 0 {
		t.Skip("the harness cannot take its broker away and bring it back, or it has no limit")
	}
	spool := NewSpool()
	all, good, bad := h.mixture(84, 10)
	sessions := make([]schema.Event, 60)
	for i := range sessions {
		sessions[i] = Event(schema.TypeSessionChanged, i, fmt.Sprintf("hq/%d", 801+i%6), fmt.Sprint(801+i%6))
	}
	forward(t, spool, b.Sink, func() {
		for i := range 3 {
			emitAll(t, spool, all[i*28:(i+1)*28])
			emitAll(t, spool, sessions[i*20:(i+1)*20])
			if i < 2 {
				b.Stop(t)
				b.Start(t)
			}
		}
	})
	CheckDelivered(t, good, b.Stored(t, schema.TypeCallPop))
	CheckDelivered(t, sessions, b.Stored(t, schema.TypeSessionChanged))
	checkLetters(t, spool, bad)
}
