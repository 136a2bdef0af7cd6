//go:build linux

package faults

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/lqsim"
)

// event is a pop's event as a stream or topic holds it.
type event struct {
	sequence uint64 // of the stream
	id, key  string
	call     call
	n        int
	// stored is the stream's own time, received when the pop was.
	stored, received time.Time
}

// delivered compares what the log holds, in its order, with what a sink holds, in
// the sink's. gone are those that the connector reported as gone.
func delivered(t testing.TB, fault string, log, sink []event, gone int) row {
	t.Helper()
	r := row{fault: fault, in: len(log), gone: gone}
	place := make(map[string]int, len(log))
	for i, e := range log {
		if _, twice := place[e.id]; twice {
			t.Errorf("%s: the log holds id %s twice", fault, e.id)
		}
		place[e.id] = i
	}
	has := make(map[string]bool, len(log))
	newest := map[string]int{}
	for _, e := range sink {
		i, known := place[e.id]
		switch {
		case !known:
			t.Errorf("%s: the sink has id %s, which the log does not hold", fault, e.id)
			continue
		case has[e.id]:
			r.duplicated++
			continue
		case log[i].key != e.key || log[i].n != e.n || log[i].call != e.call:
			t.Errorf("%s: id %s is another event at the sink", fault, e.id)
		}
		has[e.id] = true
		r.out++
		if last, ok := newest[e.key]; ok && i < last {
			r.reordered++
		}
		newest[e.key] = max(newest[e.key], i)
	}
	r.lost = max(0, len(log)-r.out-gone)
	return r
}

// missingFrom counts what somebody has seen of the log and is not there, at its
// sequence, any more.
func missingFrom(held, seen []event) (n int) {
	at := make(map[uint64]string, len(held))
	for _, e := range held {
		at[e.sequence] = e.id
	}
	for _, e := range seen {
		if at[e.sequence] != e.id {
			n++
		}
	}
	return n
}

// received compares what an LQ server sent with what the log holds, in its order.
// Of each session and call, the log must hold what was sent from the first on: a
// pop that is not there while a later one is was read and lost. unread is what was
// sent and never read, because the session ended first; it is only ever the end of
// a session's pops. lost and reordered count what breaks this.
func received(t testing.TB, sent []lqsim.Sent, log []event) (unread, lost, reordered int) {
	t.Helper()
	type line struct {
		session int64
		call    call
	}
	type numbered struct {
		call
		n int
	}
	sessionOf := map[numbered]int64{}
	want, got := map[line][]int{}, map[line][]int{}
	for _, s := range sent {
		c, n, ok := parse(string(s.Raw))
		if !ok {
			t.Fatalf("the LQ server sent %q", s.Raw)
		}
		sessionOf[numbered{c, n}] = s.Session
		l := line{s.Session, c}
		want[l] = append(want[l], n)
	}
	newest := map[call]int{}
	latest := map[string]time.Time{}
	for _, e := range log {
		if last, ok := newest[e.call]; ok && e.n < last {
			reordered++
		} else if !e.received.After(latest[e.key]) {
			reordered++ // among the sockets of several agents
		}
		newest[e.call] = max(newest[e.call], e.n)
		latest[e.key] = e.received
		if session, whole := sessionOf[numbered{e.call, e.n}]; whole {
			l := line{session, e.call}
			got[l] = append(got[l], e.n)
		}
	}
	for l, sent := range want {
		have := got[l]
		if !slices.Equal(have, sent[:min(len(have), len(sent))]) {
			lost += missingBefore(sent, have)
			if len(have) > len(sent) {
				t.Errorf("call %v: %d events of %d pops", l.call, len(have), len(sent))
			}
			t.Logf("session %d, call %v: sent %v, in the log %v", l.session, l.call, brief(sent), brief(have))
		}
		unread += max(0, len(sent)-len(have))
	}
	return unread, lost, reordered
}

// checkGaps fails the test where a pop that was sent is not in the log, and in no
// gap that was reported for its agent either.
func checkGaps(t testing.TB, sent []lqsim.Sent, log []event, sessions *follower) {
	t.Helper()
	type numbered struct {
		call
		n int
	}
	has := make(map[numbered]bool, len(log))
	for _, e := range log {
		has[numbered{e.call, e.n}] = true
	}
	var missing []lqsim.Sent
	for _, s := range sent {
		if c, n, ok := parse(string(s.Raw)); ok && !has[numbered{c, n}] {
			missing = append(missing, s)
		}
	}
	// A session was last heard by the first bytes of a pop that was cut; and the
	// connector notes once a second that it lives, and may read late what it reads.
	const slack = 5 * time.Second
	eventually(t, fmt.Sprintf("each of %d missing pops to be in a reported gap", len(missing)), func() bool {
		gaps := map[string][]schema.Gap{}
		for _, c := range sessions.sessions() {
			if c.Gap != nil {
				gaps[c.Agent] = append(gaps[c.Agent], *c.Gap)
			}
		}
		for _, s := range missing {
			if !slices.ContainsFunc(gaps[s.Agent], func(g schema.Gap) bool {
				return !g.From.After(s.At.Add(slack)) && !g.To.Before(s.At)
			}) {
				return false
			}
		}
		return true
	})
}

// missingBefore counts the numbers of sent that are not in have, and before one
// that is.
func missingBefore(sent, have []int) (n int) {
	in := make(map[int]bool, len(have))
	for _, h := range have {
		in[h] = true
	}
	waiting := 0
	for _, s := range sent {
		if in[s] {
			n += waiting
			waiting = 0
		} else {
			waiting++
		}
	}
	return n
}

func brief(n []int) []int { return n[:min(len(n), 40)] }

// lastStored is when the newest of the events was stored.
func lastStored(events []event) (newest time.Time) {
	for _, e := range events {
		if e.stored.After(newest) {
			newest = e.stored
		}
	}
	return newest
}
