//go:build linux

package faults

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"
)

// Thousands of sessions are up, and their server is killed. It comes back, and
// all of them are up again, at no more new connections a second than dial_rate
// allows, as the server itself measured.
func TestFaultMassReconnect(t *testing.T) {
	notInShort(t)
	sessions := scale(0, 5000, 12_000)
	const rate = 1000
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	lq := startLQChild(t, address)
	broker := startNATS(t)
	s := newSetup(t, address, []string{fmt.Sprintf("\"10001-%d\"", 10_000+sessions)})
	s.source = fmt.Sprintf("dial_rate: %d, reconnect_interval: 5s", rate)
	s.sinks = []string{natsSink("events", broker.url())}
	p := s.startReady()
	up := func(lq *lqChild) lqStatus {
		t.Helper()
		var status lqStatus
		within(t, patience, "all sessions to be up", func() bool {
			pause(200 * time.Millisecond)
			status = lq.ask("")
			return status.Totals.Live == sessions
		})
		return status
	}
	up(lq)
	if status := lq.ask("pop 1"); status.Sent != sessions {
		t.Fatalf("%d of %d pops were sent", status.Sent, sessions)
	}
	eventually(t, "the pops to be stored", func() bool { return p.metric("callpop_pops_total") == float64(sessions) })

	lq.kill()
	eventually(t, "the outage to show", func() bool { return p.full() == http.StatusServiceUnavailable })
	since := time.Now()
	dials := p.metric("callpop_session_dials_total")
	pause(5 * time.Second)
	tries := p.metric("callpop_session_dials_total") - dials
	tries /= time.Since(since).Seconds()
	if tries > rate*1.1 {
		t.Errorf("%.0f attempts a second while the server is away, more than %d", tries, rate)
	}
	began := time.Now()
	lq = startLQChild(t, address)
	status := up(lq)
	recovery := time.Since(began)
	if status.Totals.Accepted > sessions {
		t.Errorf("the server accepted %d connections for %d sessions", status.Totals.Accepted, sessions)
	}
	second, longer := most(status.Accepts, time.Second), most(status.Accepts, 5*time.Second)
	// From when there was a server, with a burst of a tenth. What a busy machine
	// accepts late, it accepts at once: within less, only a storm can be told.
	if took, least := slices.MaxFunc(status.Accepts, time.Time.Compare).Sub(began), time.Duration(sessions-rate/10)*time.Second/rate; took < least {
		t.Errorf("%d connections within %v, which at %d a second are %v", sessions, took, rate, least)
	}
	if second > 3*rate && !busy(t) {
		t.Errorf("%d connections within one second at a rate of %d", second, rate)
	}
	if status := lq.ask("pop 2"); status.Sent != sessions {
		t.Fatalf("%d of %d pops were sent", status.Sent, sessions)
	}
	log, sink := follow(t, s.embedded(), "CALLPOP"), follow(t, broker.url(), "CALLPOP")
	log.wait(2 * sessions)
	sink.wait(2 * sessions)
	r := delivered(t, fmt.Sprintf("server of %d sessions killed", sessions), log.seen(), sink.seen(), 0)
	r.lost += max(0, 2*sessions-r.in)
	r.recovery = recovery
	r.note = fmt.Sprintf("dial_rate %d: at most %d connections in a second, %d in five; %.0f attempts/s while away", rate, second, longer, tries)
	rows.add(t, r)
	p.expectExit(p.stop(), 0)
}

// most is the most of the times that fall within any stretch so long.
func most(times []time.Time, stretch time.Duration) (n int) {
	slices.SortFunc(times, time.Time.Compare)
	first := 0
	for i, at := range times {
		for at.Sub(times[first]) >= stretch {
			first++
		}
		n = max(n, i-first+1)
	}
	return n
}
