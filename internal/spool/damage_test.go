package spool

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/callpop/connector/schema"
)

// A damaged store opens, and what is whole in it is read in order.
func TestADamagedStoreIsOpenedAndReadAsFarAsItGoes(t *testing.T) {
	for what, c := range map[string]struct {
		file   string
		damage func(data []byte) []byte
		all    bool // nothing may be missing
	}{
		"an index of zeroes":        {"index.db", func(d []byte) []byte { return make([]byte, len(d)) }, true},
		"an empty index":            {"index.db", func([]byte) []byte { return nil }, true},
		"a configuration of zeroes": {"meta.inf", func(d []byte) []byte { return make([]byte, len(d)) }, false},
		"a record cut short":        {"1.blk", func(d []byte) []byte { return d[:len(d)-100] }, false},
		"a flipped bit":             {"1.blk", func(d []byte) []byte { d[len(d)/2] ^= 4; return d }, false},
		"an end of zeroes":          {"1.blk", func(d []byte) []byte { clear(d[len(d)*3/4:]); return d }, false},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			s := openSpool(t, testOptions(dir))
			ids := emitN(t, s, 100)
			closeSpool(t, s)
			damaged := 0
			err := filepath.WalkDir(filepath.Join(dir, "jetstream"), func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.Name() != c.file || !strings.Contains(path, "/CALLPOP/") {
					return err
				}
				data, err := os.ReadFile(path)
				if err != nil {
					return err
				}
				damaged++
				return os.WriteFile(path, c.damage(data), 0o600)
			})
			if err != nil || damaged != 1 {
				t.Fatalf("%d files damaged, %v", damaged, err)
			}
			s = openSpool(t, testOptions(dir))
			last := newEvent(100)
			emit(t, s, last)
			state, err := s.State(testContext(t), schema.TypeCallPop)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%+v", state)
			r := read(t, s, schema.TypeCallPop, 0)
			records := take(t, r, int(state.Messages))
			got := idsOf(records)
			if got[len(got)-1] != last.ID {
				t.Error("the event after the damage is not the last")
			}
			if c.all && !slices.Equal(got, append(ids, last.ID)) {
				t.Errorf("%d events, want all %d", len(got), len(ids)+1)
			}
			next := 0
			for _, id := range got[:len(got)-1] {
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
