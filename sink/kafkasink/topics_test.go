package kafkasink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

func TestAMissingTopicIsNamedAndEventsWaitForIt(t *testing.T) {
	fake := newFake(t, 1)
	c := testConfig(fake.ListenAddrs()...)
	c.Topic = "pops"
	s := open(t, c)
	all := records(3, 3)
	err := s.Publish(t.Context(), all)
	if got := errorOf(t, err); got.Reason != MissingTopic || sink.IsPermanent(err) || !strings.Contains(err.Error(), "topic pops: the topic does not exist") {
		t.Errorf("got %v (%s), want a passing failure that names the topic", err, got.Reason)
	}
	if err := fake.CreateTopic("pops", 2, nil); err != nil {
		t.Fatal(err)
	}
	if calls := publishRest(t, s, all); calls != 1 {
		t.Errorf("it took %d calls to see the topic, want 1", calls)
	}
}

func TestAMissingTopicIsCreatedWhereThatIsAskedFor(t *testing.T) {
	fake := newFake(t, 1)
	c := testConfig(fake.ListenAddrs()...)
	c.Topic = "pops"
	c.CreateTopics = CreateTopics{Enabled: true, Partitions: 6, Replication: 3, Config: map[string]string{"retention.ms": "3600000"}}
	s := open(t, c)
	findings := s.Check(t.Context())
	if f := findingFor(t, findings, "topic pops"); f.Err != nil || !strings.Contains(f.Detail, "is created") {
		t.Errorf("got finding %+v", f)
	}
	if fake.TopicInfo("pops") != nil {
		t.Fatal("Check has created the topic")
	}
	if err := s.Publish(t.Context(), records(3, 3)); err != nil {
		t.Fatal(err)
	}
	info := fake.TopicInfo("pops")
	if info == nil || len(fake.PartitionInfos("pops")) != 6 {
		t.Fatalf("got topic %+v, want 6 partitions", info)
	}
	if got := info.Configs["retention.ms"]; got == nil || *got != "3600000" {
		t.Errorf("got retention.ms %v, want 3600000", got)
	}
}

func TestAnEmptyTopicSwitchesItsEventsOff(t *testing.T) {
	c := testConfig("127.0.0.1:1")
	c.SessionTopic = ""
	s := open(t, c)
	types := s.Types()
	if len(types) != 2 || types[0] != schema.TypeCallPop || types[1] != schema.TypeDeadLetter {
		t.Errorf("got types %v", types)
	}
	r := record(1, "hq/801")
	r.Type = schema.TypeSessionChanged
	if err := s.Publish(t.Context(), []sink.Record{r}); !sink.IsPermanent(err) {
		t.Errorf("got %v, want it refused for good", err)
	}
}

func TestEventsOfAKeyKeepTheirOrderWhileLeadersMove(t *testing.T) {
	fake := newFake(t, 4)
	c := testConfig(fake.ListenAddrs()...)
	s := open(t, c)
	spool := sinktest.NewSpool()
	var events []schema.Event
	emit := func(n int) {
		for range n {
			i := len(events)
			events = append(events, sinktest.Event(schema.TypeCallPop, i, fmt.Sprintf("hq/%d", i%20), "801"))
			if err := spool.Emit(t.Context(), events[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	f := forward(t, s, spool, func(f *sink.Forwarder) {
		for round := range 12 {
			emit(100)
			if round%2 == 0 {
				drain(t, f) // the sink knows the leaders, and they move afterwards
			}
			partition := int32(round % 4)
			if err := fake.MoveTopicPartition(c.Topic, partition, (fake.LeaderFor(c.Topic, partition)+1)%3); err != nil {
				t.Fatal(err)
			}
			emit(50)
		}
	})
	t.Logf("%d duplicates", sinktest.CheckDelivered(t, events, suiteMessages(stored(t, c, c.Topic))))
	if got := f.Status(t.Context())[0].LastError; !strings.Contains(got, explanations[NoLeader]) {
		t.Errorf("the forwarder's last error is %q: the test has moved no leader under the sink", got)
	}
}

// forward runs a forwarder over the sink while work runs, then drains and stops
// it.
func forward(t *testing.T, s *Sink, spool *sinktest.Spool, work func(*sink.Forwarder)) *sink.Forwarder {
	t.Helper()
	f, err := sink.New(sink.Options{Name: "lake", Sink: s, Types: s.Types(), Spool: spool, Start: sink.StartAll})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- f.Run(ctx) }()
	work(f)
	drain(t, f)
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	return f
}

func drain(t *testing.T, f *sink.Forwarder) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	if err := f.WaitDrained(ctx); err != nil {
		t.Errorf("%v: %+v", err, f.Status(t.Context()))
	}
}

func findingFor(t *testing.T, all []sink.Finding, what string) sink.Finding {
	t.Helper()
	for _, f := range all {
		if f.What == what {
			return f
		}
	}
	t.Fatalf("no finding for %s in %+v", what, all)
	return sink.Finding{}
}

func TestCheckSaysWhatIsWrongWithEachTopic(t *testing.T) {
	fake := newFake(t, 2)
	if err := fake.CreateTopic("compacted", 1, map[string]string{"cleanup.policy": "compact"}); err != nil {
		t.Fatal(err)
	}
	c := testConfig(fake.ListenAddrs()...)
	c.SessionTopic, c.DeadLetterTopic = "compacted", "missing"
	findings := open(t, c).Check(t.Context())
	if len(findings) != 4 {
		t.Fatalf("got %d findings, want the connection and three topics: %+v", len(findings), findings)
	}
	if f := findingFor(t, findings, "connection"); f.Err != nil || !strings.Contains(f.Detail, "3 brokers, without TLS") {
		t.Errorf("connection: got %+v", f)
	}
	if f := findingFor(t, findings, "topic callpop.v1"); f.Err != nil || !strings.HasPrefix(f.Detail, "2 partitions") {
		t.Errorf("callpop.v1: got %+v", f)
	}
	if f := findingFor(t, findings, "topic compacted"); f.Err == nil || !strings.Contains(f.Err.Error(), "cleanup.policy") {
		t.Errorf("compacted: got %+v", f)
	}
	if f := findingFor(t, findings, "topic missing"); f.Err == nil || !strings.Contains(f.Err.Error(), "does not exist") {
		t.Errorf("missing: got %+v", f)
	}
}

func TestCheckSaysOnceThatNoBrokerIsThere(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	s := open(t, testConfig(address))
	findings := s.Check(t.Context())
	if len(findings) != 1 || findings[0].Err == nil || !strings.Contains(findings[0].Err.Error(), "cannot be reached") {
		t.Errorf("got %+v, want one finding", findings)
	}
	if got := errorOf(t, s.Publish(t.Context(), records(1, 1))); got.Reason != Unreachable {
		t.Errorf("got %v, want it to be unreachable", got)
	}
}

func TestEverythingThatDialsUsesTheGivenDialler(t *testing.T) {
	refused := errors.New("refused by the test")
	s, err := New(testConfig("kafka.invalid:9092"), Options{Dial: func(context.Context, string, string) (net.Conn, error) {
		return nil, refused
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close(t.Context()) }()
	if err := s.Publish(t.Context(), records(1, 1)); !errors.Is(err, refused) {
		t.Errorf("Publish: got %v", err)
	}
	if f := s.Check(t.Context()); !errors.Is(f[0].Err, refused) {
		t.Errorf("Check: got %+v", f)
	}
}
