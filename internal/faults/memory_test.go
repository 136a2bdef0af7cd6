//go:build linux

package faults

import (
	"fmt"
	"testing"
	"time"

	"github.com/callpop/connector/source/lqsim"
)

// Memory does not grow with the backlog: two sinks are away while so many events
// come, and take them all in the end, one after the other.
func TestFaultBacklogMemory(t *testing.T) {
	notInShort(t)
	const most = 150 // MiB
	rate := scale(0, 8000, 5000)
	var before int
	for _, n := range scale(nil, []int{100_000}, []int{100_000, 1_000_000}) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			peak := backlogMemory(t, n, rate)
			if peak > most {
				t.Errorf("the most resident memory was %d MiB, more than %d", peak, most)
			}
			// The same, but for when the garbage collector happened to run.
			if before > 0 && peak > before+before/4 {
				t.Errorf("the most resident memory was %d MiB, and %d with a tenth of the backlog", peak, before)
			}
			before = peak
		})
	}
}

// backlogMemory returns the most resident memory of a run, in MiB.
func backlogMemory(t *testing.T, n, rate int) (peak int) {
	lq := startLQ(t, lqsim.Options{})
	broker, kafka := newNATS(t), newKafka(t)
	s := newSetup(t, lq.Addr().String(), agentNumbers(200))
	s.sinks = []string{natsSink("nats", broker.url()), kafkaSink("kafka", kafka.address())}
	calls := newCaller(s, lq)
	p := s.startReady()
	s.waitSessions(lq)
	began := time.Now()
	for done := 0; done < n; {
		calls.sendAll(5000, rate)
		done += 5000
		within(t, patience, "the log to have it", func() bool { return p.metric("callpop_pops_total") >= float64(done) })
	}
	came := float64(n) / time.Since(began).Seconds()
	_, filling := p.memory()
	for _, name := range []string{"nats", "kafka"} {
		if waits, _ := p.backlog(name); waits < uint64(n) {
			t.Errorf("%d events wait for %s, want %d", waits, name, n)
		}
	}
	catchUp := func(name string, start func()) time.Duration {
		start()
		began := time.Now()
		within(t, patience+time.Duration(n)*time.Millisecond, name+" to have it all", func() bool {
			waits, known := p.backlog(name)
			return known && waits == 0
		})
		return time.Since(began)
	}
	inNATS := catchUp("nats", broker.start)
	_, afterNATS := p.memory()
	inKafka := catchUp("kafka", kafka.start)
	now, peak := p.memory()

	held := whole(t, s.embedded(), "CALLPOP")
	unread, lost, reordered := received(t, lq.Sent(), held)
	add := func(name string, sink []event, took time.Duration, note string) {
		r := delivered(t, fmt.Sprintf("backlog of %d, %s", n, name), held, sink, 0)
		r.lost += lost + unread
		r.reordered += reordered
		r.recovery = took
		r.note = fmt.Sprintf("came at %.0f/s, caught up at %.0f/s; %s", came, float64(n)/took.Seconds(), note)
		rows.add(t, r)
	}
	add("NATS", whole(t, broker.url(), "CALLPOP"), inNATS,
		fmt.Sprintf("most memory %d MiB filling, %d MiB after catching up", filling, afterNATS))
	add("Kafka", kafka.waitFor(held), inKafka, fmt.Sprintf("most memory %d MiB in all, %d MiB at the end", peak, now))
	p.expectExit(p.stop(), 0)
	return peak
}
