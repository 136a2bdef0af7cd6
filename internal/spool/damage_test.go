package spool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/schema"
)

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
