package kafkasink

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// startTail runs Tail until stop is called, which returns what Tail returned.
// Every message is sent to the channel.
func startTail(t *testing.T, c Config, o TailOptions) (messages <-chan Message, stop func() error) {
	t.Helper()
	out := make(chan Message, 1000)
	ready := make(chan struct{})
	o.Ready = func() { close(ready) }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- Tail(ctx, c, o, func(m Message) error { out <- m; return nil }) }()
	if o.Group == "" {
		select {
		case <-ready:
		case err := <-ended:
			t.Fatal(err)
		}
	}
	return out, func() error { cancel(); return <-ended }
}

func receive(t *testing.T, messages <-chan Message, n int) []Message {
	t.Helper()
	var all []Message
	for len(all) < n {
		select {
		case m := <-messages:
			all = append(all, m)
		case <-time.After(time.Minute):
			t.Fatalf("got %d messages, want %d", len(all), n)
		}
	}
	return all
}

func TestTailReadsWhatComesAfterItsStart(t *testing.T) {
	fake := newFake(t, 4)
	c := testConfig(fake.ListenAddrs()...)
	s := open(t, c)
	all := records(60, 7)
	publishRest(t, s, all[:20])
	messages, stop := startTail(t, c, TailOptions{Failed: func(err error) { t.Log(err) }})
	publishRest(t, s, all[20:])
	session := record(60, "hq/801")
	session.Type = schema.TypeSessionChanged
	publishRest(t, s, []sink.Record{session})
	got := receive(t, messages, 41)
	if err := stop(); err != nil {
		t.Error(err)
	}
	ids := map[string]Message{}
	for _, m := range got {
		ids[m.Headers["ce_id"]] = m
	}
	for _, r := range append(slices.Clone(all[20:]), session) {
		m, ok := ids[r.ID]
		if !ok || string(m.Key) != r.Key || string(m.Value) != string(r.Body) || !m.Time.Equal(r.Time.Truncate(time.Millisecond)) || m.Topic != c.topic(r.Type) {
			t.Errorf("record %s: got %+v", r.ID, m)
		}
	}
}

func TestTailFollowsLeaders(t *testing.T) {
	fake := newFake(t, 2)
	c := testConfig(fake.ListenAddrs()...)
	s := open(t, c)
	all := records(30, 30)
	messages, stop := startTail(t, c, TailOptions{Types: []schema.Type{schema.TypeCallPop}})
	publishRest(t, s, all[:10])
	receive(t, messages, 10)
	for p := range int32(2) {
		if err := fake.MoveTopicPartition(c.Topic, p, 2-p); err != nil {
			t.Fatal(err)
		}
	}
	publishRest(t, s, all[10:])
	receive(t, messages, 20)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestTailOfAGroupGoesOnWhereItWas(t *testing.T) {
	fake := newFake(t, 3)
	c := testConfig(fake.ListenAddrs()...)
	c.SessionTopic, c.DeadLetterTopic = "", ""
	s := open(t, c)
	all := records(40, 10)
	o := TailOptions{Group: "desk", Failed: func(err error) { t.Log(err) }}
	messages, stop := startTail(t, c, o)
	if _, err := fake.WaitGroupStable(t.Context(), "desk", 1); err != nil {
		t.Fatal(err)
	}
	// A group that is new begins at the end, which its reader looks for once it
	// has its partitions: publish until something arrives.
	first := record(1000, "hq/first")
	for len(messages) == 0 {
		publishRest(t, s, []sink.Record{first})
		time.Sleep(20 * time.Millisecond) // polling, bounded by the test
	}
	publishRest(t, s, all[:20])
	seen := map[string]bool{}
	for left := 20; left > 0; {
		m := receive(t, messages, 1)[0]
		if id := m.Headers["ce_id"]; id != first.ID && !seen[id] {
			seen[id] = true
			left--
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	publishRest(t, s, all[20:])
	messages, stop = startTail(t, c, o)
	again := 0
	for left := 20; left > 0; {
		m := receive(t, messages, 1)[0]
		switch id := m.Headers["ce_id"]; {
		case id == first.ID:
		case seen[id]:
			again++
		default:
			seen[id] = true
			left--
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if again > 1 {
		t.Errorf("%d messages came again, want at most the one whose place was being kept", again)
	}
}

func TestTailEndsWithTheHandlersError(t *testing.T) {
	fake := newFake(t, 1)
	c := testConfig(fake.ListenAddrs()...)
	s := open(t, c)
	enough := errors.New("enough")
	published := make(chan error, 1)
	err := Tail(t.Context(), c, TailOptions{Ready: func() {
		go func() { published <- s.Publish(context.Background(), records(5, 5)) }()
	}}, func(Message) error { return enough })
	if !errors.Is(err, enough) {
		t.Errorf("got %v, want the handler's error", err)
	}
	if err := <-published; err != nil {
		t.Error(err)
	}
}

func TestTailSaysAtOnceWhatIsMissing(t *testing.T) {
	fake := newFake(t, 1, kfake.NumBrokers(1))
	c := testConfig(fake.ListenAddrs()...)
	c.Topic = "pops"
	for _, group := range []string{"", "desk"} {
		err := Tail(t.Context(), c, TailOptions{Group: group}, func(Message) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "topic pops: the topic does not exist") {
			t.Errorf("group %q: got %v", group, err)
		}
	}
	if err := Tail(t.Context(), c, TailOptions{Types: []schema.Type{"other"}}, nil); err == nil {
		t.Error("no topic: no error")
	}
	if err := Tail(t.Context(), Config{}, TailOptions{}, nil); err == nil {
		t.Error("no configuration: no error")
	}
}
