//go:build linux

package faults

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/source/lqsim"
)

// One sink is away for long at a steady rate while the others are there, first
// NATS and then Kafka. It comes back and catches up without a restart, in order,
// faster than events come in; the others never notice.
func TestFaultOutage(t *testing.T) {
	const rate = 400
	away := scale(3*time.Second, 8*time.Second, 5*time.Minute)
	lq := startLQ(t, lqsim.Options{})
	first, second, kafka := startNATS(t), startNATS(t), startKafka(t)
	s := newSetup(t, lq.Addr().String(), agentNumbers(60))
	s.sinks = []string{natsSink("first", first.url()), natsSink("second", second.url()), kafkaSink("kafka", kafka.address())}
	calls := newCaller(s, lq)
	p := s.startReady()
	s.waitSessions(lq)
	log, atFirst, atSecond := follow(t, s.embedded(), "CALLPOP"), follow(t, first.url(), "CALLPOP"), follow(t, second.url(), "CALLPOP")
	calls.start(rate)
	log.wait(2 * rate)

	// out takes a broker away and brings it back; it returns how long it took until
	// nothing waited for it any more, how many events had, and how many a second
	// went out from when the first did.
	out := func(name string, stop, start func()) (recovery time.Duration, waited uint64, speed float64) {
		stop()
		back := time.Now().Add(away)
		eventually(t, "/readyz?full to say that "+name+" is away", func() bool {
			return p.full() == http.StatusServiceUnavailable
		})
		pause(time.Until(back))
		eventually(t, "a backlog for "+name, func() bool {
			waited, _ = p.backlog(name)
			return waited >= uint64(away.Seconds()*rate/2)
		})
		for _, other := range []string{"first", "second", "kafka"} {
			if other != name {
				eventually(t, "nothing to wait for "+other+" while "+name+" is away", func() bool {
					n, known := p.backlog(other)
					return known && n < rate/4
				})
			}
		}
		start()
		began := time.Now()
		moving := began
		eventually(t, name+" to catch up", func() bool {
			n, known := p.backlog(name)
			if known && n >= waited {
				waited, moving = n, time.Now()
			}
			return known && n < rate/10
		})
		return time.Since(began), waited, float64(waited) / time.Since(moving).Seconds()
	}
	natsRecovery, natsWaited, natsSpeed := out("first", first.stop, first.start)
	kafkaRecovery, kafkaWaited, kafkaSpeed := out("kafka", kafka.stop, kafka.start)
	calls.stop()
	settle(t, lq, log)
	held := whole(t, s.embedded(), "CALLPOP")
	atFirst.waitFor(held)
	atSecond.waitFor(held)
	inKafka := kafka.waitFor(held)
	eventually(t, "all to be well", func() bool { return p.full() == http.StatusOK })
	unread, lost, reordered := received(t, lq.Sent(), held)
	if unread > 0 {
		t.Errorf("%d pops were not read", unread)
	}

	add := func(name string, sink []event, recovery time.Duration, note string) {
		r := delivered(t, name, held, sink, 0)
		r.lost += lost + unread
		r.reordered += reordered
		r.recovery, r.note = recovery, note
		rows.add(t, r)
	}
	caughtUp := func(waited uint64, speed float64) string {
		// That it catches up at all shows that it is faster than what comes in.
		if speed < 3*rate && !busy(t) {
			t.Errorf("%d events went out at %.0f/s, which is not well above %d/s", waited, speed, rate)
		}
		return fmt.Sprintf("away %v at %d/s; %d waited, caught up at %.0f/s", away, rate, waited, speed)
	}
	add("NATS away, NATS", atFirst.seen(), natsRecovery, caughtUp(natsWaited, natsSpeed))
	add("Kafka away, Kafka", inKafka, kafkaRecovery, caughtUp(kafkaWaited, kafkaSpeed))
	add("NATS and Kafka away, another NATS", atSecond.seen(), 0, "longest way from the log to it: "+slowest(held, atSecond.seen()).Round(time.Millisecond).String())
	if restarts := strings.Count(p.text(), `"msg":"connector runs"`); restarts != 1 {
		t.Errorf("the connector started %d times", restarts)
	}
	p.expectExit(p.stop(), 0)
}

// slowest is the longest time from the log's storing an event to a sink's.
func slowest(log, sink []event) (longest time.Duration) {
	stored := make(map[string]time.Time, len(log))
	for _, e := range log {
		stored[e.id] = e.stored
	}
	for _, e := range sink {
		longest = max(longest, e.stored.Sub(stored[e.id]))
	}
	return longest
}

// Nothing is there at the start: no LQ server, no broker. The connector serves
// all the same, takes pops as soon as there is an LQ server, and delivers them as
// soon as there are brokers.
func TestFaultStartAlone(t *testing.T) {
	notInShort(t)
	t.Parallel()
	lq := startLQ(t, lqsim.Options{})
	if err := lq.Refuse(true); err != nil {
		t.Fatal(err)
	}
	nats, kafka := newNATS(t), newKafka(t)
	s := newSetup(t, lq.Addr().String(), agentNumbers(20))
	s.sinks = []string{natsSink("nats", nats.url()), kafkaSink("kafka", kafka.address())}
	calls := newCaller(s, lq)
	p := s.startReady()
	if full := p.full(); full != http.StatusServiceUnavailable {
		t.Errorf("/readyz?full is %d with everything away", full)
	}
	if err := lq.Refuse(false); err != nil {
		t.Fatal(err)
	}
	s.waitSessions(lq)
	log := follow(t, s.embedded(), "CALLPOP")
	calls.sendAll(1000, 0)
	log.wait(1000)
	pause(2 * time.Second)
	nats.start()
	kafka.start()
	began := time.Now()
	held := log.seen()
	sink := follow(t, nats.url(), "CALLPOP")
	sink.waitFor(held)
	inKafka := kafka.waitFor(held)
	eventually(t, "all to be well", func() bool { return p.full() == http.StatusOK })
	recovery := time.Since(began)
	for name, seen := range map[string][]event{"NATS": sink.seen(), "Kafka": inKafka} {
		r := delivered(t, "started with everything away, "+name, held, seen, 0)
		r.recovery = recovery
		rows.add(t, r)
	}
	p.expectExit(p.stop(), 0)
}
