package spool

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/callpop/connector/schema"
)

// A damaged store opens, what is whole in it is read in order, what is not is
// counted, and new events are stored and read.
func TestADamagedStoreIsOpenedAndReadAsFarAsItGoes(t *testing.T) {
	const n = 100
	// record returns where the n-th record begins: 22 bytes before its subject.
	record := func(block []byte, n int) int {
		at := 0
		for range n {
			at += bytes.Index(block[at+1:], []byte("callpop.v1.hq.")) + 1
		}
		return at - 22
	}
	for what, c := range map[string]struct {
		file   string
		damage func(data []byte) []byte
		want   int // events of the old ones that are still read
	}{
		"an index of zeroes":        {"index.db", func(d []byte) []byte { return make([]byte, len(d)) }, n},
		"an empty index":            {"index.db", func([]byte) []byte { return nil }, n},
		"a configuration of zeroes": {"meta.inf", func(d []byte) []byte { return make([]byte, len(d)) }, n},
		"a last record cut short":   {"1.blk", func(d []byte) []byte { return d[:len(d)-100] }, n - 1},
		"a body's bit flipped":      {"1.blk", func(d []byte) []byte { d[record(d, 51)-100] ^= 4; return d }, n - 1},
		"a length's bit flipped":    {"1.blk", func(d []byte) []byte { d[record(d, 51)+3] ^= 1; return d }, n / 2},
		"an end of zeroes":          {"1.blk", func(d []byte) []byte { clear(d[record(d, 76):]); return d }, 75},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			s := openSpool(t, testOptions(dir))
			ids := emitN(t, s, n)
			closeSpool(t, s)
			damageFile(t, filepath.Join(dir, "jetstream"), c.file, c.damage)
			s = openSpool(t, testOptions(dir), quick)
			last := newEvent(n)
			emit(t, s, last)
			r := read(t, s, schema.TypeCallPop, 0)
			records := takeUntil(t, r, last.ID)
			if got := len(records) - 1; got != c.want {
				t.Errorf("%d of %d events were read, want %d", got, n, c.want)
			}
			next := 0
			for _, id := range idsOf(records[:len(records)-1]) {
				i := slices.Index(ids[next:], id)
				if i < 0 {
					t.Fatalf("event %s is not one of those stored, in their order", id)
				}
				next += i + 1
			}
			if got, want := int(r.Lost())+len(records), int(records[len(records)-1].Sequence); got != want {
				t.Errorf("lost and read are %d together, want %d", got, want)
			}
		})
	}
}

func damageFile(t *testing.T, root, name string, damage func([]byte) []byte) {
	t.Helper()
	damaged := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != name || !strings.Contains(path, "/CALLPOP/") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		damaged++
		return os.WriteFile(path, damage(data), 0o600)
	})
	if err != nil || damaged != 1 {
		t.Fatalf("%d files damaged, %v", damaged, err)
	}
}

// After damage the server was seen to store an event that it could not read until
// it was restarted.
func TestARecordThatTheServerStoredAndCannotReadRestartsIt(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()), quick)
	want := emitN(t, s, 3)
	r := read(t, s, schema.TypeCallPop, 0)
	take(t, r, 3)
	before := s.current()
	s.tails[0].wake(4) // as if a fourth had been stored
	if _, err := r.Next(testContext(t), 1); !errors.Is(err, ErrRestarted) {
		t.Errorf("error = %v", err)
	}
	eventually(t, "a new server", func() bool { e := s.current(); return e != nil && e != before })
	want = append(want, emitN(t, s, 1)...)
	if got := idsOf(take(t, r, 1)); !slices.Equal(got, want[3:]) {
		t.Errorf("got %q, want %q", got, want[3:])
	}
	// As far as the spool knows, there was an event.
	if r.Lost() != 1 {
		t.Errorf("lost = %d, want 1", r.Lost())
	}
}

// takeUntil reads up to the event with the given id.
func takeUntil(t *testing.T, r *Reader, id string) []Record {
	t.Helper()
	var all []Record
	for len(all) == 0 || all[len(all)-1].ID != id {
		records, err := r.Next(testContext(t), 10)
		if err != nil && !errors.Is(err, ErrRestarted) {
			t.Fatalf("after %d records: %v", len(all), err)
		}
		all = append(all, records...)
	}
	return all
}
