//go:build linux

package spool

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/callpop/connector/schema"
)

// smallDisk mounts a file system of a few MiB, where that is permitted.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a file system of its own cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

func TestAFullDiskLosesNothingAndIsLeftBehindOnceThereIsRoom(t *testing.T) {
	dir := smallDisk(t, "24m")
	// Something else takes most of the disk.
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 20<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	o := testOptions(filepath.Join(dir, "spool"))
	if testing.Verbose() { var l logLines; o.Logger = l.logger(); defer func() { t.Log(l.String()) }() }
	s := openSpool(t, o, quick, func(s *Spool) { s.ackTimeout = 500 * time.Millisecond })
	before := s.current()
	var acked []string
	ctx := testContext(t)
	n := 0
	for ; s.current() == before; n++ {
		e := newEvent(n)
		err := s.Emit(ctx, e)
		if err != nil {
			t.Logf("event %d: %v", n, err)
		} else {
			acked = append(acked, e.ID)
		}
		if ctx.Err() != nil {
			t.Fatal("the server was not restarted")
		}
	}
	t.Log(len(acked), s.Status())
	last := newEvent(n)
	short, cancel := context.WithTimeout(ctx, time.Second)
	t.Log(s.Emit(short, last))
	cancel()
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	eventually(t, "an emit to succeed", func() bool { err := s.Emit(ctx, last); if err != nil { t.Log(err) }; return err == nil })
	t.Log(time.Since(began))
	got := make(map[string]int)
	state, err := s.State(ctx, schema.TypeCallPop)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range take(t, read(t, s, schema.TypeCallPop, 0), int(state.Messages)) {
		got[r.ID]++
	}
	for _, id := range append(acked, last.ID) {
		if got[id] != 1 {
			t.Fatalf("%d copies of event %s, which was acknowledged", got[id], id)
		}
	}
}
