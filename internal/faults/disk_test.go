//go:build linux

package faults

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/source/lqsim"
)

// disk is a small file system of its own, with ballast that something else has
// put there.
type disk struct {
	t   testing.TB
	dir string
}

func mountDisk(t *testing.T, size string) *disk {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		missing(t, "mounting a file system needs root (CAP_SYS_ADMIN)", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return &disk{t, dir}
}

func (d *disk) free() int64 {
	d.t.Helper()
	var s unix.Statfs_t
	if err := unix.Statfs(d.dir, &s); err != nil {
		d.t.Fatal(err)
	}
	return int64(s.Bavail) * s.Bsize
}

// fill leaves so many bytes free.
func (d *disk) fill(leave int64) {
	d.t.Helper()
	f, err := os.OpenFile(filepath.Join(d.dir, "ballast"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for n := d.free() - leave; n > 0; n = d.free() - leave {
		if _, err := f.Write(make([]byte, min(n, 1<<16))); errors.Is(err, unix.ENOSPC) {
			return
		} else if err != nil {
			d.t.Fatal(err)
		}
	}
}

func (d *disk) clear() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.dir, "ballast")); err != nil {
		d.t.Fatal(err)
	}
}

// The disk runs low, or is really full, while the sink is away and pops come in.
// No session and no heartbeat is lost; the state is loud; the sink comes back and
// gets what the log holds while the disk is still full; and once there is room it
// all goes on by itself, with what waited in memory.
func TestFaultDisk(t *testing.T) {
	notInShort(t)
	t.Parallel()
	t.Run("low", func(t *testing.T) {
		t.Parallel()
		diskFault(t, "disk below min_free", "min_free: 24MiB, max_bytes: 16MiB", 20<<20)
	})
	t.Run("full", func(t *testing.T) {
		t.Parallel()
		diskFault(t, "disk full", "min_free: 0, max_bytes: 16MiB", 0)
	})
}

func diskFault(t *testing.T, fault, spool string, leave int64) {
	d := mountDisk(t, "64m")
	lq := startLQ(t, lqsim.Options{Heartbeat: 500 * time.Millisecond})
	broker := startNATS(t)
	s := newSetup(t, lq.Addr().String(), agentNumbers(30))
	s.spoolDir, s.spool = filepath.Join(d.dir, "spool"), spool
	s.sinks = []string{natsSink("events", broker.url())}
	calls := newCaller(s, lq)
	p := s.startReady()
	s.waitSessions(lq)
	sink := follow(t, broker.url(), "CALLPOP")
	calls.sendAll(300, 0)
	sink.wait(300)
	sessions := lq.Sessions()

	broker.stop()
	calls.sendAll(2000, 2000)
	within(t, patience, "the log to have it", func() bool { return p.metric("callpop_pops_total") >= 2300 })
	d.fill(leave)
	calls.start(200)
	within(t, patience, "the spool to hold back", func() bool { return p.spoolState() == web.SpoolLowSpace })
	if restarts := p.metric("callpop_spool_restarts_total"); (leave == 0) != (restarts > 0) {
		t.Errorf("the embedded server was restarted %v times", restarts)
	}
	// From here on, until there is room, every look shows it.
	var looks, serving, silent int
	look := func() {
		r, err := p.ready()
		if err != nil || r.Spool == nil {
			return
		}
		looks++
		if r.Spool.State == web.SpoolServing {
			serving++
		}
		if !strings.Contains(strings.Join(r.Problems, "\n"), "the spool is") || p.full() != http.StatusServiceUnavailable {
			silent++
		}
	}
	// The sink comes back, and drains a full disk.
	broker.start()
	eventually(t, "the sink to get what the log holds", func() bool { look(); return sink.distinct() >= 2300 })
	for end := time.Now().Add(scale(0, 10*time.Second, time.Minute)); time.Now().Before(end); pause(50 * time.Millisecond) {
		look()
	}
	if serving > 0 || silent > 0 {
		t.Errorf("of %d looks at /readyz while the disk was full, %d said that the spool serves, %d named no problem", looks, serving, silent)
	}
	held := p.metric("callpop_pops_total")

	d.clear()
	began := time.Now()
	eventually(t, "the spool to serve by itself", func() bool { return p.spoolState() == web.SpoolServing })
	served := time.Since(began)
	eventually(t, "pops to be stored again", func() bool { return p.metric("callpop_pops_total") > held+200 })
	calls.stop()
	log := follow(t, s.embedded(), "CALLPOP")
	settle(t, lq, log)
	recovery := time.Since(began)
	all := log.seen()
	sink.waitFor(all)
	if now := lq.Sessions(); len(now) != len(sessions) || now[0].Number != sessions[0].Number || now[len(now)-1].Number != sessions[len(now)-1].Number {
		t.Error("a session was lost")
	}
	totals := lq.Totals()
	if totals.Unanswered > 0 || totals.Ended > 0 {
		t.Errorf("%d heartbeats went unanswered, %d sessions ended", totals.Unanswered, totals.Ended)
	}
	if dropped := p.metric("callpop_source_dropped_total"); dropped > 0 {
		t.Errorf("%v events were dropped", dropped)
	}
	if !strings.Contains(p.text(), "spool does not serve") || !strings.Contains(p.text(), "spool serves again") {
		t.Error("the log does not say that the spool did not serve, and that it does again")
	}
	r := delivered(t, fault, all, sink.seen(), 0)
	unread, lost, reordered := received(t, lq.Sent(), all)
	r.lost += lost + unread
	r.reordered += reordered
	r.recovery = recovery
	r.note = fmt.Sprintf("serves %.1f s after there is room; %d heartbeats, %d unanswered; no session lost", served.Seconds(), totals.Heartbeats, totals.Unanswered)
	rows.add(t, r)
	p.expectExit(p.stop(), 0)
}
