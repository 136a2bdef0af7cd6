package natssink_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/natssink"
	"github.com/callpop/connector/sink/sinktest"
)

// pops makes n records over some keys.
func pops(n, keys int) []sink.Record {
	records := make([]sink.Record, n)
	for i := range records {
		records[i] = sinktest.NewRecord(sinktest.Event(schema.TypeCallPop, i, fmt.Sprintf("hq/%d", i%keys), "801"), uint64(i)+1)
	}
	return records
}

func events(records []sink.Record) []schema.Event {
	all := make([]schema.Event, len(records))
	for i, r := range records {
		all[i] = r.Event
	}
	return all
}

func mustPublish(t *testing.T, s sink.Sink, records []sink.Record) {
	t.Helper()
	if err := s.Publish(t.Context(), records); err != nil {
		t.Fatal(err)
	}
}

// wantFailure checks that publishing fails for a while, for this reason and no
// other, and that the words say so.
func wantFailure(t *testing.T, s sink.Sink, want error, words ...string) {
	t.Helper()
	var err error
	eventually(t, func() error { // a sink may still be connecting, or have done so a moment ago
		if err = s.Publish(t.Context(), pops(2, 2)); errors.Is(err, want) && says(err, words) {
			return nil
		}
		return fmt.Errorf("error %w, want one that is %w and says %q", err, want, words)
	})
	if sink.IsPermanent(err) {
		t.Errorf("permanent: %v", err)
	}
	for _, other := range []error{
		natssink.ErrNotConnected, natssink.ErrNoJetStream, natssink.ErrNoStream, natssink.ErrSubjectNotInStream,
		natssink.ErrStreamUnavailable, natssink.ErrOtherStream, natssink.ErrNoPermission, natssink.ErrNoAnswer,
	} {
		if !errors.Is(want, other) && errors.Is(err, other) {
			t.Errorf("it is also %v: %v", other, err)
		}
	}
}

func says(err error, words []string) bool {
	for _, w := range words {
		if !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(w)) {
			return false
		}
	}
	return true
}

// impatient is for sinks that are to fail to connect.
func impatient(c *natssink.Config) { c.PublishTimeout = 100 * time.Millisecond }

func dontCreate(c *natssink.Config) { c.Create = false }

func TestNoRespondersIsToldApart(t *testing.T) {
	t.Run("no JetStream on the server", func(t *testing.T) {
		b := startBroker(t, func(o *server.Options) { o.JetStream = false })
		wantFailure(t, openSink(t, b.config(dontCreate)), natssink.ErrNoJetStream)
	})
	t.Run("no JetStream, and asked to create", func(t *testing.T) {
		b := startBroker(t, func(o *server.Options) { o.JetStream = false })
		wantFailure(t, openSink(t, b.config()), natssink.ErrNoJetStream)
	})
	t.Run("no stream", func(t *testing.T) {
		b := startBroker(t)
		wantFailure(t, openSink(t, b.config(dontCreate)), natssink.ErrNoStream, "CALLPOP")
	})
	t.Run("subject not in the stream", func(t *testing.T) {
		b := startBroker(t)
		b.createStream(t, jetstream.StreamConfig{Name: "CALLPOP", Subjects: []string{"other.>", "callpop.v1.berlin.>"}})
		wantFailure(t, openSink(t, b.config(dontCreate)), natssink.ErrSubjectNotInStream, "other.>, callpop.v1.berlin.>")
	})
	t.Run("subject in another stream", func(t *testing.T) {
		b := startBroker(t)
		b.createStream(t, jetstream.StreamConfig{Name: "CALLPOP", Subjects: []string{"other.>"}})
		b.createStream(t, jetstream.StreamConfig{Name: "GREEDY", Subjects: []string{"callpop.>"}})
		wantFailure(t, openSink(t, b.config(dontCreate)), natssink.ErrOtherStream)
	})
}

func TestWhatMeetsNoResponderIsNotSentAgainByTheClient(t *testing.T) {
	b := startBroker(t)
	s := openSink(t, b.config(dontCreate))
	wantFailure(t, s, natssink.ErrNoStream)
	received := func() int64 {
		varz, err := b.server.Varz(nil)
		if err != nil {
			t.Fatal(err)
		}
		return varz.InMsgs
	}
	before := received()
	wantFailure(t, s, natssink.ErrNoStream)
	if got := received() - before; got != 3 {
		t.Errorf("the server got %d messages, want the two that were published and the question for the stream", got)
	}
}

func TestAStreamThatIsMadeGoodIsUsedWithoutARestart(t *testing.T) {
	b := startBroker(t)
	s := openSink(t, b.config(dontCreate))
	wantFailure(t, s, natssink.ErrNoStream)
	b.createStream(t, jetstream.StreamConfig{Name: "CALLPOP", Subjects: []string{"other.>"}})
	wantFailure(t, s, natssink.ErrSubjectNotInStream)
	_, js := b.client(t)
	if _, err := js.UpdateStream(t.Context(), jetstream.StreamConfig{Name: "CALLPOP", Subjects: []string{"callpop.v1.>"}}); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, s, pops(3, 3))
}

func TestAStreamIsCreatedAsConfiguredAndAgainIfItIsDeleted(t *testing.T) {
	b := startBroker(t)
	s := openSink(t, b.config(func(c *natssink.Config) {
		c.MaxAge, c.MaxBytes, c.Duplicates = time.Hour, 1<<20, time.Minute
	}))
	mustPublish(t, s, pops(1, 1))
	_, js := b.client(t)
	st, err := js.Stream(t.Context(), "CALLPOP")
	if err != nil {
		t.Fatal(err)
	}
	got := st.CachedInfo().Config
	if got.MaxAge != time.Hour || got.MaxBytes != 1<<20 || got.Duplicates != time.Minute || got.Replicas != 1 ||
		got.Storage != jetstream.FileStorage || len(got.Subjects) != 1 || got.Subjects[0] != "callpop.v1.>" {
		t.Errorf("created %+v", got)
	}
	if _, err := js.Stream(t.Context(), "CALLPOP_SESSION"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("a stream that nothing was published to: %v", err)
	}
	if err := js.DeleteStream(t.Context(), "CALLPOP"); err != nil {
		t.Fatal(err)
	}
	if err := s.Publish(t.Context(), pops(1, 1)); !errors.Is(err, natssink.ErrNoStream) {
		t.Errorf("after the stream was deleted: %v", err)
	}
	mustPublish(t, s, pops(1, 1))
}

func TestAStreamThatExistsIsNotChanged(t *testing.T) {
	b := startBroker(t)
	b.createStream(t, jetstream.StreamConfig{Name: "CALLPOP", Subjects: []string{"callpop.v1.>"}, MaxAge: time.Minute})
	mustPublish(t, openSink(t, b.config()), pops(1, 1))
	_, js := b.client(t)
	st, err := js.Stream(t.Context(), "CALLPOP")
	if err != nil {
		t.Fatal(err)
	}
	if got := st.CachedInfo().Config.MaxAge; got != time.Minute {
		t.Errorf("max_age is now %v", got)
	}
}

func TestDuplicatesAreCounted(t *testing.T) {
	b := startBroker(t)
	s := openSink(t, b.config())
	records := pops(10, 2)
	mustPublish(t, s, records)
	if got := s.Duplicates(schema.TypeCallPop); got != 0 {
		t.Errorf("%d duplicates at first, want none", got)
	}
	mustPublish(t, s, records[2:])
	if got := s.Duplicates(schema.TypeCallPop); got != 8 {
		t.Errorf("%d duplicates, want 8", got)
	}
	if got := s.Duplicates(schema.TypeSessionChanged); got != 0 {
		t.Errorf("%d duplicates of another type, want none", got)
	}
	_, js := b.client(t)
	if n := sinktest.CheckDelivered(t, events(records), stored(t, js, "CALLPOP")); n != 0 {
		t.Errorf("the stream holds %d duplicates", n)
	}
}

func TestOfTheCopiesOfTwoReplicasTheStreamKeepsOne(t *testing.T) {
	b := startBroker(t)
	sinks := []*natssink.Sink{openSink(t, b.config()), openSink(t, b.config())}
	emitted := make([][]sink.Record, len(sinks))
	for i := range emitted {
		emitted[i] = pops(10, 2)
		for n := range emitted[i] {
			r := &emitted[i][n]
			r.ID = schema.NewID(time.Now()) // each replica gave it one of its own
			if n < 6 {
				r.Overlap = schema.Fingerprint("hq", "801", fmt.Append(nil, n))
			}
		}
		mustPublish(t, sinks[i], emitted[i])
	}
	_, js := b.client(t)
	want := slices.Concat(events(emitted[0]), events(emitted[1][6:]))
	if n := sinktest.CheckDelivered(t, want, stored(t, js, "CALLPOP")); n != 0 {
		t.Errorf("the stream holds %d duplicates", n)
	}
	if got := sinks[1].Duplicates(schema.TypeCallPop); got != 6 {
		t.Errorf("%d duplicates were counted, want the 6 copies", got)
	}
}

func TestWhatTheStreamOrTheServerNeverTakesIsRefusedForGood(t *testing.T) {
	for name, c := range map[string]struct {
		stream jetstream.StreamConfig
		change func(*sink.Record)
		words  string
	}{
		"larger than the stream's messages": {
			jetstream.StreamConfig{MaxMsgSize: 2000}, func(r *sink.Record) { r.Body = make([]byte, 3000) }, "message size exceeds",
		},
		"larger than the server's messages": {
			jetstream.StreamConfig{}, func(r *sink.Record) { r.Body = make([]byte, 2<<20) }, "more than the server takes",
		},
		"headers too large": {
			jetstream.StreamConfig{}, func(r *sink.Record) { r.Key = strings.Repeat("k", 70_000) }, "header size exceeds",
		},
		"a subject that would end the connection": {
			jetstream.StreamConfig{}, func(r *sink.Record) { r.Agent = strings.Repeat("坐", 1000) }, "names of server and agent are too long",
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := startBroker(t)
			c.stream.Name, c.stream.Subjects = "CALLPOP", []string{"callpop.v1.>"}
			b.createStream(t, c.stream)
			s := openSink(t, b.config(dontCreate))
			records := pops(3, 3)
			c.change(&records[1])
			err := s.Publish(t.Context(), records)
			var each sink.BatchError
			if !errors.As(err, &each) || each[0] != nil || each[2] != nil {
				t.Fatalf("error %v, want one for the second record alone", err)
			}
			if !sink.IsPermanent(each[1]) || !strings.Contains(each[1].Error(), c.words) {
				t.Errorf("error %v, want a permanent one that says %q", each[1], c.words)
			}
			if strings.Contains(each[1].Error(), "坐") || len(each[1].Error()) > 500 {
				t.Errorf("the error repeats what was sent: %v", each[1])
			}
			mustPublish(t, s, pops(3, 3)) // the connection has not suffered
		})
	}
}

func TestAFullStreamIsAPassingFailure(t *testing.T) {
	b := startBroker(t)
	b.createStream(t, jetstream.StreamConfig{Name: "CALLPOP", Subjects: []string{"callpop.v1.>"}, MaxMsgs: 3, Discard: jetstream.DiscardNew})
	s := openSink(t, b.config(dontCreate))
	records := pops(6, 6)
	err := s.Publish(t.Context(), records)
	if err == nil || sink.IsPermanent(err) {
		t.Fatalf("error %v", err)
	}
	_, js := b.client(t)
	if _, err := js.UpdateStream(t.Context(), jetstream.StreamConfig{Name: "CALLPOP", Subjects: []string{"callpop.v1.>"}, Discard: jetstream.DiscardNew}); err != nil {
		t.Fatal(err)
	}
	mustPublish(t, s, records)
	sinktest.CheckDelivered(t, events(records), stored(t, js, "CALLPOP"))
}

func TestAnAnswerThatIsLostIsUnknownAndHoldsBackItsKey(t *testing.T) {
	b := startBroker(t)
	p := startProxy(t, strings.TrimPrefix(b.url(), "nats://"))
	s := openSink(t, b.config(func(c *natssink.Config) { c.URL, c.PublishTimeout = p.url(), 300*time.Millisecond }))
	mustPublish(t, s, pops(1, 1))
	p.hold()
	records := pops(4, 2)
	err := s.Publish(t.Context(), records)
	var each sink.BatchError
	if !errors.As(err, &each) {
		t.Fatalf("error %v", err)
	}
	for i, want := range []error{natssink.ErrNoAnswer, natssink.ErrNoAnswer, sink.ErrNotAttempted, sink.ErrNotAttempted} {
		if !errors.Is(each[i], want) || sink.IsPermanent(each[i]) {
			t.Errorf("record %d: %v, want %v", i, each[i], want)
		}
	}
	p.release()
	deadline := time.Now().Add(patience)
	for s.Publish(t.Context(), records) != nil {
		if time.Now().After(deadline) {
			t.Fatal("it does not recover")
		}
	}
	if got := s.Duplicates(schema.TypeCallPop); got < 2 {
		t.Errorf("%d duplicates, want the two that were stored without our knowing", got)
	}
	_, js := b.client(t)
	all := stored(t, js, "CALLPOP")
	if n := sinktest.CheckDelivered(t, events(records), all[1:]); n != 0 {
		t.Errorf("the stream holds %d duplicates", n)
	}
}

func TestACancelledCallReturnsWhileTheServerIsSilent(t *testing.T) {
	b := startBroker(t)
	p := startProxy(t, strings.TrimPrefix(b.url(), "nats://"))
	s := openSink(t, b.config(func(c *natssink.Config) { c.URL, c.PublishTimeout = p.url(), time.Minute }))
	mustPublish(t, s, pops(1, 1))
	p.hold()
	ctx, cancel := context.WithCancel(t.Context())
	returned := make(chan error, 1)
	go func() { returned <- s.Publish(ctx, pops(1000, 10)) }()
	cancel()
	select {
	case err := <-returned:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
	case <-time.After(patience):
		t.Fatal("it does not return")
	}
}

func TestAtMostOneMessageOfAKeyIsUnderWay(t *testing.T) {
	// A responder in the stream's place answers a message only when it has seen
	// that no other one of its key follows unasked.
	b := startBroker(t, func(o *server.Options) { o.JetStream = false })
	nc, _ := b.client(t)
	underWay := make(map[string]*nats.Msg) // the subscription's goroutine alone uses it
	var most atomic.Int64
	answer := func(key string) {
		msg := underWay[key]
		delete(underWay, key)
		if err := msg.Respond([]byte(`{"stream":"CALLPOP","seq":1}`)); err != nil {
			t.Error(err)
		}
	}
	_, err := nc.Subscribe("callpop.v1.>", func(msg *nats.Msg) {
		key := msg.Header.Get("ce-partitionkey")
		if underWay[key] != nil {
			t.Errorf("two messages of key %s are under way", key)
		}
		underWay[key] = msg
		most.Store(max(most.Load(), int64(len(underWay))))
		if len(underWay) == 8 {
			for key := range underWay {
				answer(key)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	s := openSink(t, b.config(dontCreate, func(c *natssink.Config) { c.MaxInFlight = 8 }))
	mustPublish(t, s, pops(400, 16)) // 16 keys, 25 messages each, 8 at a time
	if got := most.Load(); got != 8 {
		t.Errorf("%d messages were under way at most, want 8", got)
	}
}

func TestATypeThatIsSwitchedOffIsNotTaken(t *testing.T) {
	b := startBroker(t)
	s := openSink(t, b.config(func(c *natssink.Config) { c.SessionStream = "" }))
	if got := s.Types(); len(got) != 2 || got[0] != schema.TypeCallPop || got[1] != schema.TypeDeadLetter {
		t.Errorf("types %v", got)
	}
	record := sinktest.NewRecord(sinktest.Event(schema.TypeSessionChanged, 1, "hq/801", "801"), 1)
	if err := s.Publish(t.Context(), []sink.Record{record}); err == nil || sink.IsPermanent(err) {
		t.Errorf("error %v", err)
	}
}

func batchError(t *testing.T, err error) sink.BatchError {
	t.Helper()
	var each sink.BatchError
	if !errors.As(err, &each) {
		t.Fatalf("error %v, want one for each record", err)
	}
	return each
}

// eventually tries until it works, or patience is at its end.
func eventually(t *testing.T, try func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
