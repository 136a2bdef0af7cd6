//go:build linux

package faults

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/lqsim"
)

// networkFault is what a network does for a while.
type networkFault struct {
	name string
	// toxics, drop or cut say what it is: toxiproxy's, packets that are dropped, or
	// a reset after so many bytes at most.
	toxics []string
	drop   bool
	cut    int
	// renewed ends the connections of before at its beginning.
	renewed bool
	// silent networks let nothing through: that has to be noticed in time.
	silent bool
	// cutting ones cost sessions; others must not.
	cutting bool
}

// slack is how much later than promised something may be noticed, on a machine that
// has other things to do; the table says when it was.
const slack = 20 * time.Second

// The network between the LQ server and the connector is slow, cut or lying. What
// was read is stored, in order; a network that is only slow costs no session; one
// that lets nothing through is noticed within expire_after plus 5 s; and once it
// is well, all sessions are up again by themselves.
func TestFaultNetworkToLQ(t *testing.T) {
	t.Parallel()
	const expireAfter = 10 * time.Second
	for _, f := range []networkFault{
		{name: "latency of 300 ms and more", toxics: both("latency", `{"latency":300,"jitter":200}`)},
		{name: "ten bytes a second", toxics: down("slicer", `{"average_size":1,"size_variation":0,"delay":100000}`)},
		{name: "ends inside frames", toxics: down("limit_data", `{"bytes":777}`), cutting: true},
		{name: "resets", toxics: down("reset_peer", `{"timeout":400}`), cutting: true},
		{name: "resets inside frames", cut: 600, cutting: true},
		{name: "half open: data swallowed", toxics: both("timeout", `{"timeout":0}`), silent: true, cutting: true},
		{name: "half open: packets dropped", drop: true, silent: true, cutting: true},
	} {
		t.Run(f.name, func(t *testing.T) {
			if !f.drop {
				notInShort(t)
			}
			t.Parallel()
			slow := f.name == "ten bytes a second"
			beat := time.Second
			if slow {
				beat = 6 * time.Second // or they alone would be more than gets through
			}
			lq := startLQ(t, lqsim.Options{Heartbeat: beat})
			broker := startNATS(t)
			network := newLink(t, freePort(t), lq.Addr().String(), f)
			s := newSetup(t, network.address(), agentNumbers(10))
			s.source = fmt.Sprintf("dial_rate: 1000, reconnect_interval: 500ms, expire_after: %v", expireAfter)
			s.sinks = []string{natsSink("events", broker.url())}
			calls := newCaller(s, lq)
			p := s.startReady()
			s.waitSessions(lq)
			log, sessions := follow(t, s.embedded(), "CALLPOP"), follow(t, s.embedded(), "CALLPOP_SESSION")
			sink := follow(t, broker.url(), "CALLPOP")
			calls.sendAll(100, 0)
			log.wait(100)

			began := time.Now()
			network.spoil(f)
			var note string
			if slow {
				calls.sendAll(20, 0)
				log.wait(120)
				note = fmt.Sprintf("two pops for each agent took %.0f s", time.Since(began).Seconds())
			} else {
				calls.start(50)
				pause(scale(2*time.Second, 10*time.Second, time.Minute))
			}
			if f.silent {
				note = "noticed after at most " + noticed(t, sessions, began, len(s.agents), expireAfter+5*time.Second).Round(100*time.Millisecond).String()
			}
			if ended := lq.Totals().Ended; ended > 0 && !f.cutting {
				t.Errorf("%d sessions ended", ended)
			}
			network.heal()
			began = time.Now()
			eventually(t, "all sessions to be up", func() bool {
				r, err := p.ready()
				return err == nil && *r.Servers[0].SessionsUp == len(s.agents)
			})
			calls.stop()
			settle(t, lq, log)
			recovery := time.Since(began)
			if f.cutting && lq.Totals().Ended == 0 {
				t.Error("no session ended: there was no fault")
			}
			held := whole(t, s.embedded(), "CALLPOP")
			sink.waitFor(held)
			checkGaps(t, lq.Sent(), held, sessions)
			r := delivered(t, "network to LQ: "+f.name, held, sink.seen(), 0)
			unread, lost, reordered := received(t, lq.Sent(), held)
			r.lost += lost
			r.reordered += reordered
			r.recovery = recovery
			if f.cutting {
				note = fmt.Sprintf("%d of %d pops sent never came through, all within reported gaps; %d sessions ended; %s", unread, len(lq.Sent()), lq.Totals().Ended, note)
			} else if unread > 0 {
				r.lost += unread
			}
			r.note = strings.TrimSuffix(note, "; ")
			rows.add(t, r)
			p.expectExit(p.stop(), 0)
		})
	}
}

// noticed waits until each of so many agents has had a session event that says its
// session is gone, and returns how long the slowest took.
func noticed(t *testing.T, sessions *follower, since time.Time, agents int, limit time.Duration) (longest time.Duration) {
	t.Helper()
	eventually(t, "every session to be noticed as gone", func() bool {
		gone := map[string]time.Time{}
		for _, c := range sessions.sessions() {
			lost := c.State == schema.Expired || c.State == schema.Failed || c.State == schema.Reconnecting
			if _, known := gone[c.Agent]; lost && !known && c.At.After(since) {
				gone[c.Agent] = c.At
			}
		}
		longest = 0
		for _, at := range gone {
			longest = max(longest, at.Sub(since))
		}
		return len(gone) == agents
	})
	if longest > limit+slack {
		t.Errorf("it took %v to notice, more than %v", longest, limit)
	}
	return longest
}

// The LQ server accepts connections and says nothing: they count as failed, and
// are given up and tried again, so that all are up soon after it speaks.
func TestFaultAcceptAndSilent(t *testing.T) {
	notInShort(t)
	t.Parallel()
	const expireAfter = 6 * time.Second
	lq := startLQ(t, lqsim.Options{})
	lq.Mute(true)
	s := newSetup(t, lq.Addr().String(), agentNumbers(10))
	s.source = fmt.Sprintf("dial_rate: 1000, reconnect_interval: 500ms, expire_after: %v", expireAfter)
	calls := newCaller(s, lq)
	began := time.Now()
	p := s.startReady()
	sessions := follow(t, s.embedded(), "CALLPOP_SESSION")
	longest := noticed(t, sessions, began, len(s.agents), expireAfter+5*time.Second)
	for _, c := range sessions.sessions() {
		if c.State == schema.Connected {
			t.Errorf("the session of agent %s counts as connected although nothing was heard", c.Agent)
		}
	}
	lq.Mute(false)
	began = time.Now()
	s.waitSessions(lq)
	recovery := time.Since(began)
	if limit := expireAfter + 10*time.Second; recovery > limit+slack {
		t.Errorf("all sessions were up %v after the server spoke, more than %v", recovery, limit)
	}
	log := follow(t, s.embedded(), "CALLPOP")
	calls.sendAll(100, 0)
	log.wait(100)
	r := delivered(t, "LQ server accepts and is silent", log.seen(), log.seen(), 0)
	unread, lost, reordered := received(t, lq.Sent(), log.seen())
	r.lost += lost + unread
	r.reordered += reordered
	r.recovery = recovery
	r.note = fmt.Sprintf("expire_after %v; failed after at most %.1f s", expireAfter, longest.Seconds())
	rows.add(t, r)
	p.expectExit(p.stop(), 0)
}
