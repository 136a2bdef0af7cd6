package control

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
)

// maxFindings bounds each list of a [Verdict]; beyond it, things are only counted.
const maxFindings = 100

// Verdict is what [Verify] found in one stream.
type Verdict struct {
	Type schema.Type `json:"type"`
	// First and Last are the sequences looked at, Events the events that could be
	// read, and Bytes those of their bodies.
	First  uint64 `json:"first"`
	Last   uint64 `json:"last"`
	Events uint64 `json:"events"`
	Bytes  uint64 `json:"bytes"`
	// Expired counts the sequences before First, which the limits or a purge have
	// taken: no trouble.
	Expired uint64 `json:"expired"`
	// Missing counts the events that damage took: those between First and Last that
	// are gone, and those that the log knows of. Unreadable are there and cannot be
	// read.
	Missing    uint64 `json:"missing"`
	Unreadable uint64 `json:"unreadable"`
	// Lost is what the embedded server itself found damaged.
	Lost uint64 `json:"lost"`
	// Invalid counts events whose body is not one of their type, Repeated those
	// whose id an earlier one has.
	Invalid  uint64 `json:"invalid"`
	Repeated uint64 `json:"repeated"`
	// Findings names them, as far as they are not too many.
	Findings []Finding `json:"findings"`
}

// Good reports whether there is no trouble.
func (v *Verdict) Good() bool {
	return v.Missing == 0 && v.Unreadable == 0 && v.Lost == 0 && v.Invalid == 0 && v.Repeated == 0
}

// Finding is one trouble: with the event of a sequence, or with all from one to
// another.
type Finding struct {
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
	What string `json:"what"`
}

func (v *Verdict) find(from, to uint64, what string) {
	if n := len(v.Findings); n > 0 && v.Findings[n-1].What == what && v.Findings[n-1].To+1 == from {
		v.Findings[n-1].To = to
	} else if n < maxFindings {
		v.Findings = append(v.Findings, Finding{from, to, what})
	}
}

// The words of findings that may span several sequences.
const (
	foundMissing    = "missing: the limits take only the oldest, so this is damage"
	foundUnreadable = "damaged: "
)

// Verify reads a stream whole, from the client's side, and says what is wrong with
// it. progress is told, for each event, how many of how many sequences were looked
// at. It keeps eight bytes in memory for each event.
func Verify(ctx context.Context, c Client, t schema.Type, progress func(done, total uint64)) (Verdict, error) {
	before, err := streamStat(ctx, c, t)
	if err != nil {
		return Verdict{}, err
	}
	v := verifying{
		Verdict: Verdict{
			Type: t, First: before.First, Last: before.Last, Expired: before.First - 1, Lost: before.Lost, Findings: []Finding{},
		},
		gaps: before.Gaps, next: before.First, seed: maphash.MakeSeed(), hashes: make([]uint64, 0, min(before.Events, 1<<20)),
	}
	v.lostBefore()
	request := ReadRequest{Damaged: true, Filter: Filter{Types: []schema.Type{t}}}
	err = Call(ctx, c, Read, request, func(e Entry) error {
		if e.Sequence <= before.Last { // the rest came meanwhile
			v.entry(&e)
			progress(e.Sequence-before.First+1, before.Last-before.First+1)
		}
		return nil
	})
	if err != nil {
		return Verdict{}, err
	}
	after, err := streamStat(ctx, c, t)
	if err != nil {
		return Verdict{}, err
	}
	v.missing(before.Last+1, after.First)
	if v.repeatedHashes() {
		if err := v.nameRepeated(ctx, c, request); err != nil {
			return Verdict{}, err
		}
	}
	slices.SortFunc(v.Findings, func(a, b Finding) int { return cmp.Compare(a.From, b.From) })
	return v.Verdict, nil
}

func streamStat(ctx context.Context, c Client, t schema.Type) (Stream, error) {
	o, err := CallOne(ctx, c, Stat, StatRequest{})
	if err != nil {
		return Stream{}, err
	}
	for _, s := range o.Streams {
		if s.Type == t {
			return s, nil
		}
	}
	return Stream{}, fmt.Errorf("the spool has no stream of type %s", t)
}

// verifying is a verdict in the making.
type verifying struct {
	Verdict
	gaps  []spool.Gap // of which the log knows
	next  uint64      // the sequence that should come next
	holes []Finding   // of sequences before next
	// hashes has one hash of the id of each event: an exact check of a few million
	// ids would take ten times the memory.
	hashes []uint64
	seed   maphash.Seed
}

func (v *verifying) entry(e *Entry) {
	if e.Sequence > v.next {
		v.holes = append(v.holes, Finding{v.next, e.Sequence - 1, foundMissing})
	}
	v.next = e.Sequence + 1
	if e.Damage != "" {
		v.Unreadable++
		v.find(e.Sequence, e.Sequence, foundUnreadable+e.Damage)
		return
	}
	v.Events++
	v.Bytes += uint64(len(e.Event.Body))
	v.hashes = append(v.hashes, maphash.String(v.seed, e.Event.ID))
	err := checkBody(&e.Event)
	if err == nil && e.Event.Type != v.Type {
		err = fmt.Errorf("an event of type %q", e.Event.Type)
	}
	if err != nil {
		v.Invalid++
		v.find(e.Sequence, e.Sequence, "invalid: "+err.Error())
	}
}

// missing judges the holes. end is the sequence after the last that was to be
// read, first the oldest that the log still has: what went meanwhile, the limits
// took.
func (v *verifying) missing(end, first uint64) {
	if v.next < end {
		v.holes = append(v.holes, Finding{v.next, end - 1, foundMissing})
	}
	for _, hole := range v.holes {
		if hole.To < first {
			continue
		}
		hole.From = max(hole.From, first)
		v.hole(hole)
	}
}

// lostBefore names what damage took before the oldest event.
func (v *verifying) lostBefore() {
	for i := range v.gaps {
		g := v.gaps[i]
		if g.To >= v.First || g.Loose {
			continue
		}
		v.Expired -= min(v.Expired, g.To-g.From+1)
		if g.Lost > 0 {
			v.Missing += g.Lost
			v.find(g.From, g.From+g.Lost-1, lostText(&g))
		}
	}
}

// hole judges one of them: what the log knows of it, and what it does not.
func (v *verifying) hole(hole Finding) {
	for _, g := range v.gaps {
		if g.Loose || g.To < hole.From || g.From > hole.To {
			continue
		}
		if g.From > hole.From {
			v.Missing += g.From - hole.From
			v.find(hole.From, g.From-1, foundMissing)
		}
		if from, to := max(hole.From, g.From), min(hole.To, g.From+g.Lost-1); g.Lost > 0 && from <= to {
			v.Missing += to - from + 1
			v.find(from, to, lostText(&g))
		}
		if hole.From = g.To + 1; hole.From > hole.To {
			return
		}
	}
	v.Missing += hole.To - hole.From + 1
	v.find(hole.From, hole.To, hole.What)
}

// lostText says what the log knows of a gap.
func lostText(g *spool.Gap) string {
	text := "lost to damage, found " + g.Found.Format(time.RFC3339)
	if !g.After.IsZero() {
		text += "; stored after " + g.After.Format(time.RFC3339)
	}
	if !g.Before.IsZero() {
		text += "; stored before " + g.Before.Format(time.RFC3339)
	}
	if len(g.Undelivered) == 0 {
		return text + "; no sink was waiting for them"
	}
	for _, sink := range slices.Sorted(maps.Keys(g.Undelivered)) {
		text += fmt.Sprintf("; sink %s had not had %d of them", sink, g.Undelivered[sink])
	}
	return text
}

// repeatedHashes reports whether any id may be there twice.
func (v *verifying) repeatedHashes() bool {
	slices.Sort(v.hashes)
	repeated := v.hashes[:0]
	for i := 1; i < len(v.hashes); i++ {
		if h := v.hashes[i]; h == v.hashes[i-1] && (len(repeated) == 0 || repeated[len(repeated)-1] != h) {
			repeated = append(repeated, h)
		}
	}
	v.hashes = repeated
	return len(repeated) > 0
}

// nameRepeated reads the stream again and finds the ids that are there twice
// indeed.
func (v *verifying) nameRepeated(ctx context.Context, c Client, request ReadRequest) error {
	first := map[string]uint64{}
	request.Damaged = false
	return Call(ctx, c, Read, request, func(e Entry) error {
		if e.Sequence > v.Last {
			return nil
		}
		if _, ok := slices.BinarySearch(v.hashes, maphash.String(v.seed, e.Event.ID)); !ok {
			return nil
		}
		if at, ok := first[e.Event.ID]; ok {
			v.Repeated++
			v.find(e.Sequence, e.Sequence, fmt.Sprintf("repeated: id %s is that of %d too", e.Event.ID, at))
			return nil
		}
		first[e.Event.ID] = e.Sequence
		return nil
	})
}
