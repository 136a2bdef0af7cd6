package spool

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
)

// TestManyWhoWaitShareASync has 64 callers wait while a sync is under way: one more
// serves them all.
func TestManyWhoWaitShareASync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "1.blk"), []byte("event"), 0o600); err != nil {
			t.Fatal(err)
		}
		y, err := newSyncer(dir)
		if err != nil {
			t.Fatal(err)
		}
		var synced []string // by one round at a time
		hold := make(chan struct{})
		y.syncFile = func(f *os.File) error {
			<-hold
			synced = append(synced, filepath.Base(f.Name()))
			return nil
		}
		var all sync.WaitGroup
		wait := func() {
			if err := y.wait(t.Context()); err != nil {
				t.Error(err)
			}
		}
		all.Go(wait)
		synctest.Wait()
		for range 63 {
			all.Go(wait)
		}
		synctest.Wait()
		close(hold)
		all.Wait()
		y.runs.Wait()
		if want := []string{"1.blk", filepath.Base(dir), "1.blk"}; !slices.Equal(synced, want) {
			t.Errorf("64 callers took the syncs %q, want %q", synced, want)
		}
	})
}

// TestABlockThatFillsWhileItIsSyncedIsSyncedAgain has the server write to a block,
// and begin the next one, after the sync of a round has begun: what was written
// then is on disk only after another sync of the block that is full by now.
func TestABlockThatFillsWhileItIsSyncedIsSyncedAgain(t *testing.T) {
	dir := t.TempDir()
	write := func(block string) {
		t.Helper()
		f, err := os.OpenFile(filepath.Join(dir, block), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("event"); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	write("1.blk")
	write("2.blk")
	y, err := newSyncer(dir)
	if err != nil {
		t.Fatal(err)
	}
	var synced []string
	var meanwhile func()
	y.syncFile = func(f *os.File) error {
		synced = append(synced, filepath.Base(f.Name()))
		if meanwhile != nil {
			meanwhile()
			meanwhile = nil
		}
		return nil
	}
	round := func(want ...string) {
		t.Helper()
		synced = nil
		if err := y.sync(); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(synced, want) {
			t.Errorf("got syncs of %q, want %q", synced, want)
		}
	}
	base := filepath.Base(dir)
	meanwhile = func() { write("2.blk"); write("3.blk") }
	round("2.blk", base)
	round("2.blk", "3.blk", base)
	round("3.blk")
	// The limits take away all but what comes next.
	for _, block := range []string{"1.blk", "2.blk", "3.blk"} {
		if err := os.Remove(filepath.Join(dir, block)); err != nil {
			t.Fatal(err)
		}
	}
	write("5.blk")
	round("5.blk", base)
}

// TestTheFirstRoundSyncsEveryBlockThatCameAfterTheStart has two blocks begin
// before anybody waits for the disk.
func TestTheFirstRoundSyncsEveryBlockThatCameAfterTheStart(t *testing.T) {
	dir := t.TempDir()
	y, err := newSyncer(dir)
	if err != nil {
		t.Fatal(err)
	}
	var synced []string
	y.syncFile = func(f *os.File) error {
		synced = append(synced, filepath.Base(f.Name()))
		return nil
	}
	if err := y.sync(); err == nil {
		t.Error("a round without a block said that all is on disk")
	}
	for _, block := range []string{"1.blk", "2.blk"} {
		if err := os.WriteFile(filepath.Join(dir, block), []byte("event"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := y.sync(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"1.blk", "2.blk", filepath.Base(dir)}; !slices.Equal(synced, want) {
		t.Errorf("got syncs of %q, want %q", synced, want)
	}
}
