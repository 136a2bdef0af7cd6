//go:build linux

package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
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
		missing := "a file system of its own cannot be mounted here"
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s: %v", missing, err)
		}
		t.Skipf("%s: %v", missing, err)
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
	s := openSpool(t, testOptions(filepath.Join(dir, "spool")), quick, func(s *Spool) { s.ackTimeout = 300 * time.Millisecond })
	ctx := testContext(t)
	var acked []string
	refused := 0
	for first := s.current(); s.current() == first; {
		e := newEvent(len(acked))
		// Where there is not even room for the spool to try, the new server does not
		// serve either: an emit would wait.
		limited, cancel := context.WithTimeout(ctx, time.Second)
		err := s.Emit(limited, e)
		cancel()
		if err == nil {
			acked = append(acked, e.ID)
			continue
		}
		if refused++; ctx.Err() != nil {
			t.Fatal("the server was not restarted")
		}
	}
	if refused == 0 {
		t.Error("the server was restarted, and no emit had failed")
	}
	// The server runs again, but as soon as there is not even room for the spool to
	// try, it says so and stays with it.
	for s.Status().Phase != LowSpace {
		e := newEvent(len(acked))
		limited, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		if s.Emit(limited, e) == nil {
			acked = append(acked, e.ID)
		}
		cancel()
		if ctx.Err() != nil {
			t.Fatalf("the full disk does not show: %+v", s.Status())
		}
	}
	if status := s.Status(); !strings.Contains(status.Detail, "no space left") {
		t.Errorf("status = %+v", status)
	}
	// What was acknowledged is read while the disk is still full.
	r := read(t, s, schema.TypeCallPop, 0)
	got := make(map[string]int)
	for len(got) < len(acked) {
		records, err := r.Next(ctx, 100)
		if err != nil && !errors.Is(err, ErrRestarted) {
			t.Fatalf("after %d of %d events: %v", len(got), len(acked), err)
		}
		for _, record := range records {
			got[record.ID]++
		}
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	last := newEvent(len(acked))
	eventually(t, "an emit to succeed", func() bool { return s.Emit(ctx, last) == nil })
	for got[last.ID] == 0 {
		records, err := r.Next(ctx, 100)
		if err != nil && !errors.Is(err, ErrRestarted) {
			t.Fatal(err)
		}
		for _, record := range records {
			got[record.ID]++
		}
	}
	for _, id := range append(acked, last.ID) {
		if got[id] != 1 {
			t.Fatalf("%d copies of event %s, which was acknowledged", got[id], id)
		}
	}
}
