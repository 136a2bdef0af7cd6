package spool

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/schema"
)

// disk is a file system with as much free space as the test says.
type disk struct {
	free  atomic.Uint64
	blind atomic.Bool
}

func (d *disk) statfs(string) (uint64, error) {
	if d.blind.Load() {
		return 0, errors.New("no such system call")
	}
	return d.free.Load(), nil
}

func openOn(t *testing.T, d *disk, log *logLines) *Spool {
	t.Helper()
	o := testOptions(t.TempDir())
	o.Config.MinFree = 256 * bytesize.MiB
	o.Logger = log.logger()
	s := openSpool(t, o, quick, func(s *Spool) { s.free = d.statfs })
	return s
}

func TestEmitWaitsWhileSpaceIsLowAndGoesOnByItself(t *testing.T) {
	var d disk
	var log logLines
	d.free.Store(uint64(bytesize.GiB))
	s := openOn(t, &d, &log)
	first := emitN(t, s, 1)
	d.free.Store(uint64(100 * bytesize.MiB))
	eventually(t, "low space to be noticed", func() bool { return s.Status().Phase == LowSpace })
	status := s.Status()
	if !strings.Contains(status.Detail, "100MiB") || !strings.Contains(status.Detail, "256MiB") || status.FreeBytes != uint64(100*bytesize.MiB) {
		t.Errorf("status = %+v", status)
	}
	ctx, cancel := context.WithCancel(context.Background())
	given := make(chan error)
	go func() { given <- s.Emit(ctx, newEvent(1)) }()
	e := newEvent(2)
	stored := make(chan error)
	go func() { stored <- s.Emit(testContext(t), e) }()
	cancel()
	if err := <-given; !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), string(LowSpace)) {
		t.Errorf("emit of a caller that gave up: %v", err)
	}
	// Readers read, and cursors move.
	if got := take(t, read(t, s, schema.TypeCallPop, 0), 1)[0].ID; got != first[0] {
		t.Errorf("got %s, want %s", got, first[0])
	}
	if err := s.SetCursor(testContext(t), "lake", schema.TypeCallPop, 1); err != nil {
		t.Error(err)
	}
	// A little more than min_free is not yet enough: no going back and forth.
	d.free.Store(uint64(257 * bytesize.MiB))
	eventually(t, "another look", func() bool { return s.Status().FreeBytes == uint64(257*bytesize.MiB) })
	if got := s.Status().Phase; got != LowSpace {
		t.Errorf("phase = %s just above min_free", got)
	}
	select {
	case err := <-stored:
		t.Fatalf("emit returned %v while space was low", err)
	default:
	}
	d.free.Store(uint64(bytesize.GiB))
	if err := <-stored; err != nil {
		t.Error(err)
	}
	if got := strings.Count(log.String(), "low_space"); got != 2 { // going low, and coming back
		t.Errorf("%d lines of log name low_space, want 2:\n%s", got, &log)
	}
}

func TestASpoolOpensWithLowSpaceAndIsRead(t *testing.T) {
	var d disk
	var log logLines
	s := openOn(t, &d, &log)
	if got := s.Status().Phase; got != LowSpace {
		t.Errorf("phase = %s", got)
	}
	if _, err := s.State(testContext(t), schema.TypeCallPop); err != nil {
		t.Error(err)
	}
}

func TestUnknownSpaceHoldsNobodyBack(t *testing.T) {
	var d disk
	var log logLines
	d.blind.Store(true)
	s := openOn(t, &d, &log)
	emitN(t, s, 1)
	if !strings.Contains(log.String(), "not known") {
		t.Errorf("log = %s", &log)
	}
}

func TestFreeSpaceOfThisDiskIsKnown(t *testing.T) {
	free, err := statfs(t.TempDir())
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	if free == 0 {
		t.Error("no free space")
	}
}
