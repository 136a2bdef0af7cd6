//go:build linux

package faults

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/callpop/connector/source/lqsim"
)

// The connector is killed at random moments under load, as often while it starts
// as while it works. Everything that anybody has ever seen of its log is still in
// it afterwards, at its place, and reaches the sink; of each session and call it
// holds what was sent from the first pop on. Before every fifth kill the load
// stops and all is stored: then nothing at all may be missing.
func TestFaultKill(t *testing.T) {
	kills := scale(3, 50, 300)
	lq := startLQ(t, lqsim.Options{})
	broker := startNATS(t)
	s := newSetup(t, lq.Addr().String(), agentNumbers(40))
	s.sinks = []string{natsSink("events", broker.url())}
	log := follow(t, s.embedded(), "CALLPOP")
	sink := follow(t, broker.url(), "CALLPOP")
	sessions := follow(t, s.embedded(), "CALLPOP_SESSION")
	calls := newCaller(s, lq)

	var slowest time.Duration
	calls.start(800)
	for i := range kills {
		began := time.Now()
		p := s.start()
		if i%5 == 4 {
			p.waitReady()
			s.waitSessions(lq)
			settle(t, lq, log)
			sink.waitFor(log.seen())
			slowest = max(slowest, time.Since(began))
			calls.stop()
			settle(t, lq, log)
			p.kill()
			calls.start(800)
			continue
		}
		pause(time.Duration(rand.Int64N(int64(time.Second))))
		p.kill()
	}
	calls.stop()
	p := s.startReady()
	s.waitSessions(lq)
	held := whole(t, s.embedded(), "CALLPOP")
	sink.waitFor(held)
	log.waitFor(held)
	checkGaps(t, lq.Sent(), held, sessions)
	p.expectExit(p.stop(), 0)

	r := delivered(t, "kill -9, NATS", held, sink.seen(), 0)
	unread, lost, reordered := received(t, lq.Sent(), held)
	r.lost += lost + missingFrom(held, log.seen())
	r.reordered += reordered
	r.recovery = slowest
	r.note = fmt.Sprintf("%d kills; %d of %d pops sent were still on the wire", kills, unread, len(lq.Sent()))
	rows.add(t, r)
}

// settle waits until the log holds every pop that was sent over a session that is
// up: whatever comes later, none of them is on its way. A session can end meanwhile,
// which the LQ server learns later than the connector.
func settle(t testing.TB, lq *lqsim.Server, log *follower) {
	t.Helper()
	type pop struct {
		call call
		n    int
	}
	wanted := map[pop]int64{} // its session
	for _, sent := range lq.Sent() {
		if c, n, ok := parse(string(sent.Raw)); ok {
			wanted[pop{c, n}] = sent.Session
		}
	}
	next := 0
	eventually(t, "all that was sent to be in the log", func() bool {
		seen := log.seen()
		for _, e := range seen[next:] {
			delete(wanted, pop{e.call, e.n})
		}
		next = len(seen)
		up := map[int64]bool{}
		for _, session := range lq.Sessions() {
			up[session.Number] = true
		}
		maps.DeleteFunc(wanted, func(_ pop, session int64) bool { return !up[session] })
		return len(wanted) == 0
	})
}
