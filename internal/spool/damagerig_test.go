package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	runtimemetrics "runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
)

// damageVariable set to "all" has every bit of a record's header flipped and a
// record torn at every length, where else it is a part of them.
const damageVariable = "CONNECTOR_DAMAGE"

func everyDamage() bool { return os.Getenv(damageVariable) == "all" }

// whole is a spool that was closed in order, with what it held, to be damaged.
type whole struct {
	dir     string
	typ     schema.Type
	ids     []string // by their sequence, less one
	cursors map[string]uint64
	options func(dir string) Options
}

const wholeEvents = 40

// makeWhole makes one whose events are of type t and have bodies of a size.
func makeWhole(t *testing.T, typ schema.Type, n, body int, options func(dir string) Options) *whole {
	t.Helper()
	w := &whole{dir: t.TempDir(), typ: typ, cursors: map[string]uint64{"crm": uint64(n), "lake": uint64(n / 3)}, options: options}
	s := openSpool(t, options(w.dir), quick)
	for i := range n {
		e := w.event(i, body)
		emit(t, s, e)
		w.ids = append(w.ids, e.ID)
		if i == n/2 && body < 1000 {
			closeSpool(t, s)
			copyDir(t, w.dir, w.dir+"-half")
			s = openSpool(t, options(w.dir), quick)
		}
	}
	for sink, sequence := range w.cursors {
		for _, at := range []uint64{1, sequence} { // the first one leaves a tombstone
			if err := s.SetCursor(testContext(t), sink, typ, at); err != nil {
				t.Fatal(err)
			}
		}
	}
	closeSpool(t, s)
	return w
}

func (w *whole) event(i, body int) schema.Event {
	e := newEvent(i)
	e.Type = w.typ
	e.Body = fmt.Appendf(nil, `{"n":%d,"raw":%q}`, i, strings.Repeat("x", body))
	return e
}

func copyDir(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// damage is one way to damage a spool, and what may be lost by it at most.
type damage struct {
	name string
	do   func(t *testing.T, dir string)
	// most is how many events may be lost, and least.
	most, least int
	// killed has the spool look as if its process had been killed.
	killed bool
	// stale has the ledger behind by so many events.
	stale uint64
}

// editBlock returns a damage of the n-th block of a stream.
func editBlock(stream string, n int, edit func(d []byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) {
		files, err := blockFiles(filepath.Join(streamDir(dir, stream), "msgs"))
		if err != nil || len(files) <= n {
			t.Fatalf("%d blocks, %v", len(files), err)
		}
		changeFile(t, files[n].path, edit)
	}
}

// changeFile changes a file; nil removes it.
func changeFile(t *testing.T, path string, edit func(d []byte) []byte) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if data = edit(data); data == nil {
		err = os.Remove(path)
	} else {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func editFile(path string, edit func(d []byte) []byte) func(*testing.T, string) {
	return func(t *testing.T, dir string) { changeFile(t, filepath.Join(dir, path), edit) }
}

// records are the offsets of a block's records, and its end.
func (w *whole) records(t *testing.T) []int {
	t.Helper()
	files, err := blockFiles(filepath.Join(streamDir(w.dir, StreamName(w.typ)), "msgs"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d blocks, %v", len(files), err)
	}
	data, err := os.ReadFile(files[0].path)
	if err != nil {
		t.Fatal(err)
	}
	offsets := []int{0}
	for at := 0; at < len(data); {
		rec, ok := recordAt(data, at)
		if !ok {
			t.Fatalf("no record at %d", at)
		}
		at += rec.size
		offsets = append(offsets, at)
	}
	return offsets
}

// check damages a copy of w and sees to all that a damaged spool has to be.
func (w *whole) check(t *testing.T, c damage) {
	dir := filepath.Join(t.TempDir(), "spool")
	copyDir(t, w.dir, dir)
	c.do(t, dir)
	if c.killed || c.stale > 0 {
		makeKilled(t, dir, w.typ, c.stale)
	}
	var log logLines
	o := w.options(dir)
	o.Logger = log.logger()
	n := uint64(len(w.ids))
	defer func() {
		if t.Failed() {
			t.Logf("log:\n%s", &log)
		}
	}()

	stopWatching := watchMemory(t)
	s := openSpool(t, o, quick)
	stopWatching()
	fresh := []schema.Event{w.event(1000, 20), w.event(1001, 20)}
	emit(t, s, fresh...)
	r := read(t, s, w.typ, 0)
	records := takeUntil(t, r, fresh[1].ID)
	missing := w.compare(t, records, fresh)
	if len(missing) > c.most || len(missing) < c.least {
		t.Errorf("lost %v, want %d to %d events", missing, c.least, c.most)
	}
	losses := s.Losses()
	if c.stale == 0 {
		w.compareLosses(t, losses, missing)
		if got, want := r.Lost(), uint64(len(missing)); got != want {
			t.Errorf("the reader counts %d events lost, want %d", got, want)
		}
		if got, want := r.Damaged(), uint64(len(missing)); got != want {
			t.Errorf("the reader counts %d events damaged, want %d", got, want)
		}
	}
	for sink, want := range w.cursors {
		if got, ok, err := s.Cursor(testContext(t), sink, w.typ); got != want || !ok || err != nil {
			t.Errorf("cursor of %s is %d, %t, %v; want %d", sink, got, ok, err, want)
		}
		left, err := s.Backlog(testContext(t), w.typ, want)
		if wantLeft := len(records) - len(fresh) - w.before(records, want) + len(fresh); int(left) != wantLeft || err != nil {
			t.Errorf("backlog of %s is %d, %v; want %d", sink, left, err, wantLeft)
		}
	}
	after := records[len(records)-1].Sequence
	if after <= n {
		t.Errorf("the sequence %d is given again", after)
	}
	closeSpool(t, s)

	// Once more, and nothing of it is news.
	var again logLines
	o.Logger = again.logger()
	s = openSpool(t, o, quick)
	if got := s.Losses(); !slices.EqualFunc(got, losses, func(a, b Loss) bool { return a.From == b.From && a.Lost == b.Lost && a.Found.Equal(b.Found) }) {
		t.Errorf("after another start the losses are %+v, want %+v", got, losses)
	}
	if again.String() != "" {
		t.Errorf("another start says:\n%s", &again)
	}
	last := w.event(2000, 20)
	emit(t, s, last)
	all := takeUntil(t, read(t, s, w.typ, 0), last.ID)
	if got, want := idsOf(all[:len(all)-1]), idsOf(records); !slices.Equal(got, want) {
		t.Errorf("after another start %d events are there, want %d", len(got), len(want))
	}
	if got, want := all[len(all)-1].Sequence, after+1; got != want {
		t.Errorf("the next sequence is %d, want %d", got, want)
	}
	closeSpool(t, s)
}

// watchMemory ends the process where opening a spool takes too long or too much
// memory, as the embedded server by itself would where a sequence is damaged.
func watchMemory(t *testing.T) (stop func()) {
	const most = 2 << 30
	// What Go holds for the process, less what it has given back.
	samples := []runtimemetrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	held := func() uint64 {
		runtimemetrics.Read(samples)
		return samples[0].Value.Uint64() - samples[1].Value.Uint64()
	}
	before := held() // of the tests until now
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		deadline := time.Now().Add(patience)
		ticker := time.NewTicker(10 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-done:
				return
			case <-ticker.C:
			}
			if now := held(); now > before+most || time.Now().After(deadline) {
				panic(fmt.Sprintf("%s: opening the spool takes %d bytes, and not less than %v", t.Name(), now-min(now, before), patience-time.Until(deadline)))
			}
		}
	})
	return func() { close(done); watching.Wait() }
}

func (w *whole) before(records []Record, cursor uint64) (n int) {
	for _, r := range records {
		if r.Sequence <= cursor {
			n++
		}
	}
	return n
}

// compare returns the sequences whose events are gone.
func (w *whole) compare(t *testing.T, records []Record, fresh []schema.Event) (missing []uint64) {
	t.Helper()
	n := len(records) - len(fresh)
	there := map[uint64]bool{}
	for _, r := range records[:n] {
		if r.Sequence > uint64(len(w.ids)) || w.ids[r.Sequence-1] != r.ID {
			t.Fatalf("event %s at %d was not there before", r.ID, r.Sequence)
		}
		there[r.Sequence] = true
	}
	for i, e := range fresh {
		if records[n+i].ID != e.ID {
			t.Errorf("event %s came in the place of new event %d", records[n+i].ID, i)
		}
	}
	for i := range w.ids {
		if !there[uint64(i+1)] {
			missing = append(missing, uint64(i+1))
		}
	}
	return missing
}

// compareLosses compares what the spool reports with what is missing.
func (w *whole) compareLosses(t *testing.T, losses []Loss, missing []uint64) {
	t.Helper()
	var reported []uint64
	undelivered := map[string]uint64{}
	for _, l := range losses {
		if l.Type != w.typ {
			t.Errorf("loss of another type: %+v", l)
		}
		for i := range l.Lost {
			reported = append(reported, l.From+i)
		}
		for sink, n := range l.Undelivered {
			undelivered[sink] += n
		}
	}
	slices.Sort(reported)
	if !slices.Equal(reported, missing) {
		t.Errorf("reported as lost are %v, missing are %v", reported, missing)
	}
	want := map[string]uint64{}
	for sink, cursor := range w.cursors {
		for _, sequence := range missing {
			if sequence > cursor {
				want[sink]++
			}
		}
	}
	if !maps.Equal(undelivered, want) {
		t.Errorf("undelivered are %v, want %v", undelivered, want)
	}
}

// makeKilled has a ledger say that its spool was not closed.
func makeKilled(t *testing.T, dir string, typ schema.Type, stale uint64) {
	t.Helper()
	l, err := readLedger(dir)
	if err != nil || l == nil {
		t.Fatal(l, err)
	}
	l.Clean = false
	st := l.Streams[StreamName(typ)]
	st.Last -= stale
	if err := writeLedger(dir, l); err != nil {
		t.Fatal(err)
	}
}

func (w *whole) checkAll(t *testing.T, cases []damage) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w.check(t, c)
		})
	}
}

func flip(at, bit int) func(d []byte) []byte {
	return func(d []byte) []byte { d[at] ^= 1 << bit; return d }
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
