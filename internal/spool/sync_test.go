package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
)

// recordingDisk stands between the syncers and the disk, and remembers what was synced.
type recordingDisk struct {
	mu     sync.Mutex
	synced []string
	// sizes are the files' sizes when they were last synced: what a loss of power
	// leaves of them.
	sizes map[string]int64
	// hold, where not nil, is waited for before a sync; fail is its answer.
	hold chan struct{}
	fail error
}

func (d *recordingDisk) sync(f *os.File) error {
	d.mu.Lock()
	hold, fail := d.hold, d.fail
	d.mu.Unlock()
	if hold != nil {
		<-hold
	}
	if fail != nil {
		return fail
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sizes == nil {
		d.sizes = map[string]int64{}
	}
	d.sizes[f.Name()] = info.Size()
	d.synced = append(d.synced, filepath.Base(f.Name()))
	return nil
}

func openAlways(t *testing.T, d *recordingDisk) *Spool {
	t.Helper()
	o := testOptions(t.TempDir())
	o.Config.Sync = SyncAlways
	s := openSpool(t, o)
	for _, y := range s.current().syncers {
		y.syncFile = d.sync
	}
	return s
}

func TestAlwaysReturnsNoEmitBeforeTheDiskHasIt(t *testing.T) {
	d := &recordingDisk{hold: make(chan struct{})}
	s := openAlways(t, d)
	done := make(chan error, 1)
	go func() { done <- s.Emit(context.Background(), newEvent(1)) }()
	// Written and readable it is, but not returned.
	r, err := s.Read(t.Context(), schema.TypeCallPop, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	for {
		state, err := s.State(t.Context(), schema.TypeCallPop)
		if err != nil {
			t.Fatal(err)
		}
		if state.Last == 1 {
			break
		}
	}
	select {
	case err := <-done:
		t.Fatalf("the emit returned %v before the sync", err)
	default:
	}
	close(d.hold)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestWhatWasNotSyncedMayBeLostAndNothingElse cuts every block off where it was
// last synced, as a loss of power may, and opens what is left.
func TestWhatWasNotSyncedMayBeLostAndNothingElse(t *testing.T) {
	d := &recordingDisk{}
	s := openAlways(t, d)
	dir := s.config.Dir
	var mu sync.Mutex
	var acknowledged []string
	var all sync.WaitGroup
	for caller := range 8 {
		all.Go(func() {
			for i := range 100 {
				e := newEvent(1000*caller + i)
				e.Body = append(slices.Clone(e.Body), strings.Repeat(" ", 40_000)...)
				if err := s.Emit(context.Background(), e); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				acknowledged = append(acknowledged, e.ID)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	d.mu.Lock()
	sizes := d.sizes
	d.mu.Unlock()
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	blocks, err := filepath.Glob(filepath.Join(dir, "jetstream", spoolAccount, "streams", "CALLPOP", "msgs", "*"))
	if err != nil {
		t.Fatal(err)
	}
	cut := 0
	for _, block := range blocks {
		if !strings.HasSuffix(block, blockSuffix) {
			// What the server keeps beside the blocks it can make again.
			if err := os.Remove(block); err != nil {
				t.Fatal(err)
			}
			continue
		}
		size, ok := sizes[block]
		if !ok {
			t.Errorf("%s was never synced", filepath.Base(block))
		}
		if err := os.Truncate(block, size); err != nil {
			t.Fatal(err)
		}
		cut++
	}
	if cut < 3 {
		t.Fatalf("only %d blocks: the test shows nothing of a change of blocks", cut)
	}
	o := testOptions(t.TempDir())
	o.Config.Dir = dir
	again := openSpool(t, o)
	r, err := again.Read(t.Context(), schema.TypeCallPop, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	left := map[string]bool{}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for len(left) < len(acknowledged) {
		records, err := r.Next(ctx, 256)
		if err != nil {
			t.Fatalf("%d of %d acknowledged events are left: %v", len(left), len(acknowledged), err)
		}
		for _, record := range records {
			left[record.ID] = true
		}
	}
	for _, id := range acknowledged {
		if !left[id] {
			t.Errorf("event %s was acknowledged and is gone", id)
		}
	}
}

func TestADiskThatDoesNotSyncFailsTheEmitAndIsReported(t *testing.T) {
	d := &recordingDisk{fail: errors.New("input/output error")}
	s := openAlways(t, d)
	err := s.Emit(t.Context(), newEvent(1))
	if err == nil || !errors.Is(err, errSync) || !strings.Contains(err.Error(), "input/output error") {
		t.Errorf("got %v", err)
	}
	// The engine is restarted, with syncers that reach the disk.
	for i := 2; ; i++ {
		if err := s.Emit(t.Context(), newEvent(i)); err == nil {
			break
		} else if !errors.Is(err, errSync) && !errors.Is(err, ErrRestarted) {
			t.Log(fmt.Sprint(err))
		}
		if t.Context().Err() != nil {
			t.Fatal("no emit succeeds")
		}
	}
}
