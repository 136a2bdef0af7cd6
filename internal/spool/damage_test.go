package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	runtimemetrics "runtime/metrics"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callpop/connector/internal/bytesize"
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

func TestAFlippedBitCostsAtMostItsOwnEvent(t *testing.T) {
	w := makeWhole(t, schema.TypeCallPop, wholeEvents, 100, testOptions)
	offsets := w.records(t)
	var cases []damage
	add := func(at, bit int) {
		for _, killed := range []bool{false, true} {
			if killed && !everyDamage() && at%3 != 0 {
				continue
			}
			cases = append(cases, damage{name: fmt.Sprintf("byte %d bit %d killed %t", at-offsets[20], bit, killed),
				do: editBlock("CALLPOP", 0, flip(at, bit)), most: 1, killed: killed})
		}
	}
	for i := range recordHeader {
		for bit := range 8 {
			if everyDamage() || bit == i%8 {
				add(offsets[20]+i, bit)
			}
		}
	}
	step := 61
	if everyDamage() {
		step = 7
	}
	for at := offsets[20] + recordHeader; at < offsets[21]; at += step {
		add(at, at%8)
	}
	for _, record := range []int{0, wholeEvents - 1} {
		add(offsets[record]+9, 2)   // in the upper half of the sequence
		add(offsets[record+1]-1, 2) // in the checksum
	}
	w.checkAll(t, cases)
}

func TestATornEndCostsTheTornEventsOnly(t *testing.T) {
	w := makeWhole(t, schema.TypeCallPop, wholeEvents, 100, testOptions)
	offsets := w.records(t)
	begin, end := offsets[wholeEvents-1], offsets[wholeEvents]
	step := 97
	if everyDamage() {
		step = 1
	}
	var cases []damage
	for size := begin; size < end; size += step {
		for _, killed := range []bool{false, true} {
			cases = append(cases, damage{name: fmt.Sprintf("%d bytes of the last killed %t", size-begin, killed),
				do: editBlock("CALLPOP", 0, func(d []byte) []byte { return d[:size] }), most: 1, least: 1, killed: killed})
		}
	}
	cases = append(cases,
		damage{name: "three records and a bit", do: editBlock("CALLPOP", 0, func(d []byte) []byte { return d[:offsets[wholeEvents-3]-5] }), most: 4, least: 4},
		damage{name: "ledger behind", do: editBlock("CALLPOP", 0, func(d []byte) []byte { return d[:offsets[wholeEvents-3]-5] }), most: 4, least: 4, stale: 10},
		damage{name: "garbage behind the end", do: editBlock("CALLPOP", 0, func(d []byte) []byte { return append(d, strings.Repeat("garbage", 100)...) }), killed: true},
		damage{name: "zeroes behind the end", do: editBlock("CALLPOP", 0, func(d []byte) []byte { return append(d, make([]byte, 100_000)...) }), killed: true},
		damage{name: "an empty file", do: editBlock("CALLPOP", 0, func([]byte) []byte { return []byte{} }), most: wholeEvents, least: wholeEvents},
	)
	w.checkAll(t, cases)
}

func TestAHoleOfZeroesCostsWhatWasInIt(t *testing.T) {
	w := makeWhole(t, schema.TypeCallPop, wholeEvents, 100, testOptions)
	offsets := w.records(t)
	var cases []damage
	for _, c := range []struct {
		name        string
		first, last int // records
	}{{"at the beginning", 0, 4}, {"in the middle", 10, 24}, {"at the end", 35, 39}, {"everywhere", 0, 39}} {
		for _, killed := range []bool{false, true} {
			n := c.last - c.first + 1
			cases = append(cases, damage{name: fmt.Sprintf("%s killed %t", c.name, killed), most: n, least: n, killed: killed,
				do: editBlock("CALLPOP", 0, func(d []byte) []byte {
					clear(d[offsets[c.first]+10 : offsets[c.last+1]-10])
					return d
				})})
		}
	}
	w.checkAll(t, cases)
}

func TestDamageOfWhatIsBesideTheRecordsCostsNothing(t *testing.T) {
	w := makeWhole(t, schema.TypeCallPop, wholeEvents, 100, testOptions)
	stream := filepath.Join("jetstream", spoolAccount, "streams", "CALLPOP")
	bucket := filepath.Join("jetstream", spoolAccount, "streams", "KV_"+cursorBucket)
	half := func(d []byte) []byte { return d[:len(d)/2] }
	zero := func(d []byte) []byte { return make([]byte, len(d)) }
	gone := func([]byte) []byte { return nil }
	var cases []damage
	for name, edit := range map[string]func([]byte) []byte{"gone": gone, "zeroes": zero, "cut": half, "empty": func([]byte) []byte { return []byte{} }} {
		for _, file := range []string{"meta.inf", "meta.sum", "msgs/index.db"} {
			for _, dir := range []string{stream, bucket} {
				cases = append(cases, damage{name: fmt.Sprintf("%s/%s %s", filepath.Base(dir), file, name), do: editFile(filepath.Join(dir, file), edit)})
			}
		}
		cases = append(cases, damage{name: "ledger " + name, do: editFile(ledgerFile, edit)})
		// Of the cursors there are two copies.
		cases = append(cases, damage{name: "cursors " + name, do: editBlock("KV_"+cursorBucket, 0, edit)})
	}
	cases = append(cases, damage{name: "a stale index", do: func(t *testing.T, dir string) {
		old, err := os.ReadFile(filepath.Join(w.dir+"-half", stream, "msgs", "index.db"))
		if err != nil {
			t.Fatal(err)
		}
		editFile(filepath.Join(stream, "msgs", "index.db"), func([]byte) []byte { return old })(t, dir)
	}})
	for at := 0; at < 60; at += 3 {
		cases = append(cases, damage{name: fmt.Sprintf("cursors, byte %d flipped", at), do: editBlock("KV_"+cursorBucket, 0, flip(at, at%8))})
	}
	w.checkAll(t, cases)
}

func TestAMissingStreamIsMissedAndItsSequencesAreNotGivenAgain(t *testing.T) {
	w := makeWhole(t, schema.TypeCallPop, wholeEvents, 100, testOptions)
	remove := func(stream string) func(*testing.T, string) {
		return func(t *testing.T, dir string) {
			if err := os.RemoveAll(streamDir(dir, stream)); err != nil {
				t.Fatal(err)
			}
		}
	}
	w.checkAll(t, []damage{
		{name: "the pops", do: remove("CALLPOP"), most: wholeEvents, least: wholeEvents},
		{name: "the cursors", do: remove("KV_" + cursorBucket)},
		{name: "all of it", do: func(t *testing.T, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "jetstream")); err != nil {
				t.Fatal(err)
			}
		}, most: wholeEvents, least: wholeEvents},
	})
}

func TestDamagedDeadLettersAreCountedToo(t *testing.T) {
	w := makeWhole(t, schema.TypeDeadLetter, wholeEvents, 100, testOptions)
	offsets := w.records(t)
	w.checkAll(t, []damage{
		{name: "a bit", do: editBlock("CALLPOP_DLQ", 0, flip(offsets[20]+200, 3)), most: 1, least: 1},
		{name: "a sequence", do: editBlock("CALLPOP_DLQ", 0, flip(offsets[20]+9, 3)), most: 1, least: 1},
		{name: "an end", do: editBlock("CALLPOP_DLQ", 0, func(d []byte) []byte { return d[:len(d)-1] }), most: 1, least: 1},
	})
}

func TestMissingBlocksAreMissed(t *testing.T) {
	options := func(dir string) Options {
		o := testOptions(dir)
		o.Config.MaxBytes = 24 * bytesize.MiB // blocks of 4 MiB
		return o
	}
	w := makeWhole(t, schema.TypeCallPop, 60, 200<<10, options)
	in, err := inspect(w.dir, "CALLPOP", nil)
	if err != nil || len(in.blocks) < 3 {
		t.Fatalf("%d blocks, %v", len(in.blocks), err)
	}
	var cases []damage
	for i, b := range in.blocks {
		n := int(b.runs[0].to - b.runs[0].from + 1)
		for _, killed := range []bool{false, true} {
			cases = append(cases,
				damage{name: fmt.Sprintf("block %d gone killed %t", i, killed), do: editBlock("CALLPOP", i, func([]byte) []byte { return nil }), most: n, least: n, killed: killed},
				damage{name: fmt.Sprintf("block %d cut killed %t", i, killed), do: editBlock("CALLPOP", i, func(d []byte) []byte { return d[:len(d)-10] }), most: 1, least: 1, killed: killed})
		}
	}
	cases = append(cases, damage{name: "a block in the place of another", most: len(w.ids), least: 1, do: func(t *testing.T, dir string) {
		first, err := os.ReadFile(filepath.Join(streamDir(dir, "CALLPOP"), "msgs", "1.blk"))
		if err != nil {
			t.Fatal(err)
		}
		editBlock("CALLPOP", 1, func([]byte) []byte { return first })(t, dir)
	}})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { w.check(t, c) })
	}
}

// Random damage, several at once: whatever it is, the report is what is missing.
func TestRandomDamageIsReportedAsItIs(t *testing.T) {
	w := makeWhole(t, schema.TypeCallPop, wholeEvents, 100, testOptions)
	size := w.records(t)[wholeEvents]
	rounds := 15
	if everyDamage() {
		rounds = 1000
	}
	for range rounds {
		seed := rand.Uint64() //nolint:gosec // no secret
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			chance := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // no secret
			w.check(t, damage{most: wholeEvents, killed: chance.IntN(2) == 0, do: editBlock("CALLPOP", 0, func(d []byte) []byte {
				for range 1 + chance.IntN(4) {
					at := chance.IntN(size - 1)
					length := min(1+chance.IntN(500), len(d)-at)
					if length <= 0 {
						continue
					}
					switch chance.IntN(6) {
					case 0:
						clear(d[at : at+length])
					case 1:
						for i := range d[at : at+length] {
							d[at+i] = byte(chance.Uint32())
						}
					case 2:
						d = slices.Delete(d, at, at+length)
					case 3:
						d = slices.Insert(d, at, slices.Clone(d[at:at+length])...)
					case 4:
						d = d[:at]
					default:
						d[at] ^= 1 << chance.IntN(8)
					}
				}
				return d
			})})
		})
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
	if r.Lost() != 1 || r.Damaged() != 1 {
		t.Errorf("lost = %d, damaged = %d, want 1 and 1", r.Lost(), r.Damaged())
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

// A sink that waits at the end of a stream that damage took counts it when the next
// event comes.
func TestAWaitingReaderCountsALostEnd(t *testing.T) {
	w := makeWhole(t, schema.TypeCallPop, wholeEvents, 100, testOptions)
	editBlock("CALLPOP", 0, func(d []byte) []byte { return d[:len(d)-1] })(t, w.dir)
	s := openSpool(t, testOptions(w.dir), quick)
	r := read(t, s, schema.TypeCallPop, 0)
	take(t, r, wholeEvents-1)
	got := make(chan []Record, 1)
	go func() {
		records, err := r.Next(testContext(t), 10)
		if err != nil {
			t.Error(err)
		}
		got <- records
	}()
	waits(t, s)
	want := emitN(t, s, 1)
	if records := <-got; len(records) != 1 || records[0].ID != want[0] {
		t.Errorf("got %+v, want %s", records, want)
	}
	if r.Lost() != 1 || r.Damaged() != 1 {
		t.Errorf("lost = %d, damaged = %d, want 1 and 1", r.Lost(), r.Damaged())
	}
}

// What was damaged is told from what a purge, or the limits, took around it.
func TestAReaderTellsDamageFromWhatWasTakenOnPurpose(t *testing.T) {
	w := makeWhole(t, schema.TypeCallPop, wholeEvents, 100, testOptions)
	offsets := w.records(t)
	editBlock("CALLPOP", 0, func(d []byte) []byte { // the 11th to the 15th, and the 31st
		clear(d[offsets[10]+10 : offsets[15]-10])
		d[offsets[31]-20] ^= 1
		return d
	})(t, w.dir)
	s := openSpool(t, testOptions(w.dir), quick)
	if _, err := s.Purge(testContext(t), schema.TypeCallPop, 20); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ after, lost, damaged uint64 }{
		{0, 21, 6}, {9, 12, 6}, {12, 9, 4}, {15, 6, 1}, {20, 1, 1}, {31, 0, 0},
	} {
		r := read(t, s, schema.TypeCallPop, c.after)
		takeUntil(t, r, w.ids[wholeEvents-1])
		if r.Lost() != c.lost || r.Damaged() != c.damaged {
			t.Errorf("after %d: lost %d, damaged %d; want %d and %d", c.after, r.Lost(), r.Damaged(), c.lost, c.damaged)
		}
	}
}
