//go:build linux

package faults

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/source/lqsim"
)

// A stopped spool is damaged. The connector starts all the same, a sink gets what
// is whole, in order, and everything that comes afterwards; what is not whole is
// counted, to the last event, logged and shown.
func TestFaultDamage(t *testing.T) {
	const before, after = 3000, 500
	t.Parallel()
	quarter := func(d []byte) int { return len(d) / 4 }
	for _, c := range []struct {
		fault, file string
		damage      func(d []byte) []byte
		all         bool // nothing may be gone
	}{
		{"block with a bit flipped", "blk", func(d []byte) []byte { d[len(d)/2] ^= 4; return d }, false},
		{"block with a torn end", "blk", func(d []byte) []byte { return d[:len(d)-100] }, false},
		{"block with zeroes from three quarters on", "blk", func(d []byte) []byte { clear(d[3*quarter(d):]); return d }, false},
		{"block with a hole of zeroes", "blk", func(d []byte) []byte { clear(d[quarter(d) : quarter(d)+8192]); return d }, false},
		{"block cut in half", "blk", func(d []byte) []byte { return d[:len(d)/2] }, false},
		{"index of zeroes", "index.db", func(d []byte) []byte { return make([]byte, len(d)) }, true},
		{"index missing", "index.db", func([]byte) []byte { return nil }, true},
	} {
		t.Run(c.fault, func(t *testing.T) {
			if !strings.Contains(c.fault, "flipped") {
				notInShort(t)
			}
			t.Parallel()
			lq := startLQ(t, lqsim.Options{})
			broker := startNATS(t)
			s := newSetup(t, lq.Addr().String(), agentNumbers(30))
			calls := newCaller(s, lq)
			p := s.startReady()
			s.waitSessions(lq)
			log := follow(t, s.embedded(), "CALLPOP")
			calls.sendAll(before, 0)
			log.wait(before)
			p.expectExit(p.stop(), 0)
			old := log.seen()
			log.stop()

			damageFile(t, s.spoolDir, c.file, c.damage)
			s.sinks = []string{natsSink("events", broker.url())}
			began := time.Now()
			p = s.startReady()
			recovery := time.Since(began)
			s.waitSessions(lq)
			sink := follow(t, broker.url(), "CALLPOP")
			calls.sendAll(after, 0)
			isOld := make(map[string]bool, len(old))
			for _, e := range old {
				isOld[e.id] = true
			}
			all := old
			var atSink []event
			eventually(t, "all events from after the damage at the sink", func() bool {
				atSink, all = sink.seen(), old
				for _, e := range atSink {
					if !isOld[e.id] {
						all = append(all, e)
					}
				}
				return len(all) >= len(old)+after
			})
			gone := int(p.metric("callpop_sink_lost_total", `type="callpop.v1"`))
			r := delivered(t, c.fault, all, atSink, gone)
			r.recovery = recovery
			missing := r.in - r.out
			if c.all && missing > 0 {
				t.Errorf("%d events are missing although every block is whole", missing)
			}
			ready, err := p.ready()
			if err != nil || ready.Spool == nil {
				t.Fatalf("/readyz: %+v, %v", ready, err)
			}
			shown := 0
			for _, l := range ready.Spool.Lost {
				shown += int(l.Events)
			}
			if gone != missing || shown != missing {
				t.Errorf("%d events are missing, the sink counts %d as gone, and /readyz shows %d", missing, gone, shown)
			}
			text := p.text()
			if said := strings.Contains(text, "were lost to damage"); said != (missing > 0) {
				t.Errorf("%d events are missing, and that the log says so is %t", missing, said)
			}
			if strings.Contains(text, "its limits are too small") {
				t.Error("the log takes the damage for limits")
			}
			rows.add(t, r)
			p.expectExit(p.stop(), 0)
		})
	}
}

// damageFile damages the one file of the log of pops whose name ends so.
func damageFile(t *testing.T, dir, end string, damage func([]byte) []byte) {
	t.Helper()
	damaged := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(d.Name(), end) || !strings.Contains(path, "/CALLPOP/") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil || len(data) == 0 {
			return err
		}
		damaged++
		changed := damage(bytes.Clone(data))
		if bytes.Equal(changed, data) {
			t.Errorf("%s is not damaged", path)
		}
		if changed == nil {
			return os.Remove(path)
		}
		return os.WriteFile(path, changed, 0o600)
	})
	if err != nil || damaged != 1 {
		t.Fatalf("%d files damaged, %v", damaged, err)
	}
}
