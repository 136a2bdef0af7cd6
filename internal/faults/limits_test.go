//go:build linux

package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/source/lqsim"
)

// The log's limits are too small for a backlog. What goes before a sink had it is
// counted for that sink, logged once, and shown in /readyz; the rest arrives in
// order, and a sink that was there lost nothing.
func TestFaultLimits(t *testing.T) {
	notInShort(t)
	t.Parallel()
	t.Run("max_bytes", func(t *testing.T) {
		t.Parallel()
		limits(t, "max_bytes", "min_free: 0, max_bytes: 8MiB", func(send func(int)) { send(25_000) })
	})
	t.Run("max_age", func(t *testing.T) {
		t.Parallel()
		limits(t, "max_age", "min_free: 0, max_age: 1m", func(send func(int)) {
			send(20_000) // more than a sink reads ahead
			pause(70 * time.Second)
			send(500)
		})
	})
}

func limits(t *testing.T, limit, spool string, fill func(send func(int))) {
	lq := startLQ(t, lqsim.Options{})
	away, there := startNATS(t), startNATS(t)
	s := newSetup(t, lq.Addr().String(), agentNumbers(30))
	s.sinks = []string{natsSink("away", away.url()), natsSink("there", there.url())}
	s.spool = spool
	calls := newCaller(s, lq)
	p := s.startReady()
	s.waitSessions(lq)
	log, atThere := follow(t, s.embedded(), "CALLPOP"), follow(t, there.url(), "CALLPOP")
	atAway := follow(t, away.url(), "CALLPOP")
	calls.sendAll(300, 0)
	log.wait(300)
	atAway.wait(300)
	away.stop()
	fill(func(n int) {
		// No faster than the sink that is there takes them, or it would lose some too.
		const step = 500
		for range n / step {
			calls.sendAll(step, 0)
			atThere.wait(len(lq.Sent()))
		}
	})
	settle(t, lq, log) // the follower has seen all, also what is gone by now
	atThere.waitFor(log.seen())
	away.start()
	began := time.Now()
	held := whole(t, s.embedded(), "CALLPOP")
	atAway.waitFor(held)
	eventually(t, "the sink to be done", func() bool { n, known := p.backlog("away"); return known && n == 0 })

	gone := int(p.metric("callpop_sink_lost_total", `sink="away"`, `type="callpop.v1"`))
	r := delivered(t, limit+" too small, the sink that was away", log.seen(), atAway.seen(), gone)
	r.recovery = lastStored(atAway.seen()).Sub(began)
	if gone == 0 || r.out+gone != r.in {
		t.Errorf("%d of %d events arrived, and %d are counted as gone", r.out, r.in, gone)
	}
	if n := strings.Count(p.text(), "events left the spool before the sink had them"); n != 1 {
		t.Errorf("the loss was logged %d times", n)
	}
	if _, body, err := p.get("/readyz"); gone > 0 && (err != nil || !strings.Contains(string(body), fmt.Sprint(gone))) {
		t.Errorf("/readyz does not say that %d events are gone: %s, %v", gone, body, err)
	}
	rows.add(t, r)
	other := delivered(t, limit+" too small, the sink that was there", log.seen(), atThere.seen(), 0)
	if n := p.metric("callpop_sink_lost_total", `sink="there"`); n != 0 {
		t.Errorf("%v events are counted as gone for the sink that was there", n)
	}
	rows.add(t, other)
	p.expectExit(p.stop(), 0)
}
