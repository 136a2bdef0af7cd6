//go:build linux

package faults

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/callpop/connector/source/lqsim"
)

// The connector is told to stop at random moments under load, again and again. It
// exits with 0, and what the LQ server had sent until it learned of the end is in
// the log and at the sink.
func TestFaultTerm(t *testing.T) {
	stops := scale(2, 50, 200)
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
		pause(time.Duration(rand.Int64N(int64(400 * time.Millisecond))))
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

// With the broker away and ten minutes to drain, a second signal at a random
// moment cuts short: at once, with code 1. What was in the log, as somebody saw it,
// is still there, and is delivered when the broker is back.
func TestFaultSecondSignal(t *testing.T) {
	notInShort(t)
	t.Parallel()
	cuts := scale(0, 10, 50)
	lq := startLQ(t, lqsim.Options{})
	broker := startNATS(t)
	s := newSetup(t, lq.Addr().String(), agentNumbers(20))
	s.sinks = []string{natsSink("events", broker.url())}
	s.more = "shutdown_timeout: 10m"
	log, sessions := follow(t, s.embedded(), "CALLPOP"), follow(t, s.embedded(), "CALLPOP_SESSION")
	sink := follow(t, broker.url(), "CALLPOP")
	calls := newCaller(s, lq)
	p := s.startReady()
	s.waitSessions(lq)
	calls.sendAll(500, 0)
	sink.wait(500)
	broker.stop()
	calls.start(400)
	var slowest time.Duration
	for i := range cuts {
		if i > 0 {
			p = s.startReady()
		}
		before := log.distinct()
		log.wait(before + 50)
		p.signal(syscall.SIGTERM)
		eventually(t, "the first signal to be taken", func() bool { return strings.Contains(p.text(), "once more to cut short") })
		pause(time.Duration(rand.Int64N(int64(500 * time.Millisecond))))
		select {
		case <-p.ended:
			t.Errorf("the connector ended without draining: %v", p.err)
		default:
		}
		began := time.Now()
		p.signal(syscall.SIGTERM)
		p.expectExit(p.wait(), 1)
		slowest = max(slowest, time.Since(began))
	}
	if limit := 10 * time.Second; slowest > limit+slack {
		t.Errorf("a second signal took %v, more than %v", slowest, limit)
	}
	calls.stop()

	broker.start()
	began := time.Now()
	p = s.startReady()
	s.waitSessions(lq)
	held := whole(t, s.embedded(), "CALLPOP")
	sink.waitFor(held)
	log.waitFor(held)
	checkGaps(t, lq.Sent(), held, sessions)
	r := delivered(t, "SIGTERM twice, broker away", held, sink.seen(), 0)
	r.recovery = lastStored(sink.seen()).Sub(began)
	unread, lost, reordered := received(t, lq.Sent(), held)
	r.lost += lost + missingFrom(held, log.seen())
	r.reordered += reordered
	r.note = fmt.Sprintf("%d times cut short, the slowest in %.1f s, exit code 1; %d of %d pops sent were not read", cuts, slowest.Seconds(), unread, len(lq.Sent()))
	rows.add(t, r)
	p.expectExit(p.stop(), 0)
}
