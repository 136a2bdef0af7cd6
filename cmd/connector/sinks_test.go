package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/lqsim"
)

// startKafka runs a broker that speaks Kafka's protocol on an address.
func startKafka(t testing.TB, address string) {
	t.Helper()
	_, port, _ := strings.Cut(address, ":")
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(number), kfake.SeedTopics(1, "callpop.v1", "callpop.session.v1", "callpop.dlq.v1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
}

// readKafka reads a topic of one partition from its start until it has n events.
func readKafka(t testing.TB, address, topic string, n int) []schema.Event {
	t.Helper()
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{address}, Topic: topic, MaxWait: 100 * time.Millisecond})
	defer func() { _ = r.Close() }()
	ctx := patient(t)
	var events []schema.Event
	for len(events) < n {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			t.Fatalf("%d of %d events of %s: %v", len(events), n, topic, err)
		}
		e, err := schema.FromKafkaHeaders(func(name string) string {
			if i := slices.IndexFunc(m.Headers, func(h kafka.Header) bool { return h.Key == name }); i >= 0 {
				return string(m.Headers[i].Value)
			}
			return ""
		}, m.Value)
		if err != nil {
			t.Fatal(err)
		}
		if string(m.Key) != e.Key {
			t.Errorf("key %q of an event with key %q", m.Key, e.Key)
		}
		events = append(events, e)
	}
	return events
}

func bothSinks(nats, kafka string) string {
	return embeddedConfig + fmt.Sprintf(`sinks:
  - {name: events, type: nats, url: %q, create: true}
  - {name: lake, type: kafka, brokers: [%q], publish_timeout: 1s}
`, nats, kafka)
}

func TestADeadSinkHoldsUpNoOther(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{})
	broker := startNATS(t)
	address := freeAddress(t)
	d := start(t, writeConfig(t, bothSinks(broker.url(), address), lq))
	const pops = 500
	call(t, lq, pops, 0)
	sameAsSent(t, lq.Sent(), received(t, broker.url(), "CALLPOP", pops))
	_, body := d.ready(t, "")
	for _, s := range body.Sinks {
		if s.Name == "lake" && (s.Backlog == nil || *s.Backlog < pops) {
			t.Errorf("the dead sink shows %+v", s)
		}
	}
	startKafka(t, address)
	sameAsSent(t, lq.Sent(), readKafka(t, address, "callpop.v1", pops))
	if err := d.end(); err != nil {
		t.Error(err)
	}
}

// BenchmarkDeadSink is the time of a lone pop from the LQ server's socket to a NATS
// subscriber, beside a Kafka sink that works and one whose broker is away.
func BenchmarkDeadSink(b *testing.B) {
	for _, alive := range []bool{true, false} {
		b.Run(fmt.Sprintf("kafka=%v", alive), func(b *testing.B) {
			lq := startSimulator(b, lqsim.Options{})
			broker := startNATS(b)
			address := freeAddress(b)
			if alive {
				startKafka(b, address)
			}
			d := start(b, writeConfig(b, bothSinks(broker.url(), address), lq))
			call(b, lq, 20, 0)
			received(b, broker.url(), "CALLPOP", 20)
			nc, err := nats.Connect(broker.url())
			if err != nil {
				b.Fatal(err)
			}
			defer nc.Close()
			events := make(chan *nats.Msg, 16)
			if _, err := nc.ChanSubscribe("callpop.v1.>", events); err != nil {
				b.Fatal(err)
			}
			if err := nc.Flush(); err != nil {
				b.Fatal(err)
			}
			var times []time.Duration
			for b.Loop() {
				begun := time.Now()
				if err := lq.Send("801", fmt.Appendf(nil, "H=t1v3,ph=10086,op=801,sn=%d;", len(times)+1)); err != nil {
					b.Fatal(err)
				}
				<-events
				times = append(times, time.Since(begun))
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
			if err := d.end(); err != nil {
				b.Error(err)
			}
		})
	}
}

func TestTheDemoPublishesToKafkaTooAndTailReadsIt(t *testing.T) {
	address := freeAddress(t)
	startKafka(t, address)
	var stdout, stderr outputtest.Output
	tailed := make(chan int, 1)
	go func() {
		tailed <- run(patient(t), world{
			args: []string{"tail", "--kafka", address, "--count", "5", "-o", "json"},
			stop: make(chan struct{}), stdout: &stdout, stderr: &stderr,
		})
	}()
	for ctx := patient(t); !strings.Contains(stderr.String(), "waiting for events"); {
		if ctx.Err() != nil {
			t.Fatal(stderr.String())
		}
		time.Sleep(time.Millisecond) // polls what another goroutine writes
	}
	demo := connector(t, "", "demo", "--kafka", address, "--count", "10", "--rate", "200", "-o", "json")
	if demo.code != exitGood {
		t.Fatalf("code %d: %s", demo.code, demo.stderr)
	}
	if got := <-tailed; got != exitGood {
		t.Fatalf("code %d: %s", got, stderr.String())
	}
	shown := map[string]bool{}
	for line := range strings.Lines(demo.stdout) {
		shown[line] = true
	}
	for line := range strings.Lines(stdout.String()) {
		if !shown[line] {
			t.Errorf("Kafka has %s, which the demo did not show", line)
		}
	}
	if got := strings.Count(stdout.String(), "\n"); got != 5 {
		t.Errorf("tail showed %d events", got)
	}
}
