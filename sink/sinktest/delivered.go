package sinktest

import (
	"bytes"
	"slices"
	"testing"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// CheckDelivered compares what was emitted, in order, with what a broker holds:
// every event is there with its key and body, none that was never emitted, and
// the first copies of a key's events are in the order in which they were emitted.
// It returns how many duplicates there are.
func CheckDelivered(t testing.TB, emitted []schema.Event, stored []Message) (duplicates int) {
	t.Helper()
	byID := make(map[string]schema.Event, len(emitted))
	wanted := make(map[string][]string) // ids by key
	for _, e := range emitted {
		byID[e.ID] = e
		wanted[e.Key] = append(wanted[e.Key], e.ID)
	}
	seen := make(map[string]bool, len(stored))
	order := make(map[string][]string)
	for _, m := range stored {
		e, known := byID[m.ID]
		switch {
		case !known:
			t.Errorf("the broker holds event %s, which was not emitted", m.ID)
			continue
		case m.Key != e.Key:
			t.Errorf("event %s: key %q, want %q", m.ID, m.Key, e.Key)
		case !bytes.Equal(m.Body, e.Body):
			t.Errorf("event %s: body %.200q, want %.200q", m.ID, m.Body, e.Body)
		}
		if seen[m.ID] {
			duplicates++
			continue
		}
		seen[m.ID] = true
		order[e.Key] = append(order[e.Key], m.ID)
	}
	for key, want := range wanted {
		got := order[key]
		if slices.Equal(got, want) {
			continue
		}
		if missing := len(want) - len(got); missing > 0 {
			t.Errorf("key %q: %d of %d events are missing", key, missing, len(want))
		} else {
			t.Errorf("key %q: the order is %v, want %v", key, got, want)
		}
	}
	return duplicates
}

// Messages makes messages of records, for [CheckDelivered].
func Messages(records []sink.Record) []Message {
	messages := make([]Message, len(records))
	for i, r := range records {
		messages[i] = Message{ID: r.ID, Key: r.Key, Body: r.Body}
	}
	return messages
}
