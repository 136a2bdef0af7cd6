package control

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/callpop/connector/schema"
)

func verify(t *testing.T, c Client, typ schema.Type) Verdict {
	t.Helper()
	v, err := Verify(patient(t), c, typ, func(done, total uint64) {
		if done > total {
			t.Errorf("progress %d of %d", done, total)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestAWholeSpoolIsGoodAlsoAfterItsLimits(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	emitPops(t, s, 300)
	if _, err := s.Purge(patient(t), schema.TypeCallPop, 100); err != nil {
		t.Fatal(err)
	}
	bothWays(t, hostOf(s, nil), dir, func(t *testing.T, c Client) {
		v := verify(t, c, schema.TypeCallPop)
		if !v.Good() || v.Events != 200 || v.First != 101 || v.Last != 300 || v.Expired != 100 || v.Bytes == 0 || len(v.Findings) != 0 {
			t.Errorf("pops %+v", v)
		}
		if v := verify(t, c, schema.TypeDeadLetter); !v.Good() || v.Events != 0 || v.Expired != 0 {
			t.Errorf("dead letters %+v", v)
		}
	})
}

// damageBlock changes the file that holds the pops.
func damageBlock(t *testing.T, dir string, damage func([]byte)) {
	t.Helper()
	damaged := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "1.blk" || !strings.Contains(path, "/CALLPOP/") {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		damage(data)
		damaged++
		return os.WriteFile(path, data, 0o600)
	})
	if err != nil || damaged != 1 {
		t.Fatalf("%d files damaged, %v", damaged, err)
	}
}

func TestDamageIsFoundAndNamed(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	emitPops(t, s, 100)
	strange := pop(100)
	strange.Body = []byte("no JSON")
	emit(t, s, strange)
	if err := s.SetCursor(patient(t), "lake", schema.TypeCallPop, 10); err != nil {
		t.Fatal(err)
	}
	closeSpool(t, s)
	damageBlock(t, dir, func(d []byte) {
		at := 0
		for range 51 {
			at += bytes.Index(d[at+1:], []byte("callpop.v1.hq.")) + 1
		}
		d[at-122] ^= 4 // in the body of the one before
	})
	s = openSpool(t, dir)
	bothWays(t, hostOf(s, nil), dir, func(t *testing.T, c Client) {
		v := verify(t, c, schema.TypeCallPop)
		if v.Good() || v.Events != 100 || v.Missing != 1 || v.Invalid != 1 || v.Repeated != 0 || v.Unreadable != 0 {
			t.Errorf("got %+v", v)
		}
		if len(v.Findings) != 2 || v.Findings[0].From != 50 || v.Findings[0].To != 50 || v.Findings[1] != (Finding{101, 101, "invalid: the body is not JSON"}) {
			t.Fatalf("findings %v", v.Findings)
		}
		for _, want := range []string{"lost to damage, found 20", "sink lake had not had 1 of them"} {
			if !strings.Contains(v.Findings[0].What, want) {
				t.Errorf("%q is not in %q", want, v.Findings[0].What)
			}
		}
		o, err := CallOne(patient(t), c, Stat, StatRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if s := o.Streams[0]; s.Missing != 1 || len(s.Gaps) != 1 || s.Gaps[0].Lost != 1 || s.Gaps[0].Undelivered["lake"] != 1 {
			t.Errorf("stream %+v", s)
		}
		if got := o.Cursors[0]; got.Sink != "lake" || got.Backlog != 90 {
			t.Errorf("cursor %+v", got)
		}
	})
}

func TestALostEndIsNamedAlsoWhereNothingCameAfterIt(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	emitPops(t, s, 20)
	closeSpool(t, s)
	path := filepath.Join(dir, "jetstream", "SPOOL", "streams", "CALLPOP", "msgs", "1.blk")
	info, err := os.Stat(path)
	if err == nil {
		err = os.Truncate(path, info.Size()-10)
	}
	if err != nil {
		t.Fatal(err)
	}
	s = openSpool(t, dir)
	if v := verify(t, &Local{Host: hostOf(s, nil), Dir: dir}, schema.TypeCallPop); v.Events != 19 || v.Missing != 1 || len(v.Findings) != 1 || v.Findings[0].From != 20 || v.Findings[0].To != 20 {
		t.Errorf("got %+v", v)
	}
	closeSpool(t, s)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s = openSpool(t, dir)
	if v := verify(t, &Local{Host: hostOf(s, nil), Dir: dir}, schema.TypeCallPop); v.Events != 0 || v.Missing != 20 || v.Expired != 0 {
		t.Errorf("got %+v", v)
	}
}

// cannedStream is a spool whose pops are these entries.
func cannedStream(first, last uint64, entries ...Entry) canned {
	c := canned{"stat": {Overview{Streams: []Stream{{Type: schema.TypeCallPop, First: first, Last: last, Events: uint64(len(entries))}}}}}
	for _, e := range entries {
		c["read"] = append(c["read"], e)
	}
	return c
}

func TestEachKindOfTroubleIsToldApart(t *testing.T) {
	entry := func(sequence uint64) Entry {
		return Entry{Type: schema.TypeCallPop, Sequence: sequence, Event: pop(int(sequence))}
	}
	with := func(e Entry, change func(*Entry)) Entry {
		change(&e)
		return e
	}
	first := entry(3)
	for _, c := range []struct {
		name string
		c    canned
		want Verdict
	}{
		{"repeated ids", cannedStream(3, 6, first, entry(4), with(first, func(e *Entry) { e.Sequence = 5 }), with(first, func(e *Entry) { e.Sequence = 6 })),
			Verdict{First: 3, Last: 6, Expired: 2, Events: 4, Repeated: 2, Findings: []Finding{
				{5, 6, fmt.Sprintf("repeated: id %s is that of 3 too", first.Event.ID)},
			}}},
		{"records that cannot be read, as one finding", cannedStream(1, 4, entry(1),
			Entry{Sequence: 2, Damage: "torn"}, Entry{Sequence: 3, Damage: "torn"}, entry(4)),
			Verdict{First: 1, Last: 4, Events: 2, Unreadable: 2, Findings: []Finding{{2, 3, "damaged: torn"}}}},
		{"missing at the start, in between and at the end", cannedStream(1, 10, entry(3), entry(7)),
			Verdict{First: 1, Last: 10, Events: 2, Missing: 8, Findings: []Finding{{1, 2, foundMissing}, {4, 6, foundMissing}, {8, 10, foundMissing}}}},
		{"an event of another type", cannedStream(1, 1, with(entry(1), func(e *Entry) { e.Event = letter(1, nil) })),
			Verdict{First: 1, Last: 1, Events: 1, Invalid: 1, Findings: []Finding{{1, 1, `invalid: an event of type "callpop.dlq.v1"`}}}},
		{"what came meanwhile is not looked at", cannedStream(1, 1, entry(1), entry(2), entry(9)),
			Verdict{First: 1, Last: 1, Events: 1, Findings: []Finding{}}},
	} {
		v := verify(t, c.c, schema.TypeCallPop)
		c.want.Type, c.want.Bytes = schema.TypeCallPop, v.Bytes
		if fmt.Sprint(v) != fmt.Sprint(c.want) {
			t.Errorf("%s: %+v, want %+v", c.name, v, c.want)
		}
		if bad := len(c.want.Findings) > 0; v.Good() == bad {
			t.Errorf("%s: good is %t", c.name, v.Good())
		}
	}
}

func TestWhatTheLimitsTakeMeanwhileIsNotMissing(t *testing.T) {
	c := cannedStream(1, 10, Entry{Type: schema.TypeCallPop, Sequence: 8, Event: pop(8)}, Entry{Type: schema.TypeCallPop, Sequence: 10, Event: pop(10)})
	// The second look finds that the log begins at 6 now.
	asked := 0
	later := &changing{canned: c, ask: func(name string) {
		if name == "stat" {
			if asked++; asked == 2 {
				c["stat"] = cannedStream(6, 10)["stat"]
			}
		}
	}}
	v := verify(t, later, schema.TypeCallPop)
	if v.Missing != 3 || !slices.Equal(v.Findings, []Finding{{6, 7, foundMissing}, {9, 9, foundMissing}}) {
		t.Errorf("got %+v", v)
	}
}

func TestFindingsAreBounded(t *testing.T) {
	var entries []Entry
	for n := uint64(1); n <= 500; n++ {
		e := Entry{Type: schema.TypeCallPop, Sequence: n, Event: pop(int(n))}
		e.Event.Body = e.Event.Body[:n%7]
		entries = append(entries, e)
		if n%2 == 0 {
			entries[n-1] = Entry{Type: schema.TypeCallPop, Sequence: n, Damage: fmt.Sprint(n)}
		}
	}
	v := verify(t, cannedStream(1, 500, entries...), schema.TypeCallPop)
	if v.Invalid != 250 || v.Unreadable != 250 || len(v.Findings) != maxFindings {
		t.Errorf("%d invalid, %d unreadable, %d findings", v.Invalid, v.Unreadable, len(v.Findings))
	}
}
