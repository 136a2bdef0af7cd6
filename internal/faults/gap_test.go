//go:build linux

package faults

import (
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/source/lqsim"
)

// The connector stands still while pops are sent to it, and is killed before it
// reads them. Its next life ends before it has heard the server, or is without one
// altogether. The gaps of the life after that, which is the first that could
// report any, reach back to what was lost.
func TestFaultGap(t *testing.T) {
	notInShort(t)
	t.Parallel()
	for _, c := range []struct {
		name string
		// between is the life in which no session comes up.
		between func(lq *lqsim.Server, p *process)
	}{
		{"server silent, killed again", func(_ *lqsim.Server, p *process) { p.kill() }},
		{"server silent, stopped in order", func(_ *lqsim.Server, p *process) { p.expectExit(p.stop(), 0) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			lq := startLQ(t, lqsim.Options{})
			s := newSetup(t, lq.Addr().String(), agentNumbers(10))
			calls := newCaller(s, lq)
			p := s.startReady()
			s.waitSessions(lq)
			log, sessions := follow(t, s.embedded(), "CALLPOP"), follow(t, s.embedded(), "CALLPOP_SESSION")
			calls.sendAll(50, 0)
			log.wait(50)
			p.signal(syscall.SIGSTOP)
			calls.sendAll(20, 0)
			p.kill()

			lq.Mute(true)
			p = s.startReady()
			pause(6 * time.Second)
			c.between(lq, p)

			lq.Mute(false)
			began := time.Now()
			p = s.startReady()
			s.waitSessions(lq)
			recovery := time.Since(began)
			calls.sendAll(50, 0)
			settle(t, lq, log)
			held := whole(t, s.embedded(), "CALLPOP")
			checkGaps(t, lq.Sent(), held, sessions)
			r := delivered(t, "gap over two starts: "+c.name, held, log.seen(), 0)
			unread, lost, reordered := received(t, lq.Sent(), held)
			r.lost += lost
			r.reordered += reordered
			r.recovery = recovery
			r.note = fmt.Sprintf("%d pops were not read, all within reported gaps", unread)
			rows.add(t, r)
			p.expectExit(p.stop(), 0)
		})
	}
}

// The connector is killed while its log takes nothing, and all that it has read for
// seconds is lost with its memory. It says so: the gaps of the next start reach back
// to the oldest of it.
func TestFaultKillStalled(t *testing.T) {
	notInShort(t)
	t.Parallel()
	d := mountDisk(t, "64m")
	lq := startLQ(t, lqsim.Options{})
	s := newSetup(t, lq.Addr().String(), agentNumbers(10))
	s.spoolDir, s.spool = filepath.Join(d.dir, "spool"), "min_free: 24MiB, max_bytes: 16MiB"
	calls := newCaller(s, lq)
	p := s.startReady()
	s.waitSessions(lq)
	log, sessions := follow(t, s.embedded(), "CALLPOP"), follow(t, s.embedded(), "CALLPOP_SESSION")
	calls.sendAll(50, 0)
	log.wait(50)
	d.fill(20 << 20)
	eventually(t, "the spool to hold back", func() bool { return p.spoolState() == web.SpoolLowSpace })
	log.wait(len(lq.Sent()))
	calls.sendAll(20, 0)
	pause(10 * time.Second) // more than the slack of the comparison
	p.kill()

	d.clear()
	p = s.startReady()
	s.waitSessions(lq)
	calls.sendAll(50, 0)
	settle(t, lq, log)
	held := whole(t, s.embedded(), "CALLPOP")
	checkGaps(t, lq.Sent(), held, sessions)
	r := delivered(t, "kill -9 while the log is stalled", held, log.seen(), 0)
	unread, lost, reordered := received(t, lq.Sent(), held)
	r.lost += lost
	r.reordered += reordered
	r.note = fmt.Sprintf("%d pops were in memory only, all within reported gaps", unread)
	if unread == 0 {
		t.Error("nothing was in memory only: there was no fault")
	}
	rows.add(t, r)
	p.expectExit(p.stop(), 0)
}
