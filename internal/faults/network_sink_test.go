//go:build linux

package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/source/lqsim"
)

// The network between the connector and a broker is slow, cut or lying. One that
// lets nothing through is noticed within publish_timeout plus 5 s; sessions never
// notice; and once it is well, everything arrives, in order.
func TestFaultNetworkToSink(t *testing.T) {
	t.Parallel()
	faults := []networkFault{
		{name: "latency of 200 ms and more", toxics: both("latency", `{"latency":200,"jitter":100}`)},
		{name: "50 bytes a second", toxics: both("slicer", `{"average_size":1,"size_variation":0,"delay":20000}`)},
		{name: "ends inside messages", toxics: both("limit_data", `{"bytes":3333}`), cutting: true},
		{name: "resets", toxics: both("reset_peer", `{"timeout":300}`), cutting: true},
		{name: "resets inside messages", cut: 20_000, cutting: true},
		{name: "half open: data swallowed", toxics: both("timeout", `{"timeout":0}`), silent: true},
		{name: "half open: packets dropped", drop: true, silent: true},
		{name: "accepts and is silent", toxics: both("timeout", `{"timeout":0}`), silent: true, renewed: true},
	}
	for _, f := range faults {
		t.Run("NATS "+f.name, func(t *testing.T) {
			if !f.drop {
				notInShort(t)
			}
			t.Parallel()
			broker := startNATS(t)
			network := newLink(t, freePort(t), fmt.Sprintf("127.0.0.1:%d", broker.port), f)
			sink := follow(t, broker.url(), "CALLPOP")
			sinkNetwork(t, "NATS", f, network, natsSink("events", "nats://"+network.address())+", publish_timeout: 3s", func(log []event) []event {
				sink.waitFor(log)
				return sink.seen()
			})
		})
	}
	for _, f := range faults {
		t.Run("Kafka "+f.name, func(t *testing.T) {
			notInShort(t)
			t.Parallel()
			port := freePort(t)
			kafka := newKafka(t)
			kafka.advertised = fmt.Sprintf("127.0.0.1:%d", port)
			kafka.start()
			network := newLink(t, port, kafka.address(), f)
			sinkNetwork(t, "Kafka", f, network, kafkaSink("events", network.address())+", publish_timeout: 3s", kafka.waitFor)
		})
	}
}

func sinkNetwork(t *testing.T, broker string, f networkFault, network link, sink string, arrive func(log []event) []event) {
	const publishTimeout = 3 * time.Second
	lq := startLQ(t, lqsim.Options{})
	s := newSetup(t, lq.Addr().String(), agentNumbers(20))
	s.sinks = []string{sink}
	calls := newCaller(s, lq)
	p := s.startReady()
	s.waitSessions(lq)
	log := follow(t, s.embedded(), "CALLPOP")
	calls.sendAll(100, 0)
	log.wait(100)
	arrive(log.seen())
	calls.start(100)
	began := time.Now()
	network.spoil(f)
	var note string
	if f.silent {
		limit := publishTimeout + 5*time.Second
		eventually(t, "the sink's trouble to show", func() bool {
			r, err := p.ready()
			return err == nil && r.Sinks[0].State == web.Retrying
		})
		took := time.Since(began)
		if took > limit+slack {
			t.Errorf("it took %v to notice, more than %v", took, limit)
		}
		note = fmt.Sprintf("noticed after %.1f s", took.Seconds())
	}
	pause(scale(2*time.Second, 8*time.Second, time.Minute))
	waiting, _ := p.backlog("events")
	network.heal()
	began = time.Now()
	eventually(t, "the sink to catch up", func() bool {
		n, known := p.backlog("events")
		return known && n < 50
	})
	recovery := time.Since(began)
	calls.stop()
	settle(t, lq, log)
	held := log.seen()
	r := delivered(t, "network to "+broker+": "+f.name, held, arrive(held), 0)
	unread, lost, reordered := received(t, lq.Sent(), held)
	r.lost += lost + unread
	r.reordered += reordered
	r.recovery = recovery
	if note != "" {
		note = "; " + note
	}
	r.note = fmt.Sprintf("%d waited%s", waiting, note)
	rows.add(t, r)
	if totals := lq.Totals(); totals.Ended > 0 || totals.Unanswered > 0 {
		t.Errorf("%d sessions ended, %d heartbeats went unanswered", totals.Ended, totals.Unanswered)
	}
	p.expectExit(p.stop(), 0)
}
