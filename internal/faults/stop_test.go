//go:build linux

package faults

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"github.com/callpop/connector/source/lqsim"
)

// The connector is told to stop under load, again and again. It exits with 0, and
// what the LQ server had sent until it learned of the end is in the log and at the
// sink.
func TestFaultTerm(t *testing.T) {
	stops := scale(2, 15, 60)
	lq := startLQ(t, lqsim.Options{})
	broker := startNATS(t)
	s := newSetup(t, lq.Addr().String(), agentNumbers(40))
	s.sinks = []string{natsSink("events", broker.url())}
	sink := follow(t, broker.url(), "CALLPOP")
	calls := newCaller(s, lq)
	calls.start(800)
	var slowest time.Duration
	for range stops {
		p := s.startReady()
		s.waitSessions(lq)
		before := calls.tries.Load()
		eventually(t, "some pops", func() bool { return calls.tries.Load() > before+200 })
		began := time.Now()
		p.expectExit(p.stop(), 0)
		slowest = max(slowest, time.Since(began))
	}
	calls.stop()
	p := s.startReady()
	held := whole(t, s.embedded(), "CALLPOP")
	sink.waitFor(held)
	p.expectExit(p.stop(), 0)

	r := delivered(t, "SIGTERM under load", held, sink.seen(), 0)
	unread, lost, reordered := received(t, lq.Sent(), held)
	r.lost += lost + unread
	r.reordered += reordered
	r.note = fmt.Sprintf("%d stops, the slowest took %.1f s; %d of %d pops sent were not read", stops, slowest.Seconds(), unread, len(lq.Sent()))
	rows.add(t, r)
}

// With the broker away and ten minutes to drain, a second signal cuts short: at
// once, with code 1, and what was in the log is delivered at the next start.
func TestFaultSecondSignal(t *testing.T) {
	notInShort(t)
	t.Parallel()
	lq := startLQ(t, lqsim.Options{})
	broker := startNATS(t)
	s := newSetup(t, lq.Addr().String(), agentNumbers(20))
	s.sinks = []string{natsSink("events", broker.url())}
	s.more = "shutdown_timeout: 10m"
	calls := newCaller(s, lq)
	p := s.startReady()
	s.waitSessions(lq)
	calls.sendAll(500, 0)
	broker.stop()
	calls.sendAll(500, 0)
	log := follow(t, s.embedded(), "CALLPOP")
	log.wait(1000)
	p.signal(syscall.SIGTERM)
	within(t, patience, "the sessions to end", func() bool { return lq.Totals().Live == 0 })
	pause(time.Second)
	select {
	case <-p.ended:
		t.Errorf("the connector ended without draining: %v", p.err)
	default:
	}
	began := time.Now()
	p.signal(syscall.SIGTERM)
	p.expectExit(p.wait(), 1)
	took := time.Since(began)
	if took > 10*time.Second {
		t.Errorf("the second signal took %v", took)
	}

	broker.start()
	began = time.Now()
	p = s.startReady()
	held := whole(t, s.embedded(), "CALLPOP")
	sink := follow(t, broker.url(), "CALLPOP")
	sink.waitFor(held)
	r := delivered(t, "SIGTERM twice, broker away", held, sink.seen(), 0)
	r.recovery = lastStored(sink.seen()).Sub(began)
	unread, lost, reordered := received(t, lq.Sent(), held)
	r.lost += lost + unread
	r.reordered += reordered
	r.note = fmt.Sprintf("cut short in %.1f s, exit code 1", took.Seconds())
	rows.add(t, r)
	p.expectExit(p.stop(), 0)
}
