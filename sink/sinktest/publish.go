package sinktest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// patience bounds what should take milliseconds: long enough for a machine under
// load, short enough to end a test that hangs.
const patience = 30 * time.Second

func publish(t *testing.T, s sink.Sink, records []sink.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	// A sink that has just been opened may still be connecting: that is a passing
	// failure, and not what these tests are about.
	for {
		err := s.Publish(ctx, records)
		if err == nil {
			return
		}
		if sink.IsPermanent(err) || ctx.Err() != nil {
			t.Fatalf("Publish: %v", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// spread makes n events of a type over a number of keys.
func spread(t schema.Type, n, keys int) []schema.Event {
	events := make([]schema.Event, n)
	for i := range events {
		events[i] = Event(t, i, fmt.Sprintf("hq/%d", i%keys), fmt.Sprint(801+i%5))
	}
	return events
}

func (h Harness) storesEverything(t *testing.T) {
	b := h.Open(t)
	for _, typ := range schema.Types {
		events := spread(typ, 25, 5)
		publish(t, b.Sink, records(events))
		CheckDelivered(t, events, b.Stored(t, typ))
	}
}

func (h Harness) keepsOrder(t *testing.T) {
	b := h.Open(t)
	random := rand.New(rand.NewPCG(1, 2))
	events := make([]schema.Event, 300)
	for i := range events {
		// One key has a third of them; the same key comes over several agents.
		key := max(0, random.IntN(15)-5)
		events[i] = Event(schema.TypeCallPop, i, fmt.Sprintf("hq/%d", key), fmt.Sprint(801+random.IntN(3)))
	}
	all := records(events)
	for len(all) > 0 {
		n := min(len(all), 1+random.IntN(100))
		publish(t, b.Sink, all[:n])
		all = all[n:]
	}
	CheckDelivered(t, events, b.Stored(t, schema.TypeCallPop))
}

func (h Harness) manyKeys(t *testing.T) {
	b := h.Open(t)
	events := spread(schema.TypeCallPop, 1024, 1024)
	publish(t, b.Sink, records(events))
	if n := CheckDelivered(t, events, b.Stored(t, schema.TypeCallPop)); n != 0 {
		t.Logf("%d duplicates", n)
	}
}

func (h Harness) largeBodies(t *testing.T) {
	b := h.Open(t)
	events := spread(schema.TypeCallPop, 8, 4)
	for i := range events {
		body := make([]byte, h.large())
		for j := range body {
			body[j] = byte(rand.Uint32()) // neither JSON nor compressible: a body is bytes
		}
		events[i].Body = body
	}
	publish(t, b.Sink, records(events))
	CheckDelivered(t, events, b.Stored(t, schema.TypeCallPop))
}

func (h Harness) noRecords(t *testing.T) {
	b := h.Open(t)
	publish(t, b.Sink, nil)
}

// expected returns all headers that a record's message has, put together here and
// not by the code under test.
func (h Harness) expected(r sink.Record) map[string]string {
	want := map[string]string{"content-type": "application/json"}
	attribute := func(name, value string) { want[h.header(name)] = h.encode(value) }
	attribute("id", r.ID)
	attribute("source", "/lq/"+url.PathEscape(r.Server))
	attribute("type", string(r.Type))
	attribute("time", r.Time.UTC().Format(time.RFC3339Nano))
	attribute("dataschema", r.Type.DataSchema())
	attribute("specversion", "1.0")
	attribute("spoolsequence", r.SpoolSequence)
	if r.Key != "" {
		attribute("partitionkey", r.Key)
	}
	if r.Agent != "" {
		attribute("subject", r.Agent)
	}
	if r.Overlap != "" {
		want["callpop-overlap"] = r.Overlap
	}
	if r.TraceParent != "" {
		want["traceparent"] = r.TraceParent
		if r.TraceState != "" {
			want["tracestate"] = r.TraceState
		}
	}
	if h.OwnHeaders != nil {
		maps.Copy(want, h.OwnHeaders(r))
	}
	return want
}

func (h Harness) checkHeaders(t *testing.T, all []sink.Record, stored []Message) {
	t.Helper()
	byID := make(map[string]Message)
	for _, m := range stored {
		byID[m.ID] = m
	}
	for _, r := range all {
		want, got := h.expected(r), byID[r.ID].Headers
		if maps.Equal(got, want) {
			continue
		}
		for name, value := range want {
			if g, ok := got[name]; !ok || g != value {
				t.Errorf("event of agent %q: header %s is %q, want %q", r.Agent, name, g, value)
			}
		}
		for name, value := range got {
			if _, ok := want[name]; !ok {
				t.Errorf("event of agent %q: header %s, %q, is one too many", r.Agent, name, value)
			}
		}
	}
}

func (h Harness) exactHeaders(t *testing.T) {
	b := h.Open(t)
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, typ := range schema.Types {
		events := spread(typ, 4, 4)
		events[1].TraceParent = parent
		events[2].TraceParent, events[2].TraceState = parent, "vendor=a;b,other=c d"
		events[3].Overlap = "09709ed97e43c4775f918bb594808c20"
		events[3].Time = events[3].Time.Truncate(time.Second).In(time.FixedZone("", 8*3600))
		all := records(events)
		publish(t, b.Sink, all)
		h.checkHeaders(t, all, b.Stored(t, typ))
	}
}

// weird are names that a roster or a pop may hold.
var weird = []string{
	"801", "8.0.1", "agent 801", "坐席一", "a\r\nInjected: yes", "\x00\x01\x7f", "*", ">", "$SYS", "%", "%41", `"quoted"`, "a/b?c#d", "é", " lead", "tail ", "",
}

func (h Harness) weirdNames(t *testing.T) {
	b := h.Open(t)
	for _, typ := range schema.Types {
		var events []schema.Event
		for i, name := range weird {
			e := Event(typ, i, "hq/"+name, name)
			if e.Server = name; name == "" {
				e.Server = "hq"
			}
			events = append(events, e)
		}
		all := records(events)
		publish(t, b.Sink, all)
		stored := b.Stored(t, typ)
		CheckDelivered(t, events, stored)
		h.checkHeaders(t, all, stored)
	}
}

func (h Harness) republish(t *testing.T) {
	b := h.Open(t)
	events := spread(schema.TypeCallPop, 20, 3)
	all := records(events)
	publish(t, b.Sink, all[:15])
	publish(t, b.Sink, all) // as after an answer that was lost
	CheckDelivered(t, events, b.Stored(t, schema.TypeCallPop))
}

// replay asks for a second copy of each event, marked, in the order of its key,
// whatever the broker does about duplicates.
func (h Harness) replay(t *testing.T) {
	b := h.Open(t)
	events := spread(schema.TypeCallPop, 20, 3)
	all := records(events)
	publish(t, b.Sink, all)
	again := records(events)
	for i := range again {
		again[i].Replay = "0a1b2c3d"
	}
	publish(t, b.Sink, again)
	var first, second []Message
	for _, m := range b.Stored(t, schema.TypeCallPop) {
		if run, marked := m.Headers[schema.HeaderReplay]; marked {
			if run != "0a1b2c3d" {
				t.Errorf("event %s: header %s is %q", m.ID, schema.HeaderReplay, run)
			}
			second = append(second, m)
		} else {
			first = append(first, m)
		}
	}
	CheckDelivered(t, events, first)
	CheckDelivered(t, events, second)
	for _, m := range second {
		delete(m.Headers, schema.HeaderReplay)
	}
	h.checkHeaders(t, again, second)
}

func (h Harness) overlap(t *testing.T) {
	b := h.Open(t)
	publish(t, b.Sink, nil)
	events := make(map[schema.Type][]schema.Event)
	for _, typ := range schema.Types {
		events[typ] = spread(typ, 200, 20)
	}
	var calls sync.WaitGroup
	for _, typ := range schema.Types {
		calls.Go(func() {
			all := records(events[typ])
			for i := 0; i < len(all); i += 10 {
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				for {
					err := b.Sink.Publish(ctx, all[i:i+10])
					if err == nil {
						break
					}
					if sink.IsPermanent(err) || ctx.Err() != nil {
						t.Errorf("Publish: %v", err)
						break
					}
				}
				cancel()
			}
		})
	}
	calls.Wait()
	for _, typ := range schema.Types {
		CheckDelivered(t, events[typ], b.Stored(t, typ))
	}
}

func (h Harness) cancelled(t *testing.T) {
	b := h.Open(t)
	events := spread(schema.TypeCallPop, 10, 10)
	publish(t, b.Sink, records(events))

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	begun := time.Now()
	err := b.Sink.Publish(ctx, records(spread(schema.TypeCallPop, 100, 100)))
	if err == nil {
		t.Error("a call whose context was done before it began succeeded")
	}
	if sink.IsPermanent(err) {
		t.Errorf("a call whose context is done is no permanent failure: %v", err)
	}
	if waited := time.Since(begun); waited > patience/2 {
		t.Errorf("it returned after %v", waited)
	}
	if b.Stop == nil {
		return
	}
	b.Stop(t)
	ctx, cancel = context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begun = time.Now()
	if err := b.Sink.Publish(ctx, records(events)); err == nil || sink.IsPermanent(err) {
		t.Errorf("with the broker away: %v", err)
	}
	if waited := time.Since(begun); waited > patience/2 {
		t.Errorf("with the broker away it returned after %v", waited)
	}
}

func (h Harness) away(t *testing.T) {
	b := h.Open(t)
	if b.Stop == nil {
		t.Skip("the harness cannot take its broker away")
	}
	before := spread(schema.TypeCallPop, 10, 5)
	publish(t, b.Sink, records(before))
	b.Stop(t)
	after := spread(schema.TypeCallPop, 10, 5)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := b.Sink.Publish(ctx, records(after))
	if err == nil {
		t.Error("Publish succeeded without a broker")
	}
	if sink.IsPermanent(err) {
		t.Errorf("permanent: %v", err)
	}
	if b.Start == nil {
		return
	}
	b.Start(t)
	publish(t, b.Sink, records(after))
	CheckDelivered(t, append(before, after...), b.Stored(t, schema.TypeCallPop))
}

func (h Harness) tooLarge(t *testing.T) {
	if h.TooLarge == 0 {
		t.Skip("the broker has no limit")
	}
	b := h.Open(t)
	publish(t, b.Sink, records(spread(schema.TypeSessionChanged, 1, 1))) // connected
	events := spread(schema.TypeCallPop, 12, 6)
	events[4].Body = bytes.Repeat([]byte("x"), h.TooLarge)
	all := records(events)
	var good []schema.Event
	pending := all
	// Later records of the same key may be held back: they are published again, as
	// the forwarder does.
	for range 20 {
		err := b.Sink.Publish(t.Context(), pending)
		var each sink.BatchError
		if err != nil && !errors.As(err, &each) {
			if sink.IsPermanent(err) {
				t.Fatalf("the whole call failed for good: %v", err)
			}
			continue
		}
		var again []sink.Record
		for i, r := range pending {
			switch {
			case err == nil || each[i] == nil:
				if r.ID == events[4].ID {
					t.Fatal("the record that is too large was stored")
				}
				good = append(good, r.Event)
			case sink.IsPermanent(each[i]):
				if r.ID != events[4].ID {
					t.Errorf("a record of %d bytes was refused for good: %v", len(r.Body), each[i])
				}
			default:
				again = append(again, r)
			}
		}
		if pending = again; len(pending) == 0 {
			break
		}
	}
	if len(pending) > 0 {
		t.Fatalf("%d records were never taken", len(pending))
	}
	want := append(append([]schema.Event(nil), events[:4]...), events[5:]...)
	if len(good) != len(want) {
		t.Errorf("%d records taken, want %d", len(good), len(want))
	}
	CheckDelivered(t, want, b.Stored(t, schema.TypeCallPop))
}
