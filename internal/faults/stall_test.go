//go:build linux

package faults

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/source/lqsim"
)

// workers is how many events the intake has on their way to the log at once: they
// are older than what it drops.
const workers = 64

// The log takes nothing for half a minute, and memory holds less than what comes.
// Every heartbeat is answered and no session is lost; what goes is the oldest, is
// counted, and is reported as a gap of its agent.
func TestFaultStall(t *testing.T) {
	notInShort(t)
	t.Parallel()
	const rate = 300
	d := mountDisk(t, "64m")
	lq := startLQ(t, lqsim.Options{})
	broker := startNATS(t)
	s := newSetup(t, lq.Addr().String(), agentNumbers(50))
	s.spoolDir, s.spool = filepath.Join(d.dir, "spool"), "min_free: 24MiB, max_bytes: 16MiB"
	s.sinks = []string{natsSink("events", broker.url())}
	s.more = "source: {buffer_bytes: 1MiB}"
	calls := newCaller(s, lq)
	p := s.startReady()
	s.waitSessions(lq)
	sink := follow(t, broker.url(), "CALLPOP")
	log, sessions := follow(t, s.embedded(), "CALLPOP"), follow(t, s.embedded(), "CALLPOP_SESSION")
	calls.sendAll(300, rate)
	sink.wait(300)

	before := lq.Totals()
	d.fill(20 << 20)
	eventually(t, "the spool to hold back", func() bool { return p.spoolState() == web.SpoolLowSpace })
	log.wait(len(lq.Sent()))
	stalled := len(lq.Sent())
	calls.start(rate)
	pause(scale(0, 30*time.Second, 2*time.Minute))
	calls.stop()
	during := lq.Totals()
	d.clear()
	began := time.Now()
	sent := lq.Sent()
	dropped := int(p.metric("callpop_source_dropped_total"))
	log.wait(len(sent) - dropped)
	recovery := time.Since(began)
	all := log.seen()
	sink.waitFor(all)

	if during.Ended > 0 || during.Live != len(s.agents) || during.Unanswered > 0 {
		t.Errorf("%d sessions ended, %d live, %d heartbeats unanswered", during.Ended, during.Live, during.Unanswered)
	}
	r := delivered(t, "log stalled, memory overflows", all, sink.seen(), 0)
	r.in, r.gone = len(sent), dropped
	r.lost = len(sent) - r.out - dropped
	r.recovery = recovery
	r.note = fmt.Sprintf("%d heartbeats meanwhile, all answered", during.Heartbeats-before.Heartbeats)
	if dropped == 0 {
		t.Error("nothing was dropped: the memory was not full")
	}

	// What was dropped is the oldest, but for what the workers held.
	has := map[call]map[int]bool{}
	for _, e := range all {
		if has[e.call] == nil {
			has[e.call] = map[int]bool{}
		}
		has[e.call][e.n] = true
	}
	type loss struct {
		agent string
		at    time.Time
	}
	var losses []loss
	early := 0 // kept, though something newer was dropped
	kept := 0
	for _, pop := range sent[stalled:] {
		c, n, _ := parse(string(pop.Raw))
		if has[c][n] {
			kept++
			continue
		}
		losses = append(losses, loss{pop.Agent, pop.At})
		early = kept
	}
	const order = 2 * rate // sockets are read in any order, some of them late
	if early > workers+order {
		t.Errorf("%d events were kept although they were older than others that were dropped", early)
	}
	// Each of them is within a gap that was reported for its agent.
	var reported int
	eventually(t, "every loss to be within a reported gap", func() bool {
		changes := sessions.sessions()
		reported = 0
		for _, l := range losses {
			for _, c := range changes {
				if g := c.Gap; g != nil && c.Agent == l.agent && !g.From.After(l.at.Add(time.Second)) && !g.To.Before(l.at) {
					reported++
					break
				}
			}
		}
		return reported == len(losses)
	})
	if !slices.ContainsFunc(sessions.sessions(), func(c sessionChange) bool { return c.Gap != nil && c.Cause != "" }) {
		t.Error("no gap has a cause")
	}
	rows.add(t, r)
	p.expectExit(p.stop(), 0)
}
