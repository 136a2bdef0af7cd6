//go:build linux

package faults

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema"
)

// follower reads a NATS stream from its start, through every outage of its
// server, and remembers what it has seen: it is the microservice that took an
// event, and must never see it taken back.
type follower struct {
	t           testing.TB
	url, stream string
	cancel      context.CancelFunc
	done        chan struct{}

	mu     sync.Mutex
	events []event
	bodies [][]byte // of sessions and dead letters only
	ids    map[string]bool
	last   uint64
	err    error // what the last attempt ended with
}

func follow(t testing.TB, url, stream string) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &follower{t: t, url: url, stream: stream, cancel: cancel, done: make(chan struct{}), ids: map[string]bool{}}
	go func() {
		defer close(f.done)
		for ctx.Err() == nil {
			err := f.read(ctx)
			f.mu.Lock()
			f.err = err
			f.mu.Unlock()
			pause(50 * time.Millisecond)
		}
	}()
	t.Cleanup(f.stop)
	return f
}

func (f *follower) stop() {
	f.cancel()
	<-f.done
}

// read reads on until something breaks.
func (f *follower) read(ctx context.Context) error {
	nc, err := nats.Connect(f.url, nats.NoReconnect(), nats.Timeout(2*time.Second))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(5*time.Second))
	if err != nil {
		return err
	}
	f.mu.Lock()
	next := f.last + 1
	f.mu.Unlock()
	consumer, err := js.CreateConsumer(ctx, f.stream, jetstream.ConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: next,
		AckPolicy: jetstream.AckNonePolicy, InactiveThreshold: 10 * time.Second, MemoryStorage: true,
	})
	if err != nil {
		return err
	}
	for first := true; ctx.Err() == nil; {
		batch, err := consumer.Fetch(2000, jetstream.FetchMaxWait(time.Second))
		if err != nil {
			return err
		}
		for m := range batch.Messages() {
			gap, err := f.take(m, first)
			if err != nil {
				f.t.Error(err)
				return err
			}
			if gap {
				return errors.New("messages were lost on the way to the follower")
			}
			first = false
		}
		if err := batch.Error(); err != nil && !errors.Is(err, nats.ErrTimeout) {
			return err
		}
		if !nc.IsConnected() {
			return nats.ErrConnectionClosed
		}
	}
	return ctx.Err()
}

// take remembers a message. A consumer without acks forgets what was on its way
// when a connection broke: a gap means to ask anew, and only a new consumer's
// first message shows what the stream itself has let go.
func (f *follower) take(m jetstream.Msg, first bool) (gap bool, err error) {
	meta, err := m.Metadata()
	if err != nil {
		return false, err
	}
	e, err := schema.FromNATSHeaders(m.Headers().Get, m.Data())
	if err != nil {
		return false, fmt.Errorf("message %d of %s: %w", meta.Sequence.Stream, f.stream, err)
	}
	if id := m.Headers().Get(jetstream.MsgIDHeader); id != e.ID {
		return false, fmt.Errorf("event %s has %s %q", e.ID, jetstream.MsgIDHeader, id)
	}
	seen := event{sequence: meta.Sequence.Stream, id: e.ID, key: e.Key, stored: meta.Timestamp}
	if e.Type == schema.TypeCallPop {
		if err := seen.parse(m.Data()); err != nil {
			return false, err
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if !first && seen.sequence != f.last+1 {
		return true, nil
	}
	f.last = seen.sequence
	f.events = append(f.events, seen)
	f.ids[seen.id] = true
	if e.Type != schema.TypeCallPop {
		f.bodies = append(f.bodies, m.Data())
	}
	return false, nil
}

// parse fills in what the body says.
func (e *event) parse(body []byte) error {
	var p struct {
		ID, Key, Raw string
		ReceivedAt   time.Time `json:"received_at"`
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return fmt.Errorf("event %s: %w", e.id, err)
	}
	if p.ID != e.id || p.Key != e.key {
		return fmt.Errorf("event %s, key %s: the body says %s, %s", e.id, e.key, p.ID, p.Key)
	}
	e.received = p.ReceivedAt
	if p.Raw != "" {
		e.call, e.n, _ = parse(p.Raw)
	}
	return nil
}

// seen are the events so far, in the stream's order.
func (f *follower) seen() []event {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.events)
}

// distinct is how many different ids it has seen.
func (f *follower) distinct() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.ids)
}

// wait waits until it has seen so many different ids.
func (f *follower) wait(n int) {
	f.t.Helper()
	within(f.t, patience, fmt.Sprintf("%d events of %s at %s", n, f.stream, f.url), func() bool { return f.distinct() >= n })
}

// waitFor waits until it has seen everything that another one has.
func (f *follower) waitFor(log []event) {
	f.t.Helper()
	next := 0
	within(f.t, patience, fmt.Sprintf("all %d events of the log at %s", len(log), f.url), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for next < len(log) && f.ids[log[next].id] {
			next++
		}
		return next == len(log)
	})
}

// sessionChange is the body of a session event.
type sessionChange = schema.SessionChanged

// sessions are the session events so far.
func (f *follower) sessions() []sessionChange {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]sessionChange, len(f.bodies))
	for i, body := range f.bodies {
		if err := json.Unmarshal(body, &all[i]); err != nil {
			f.t.Error(err)
		}
	}
	return all
}

// whole reads a stream from its first message to the one that is its last now.
func whole(t testing.TB, url, stream string) []event {
	t.Helper()
	last := lastSequence(t, url, stream)
	f := follow(t, url, stream)
	defer f.stop()
	within(t, patience+time.Duration(last)*time.Millisecond, fmt.Sprintf("message %d of %s", last, stream), func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.last >= last
	})
	return f.seen()
}

// lastSequence is the newest sequence of a stream.
func lastSequence(t testing.TB, url, stream string) uint64 {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(patient(t), stream)
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State.LastSeq
}
