package control

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
)

func TestAFilterMeansWhatFitsAllOfIt(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	events := emitPops(t, s, 30)
	refused := func(d *schema.DeadLetter) { d.Reason, d.Sink = schema.ReasonRefused, "lake" }
	letters := []schema.Event{letter(0, nil), letter(1, refused), letter(2, nil)}
	emit(t, s, letters...)
	at := func(n int) time.Time { return epoch.Add(time.Duration(n) * time.Second) }
	dlq := []schema.Type{schema.TypeDeadLetter}
	span := func(from, to uint64) (out []uint64) {
		for n := from; n <= to; n++ {
			out = append(out, n)
		}
		return out
	}
	bothWays(t, hostOf(s, nil), dir, func(t *testing.T, c Client) {
		for name, f := range map[string]struct {
			request ReadRequest
			want    []uint64
		}{
			"one type":         {ReadRequest{Filter: Filter{Types: pops}}, span(1, 30)},
			"every type":       {ReadRequest{}, append(span(1, 30), span(1, 3)...)},
			"a limit":          {ReadRequest{Limit: 2}, span(1, 2)},
			"since, included":  {ReadRequest{Filter: Filter{Types: pops, Since: at(20)}}, span(21, 30)},
			"until, not":       {ReadRequest{Filter: Filter{Types: pops, Until: at(3)}}, span(1, 3)},
			"since and until":  {ReadRequest{Filter: Filter{Since: at(1), Until: at(3)}}, []uint64{2, 3, 2, 3}},
			"an agent":         {ReadRequest{Filter: Filter{Types: pops, Agent: "802"}, Limit: 3}, []uint64{2, 5, 8}},
			"a key":            {ReadRequest{Filter: Filter{Types: pops, Key: "hq/7"}}, []uint64{8, 18, 28}},
			"agent and key":    {ReadRequest{Filter: Filter{Types: pops, Key: "hq/7", Agent: "803"}}, []uint64{18}},
			"another server":   {ReadRequest{Filter: Filter{Server: "hq2"}}, nil},
			"ids":              {ReadRequest{Filter: Filter{IDs: []string{events[3].ID, letters[1].ID}}}, []uint64{4, 2}},
			"a reason":         {ReadRequest{Filter: Filter{Reason: schema.ReasonUndecodable}}, []uint64{1, 3}},
			"a sink":           {ReadRequest{Filter: Filter{Types: dlq, Sink: "lake"}}, []uint64{2}},
			"after":            {ReadRequest{Filter: Filter{Types: pops, After: 28}}, span(29, 30)},
			"after, through":   {ReadRequest{Filter: Filter{Types: pops, After: 5, Through: 7}}, span(6, 7)},
			"after everything": {ReadRequest{Filter: Filter{Types: pops, After: 1000}}, nil},
			"since for ever":   {ReadRequest{Filter: Filter{Types: pops, Since: time.Now().Add(time.Hour)}}, nil},
		} {
			if got := sequences(must(t, c, Read, f.request)); !slices.Equal(got, f.want) {
				t.Errorf("%s: %v, want %v", name, got, f.want)
			}
		}
	})
}

func TestAnEntryIsTheEventByteByByte(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	want := pop(1)
	want.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	want.Body = []byte("no JSON <&>\xff\x00")
	emit(t, s, want)
	bothWays(t, hostOf(s, nil), dir, func(t *testing.T, c Client) {
		got := must(t, c, Read, ReadRequest{})[0]
		if !bytes.Equal(got.Event.Body, want.Body) || !got.Event.Time.Equal(want.Time) {
			t.Errorf("got %+v", got)
		}
		got.Event.Body, got.Event.Time = nil, time.Time{}
		left := want
		left.Body, left.Time = nil, time.Time{}
		if got.Event.ID != left.ID || got.Event.Key != left.Key || got.Event.Agent != left.Agent || got.Event.Server != left.Server ||
			got.Event.Type != left.Type || got.Event.TraceParent != left.TraceParent {
			t.Errorf("got %+v, want %+v", got.Event, left)
		}
		if got.SpoolSequence != s.ID()+"-00000000000000000001" || got.StoredAt.IsZero() {
			t.Errorf("got %+v", got)
		}
	})
}

func TestWhoeverReadsMayStop(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	emitPops(t, s, 500)
	bothWays(t, hostOf(s, nil), dir, func(t *testing.T, c Client) {
		seen := 0
		err := Call(patient(t), c, Read, ReadRequest{}, func(Entry) error {
			if seen++; seen == 5 {
				return errTest
			}
			return nil
		})
		if !errors.Is(err, errTest) || seen != 5 {
			t.Errorf("%v after %d", err, seen)
		}
		ctx, cancel := context.WithCancel(patient(t))
		err = Call(ctx, c, Read, ReadRequest{}, func(Entry) error {
			cancel()
			return nil
		})
		if err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled: %v", err)
		}
	})
}

func TestACountAddsUpAndSaysWhereItEnds(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	events := emitPops(t, s, 50)
	bothWays(t, hostOf(s, nil), dir, func(t *testing.T, c Client) {
		got, err := CallOne(patient(t), c, Count, Filter{Types: pops, Key: "hq/4"})
		if err != nil {
			t.Fatal(err)
		}
		want := Total{Events: 5, First: 5, Last: 45, Oldest: events[4].Time, Newest: events[44].Time, Scanned: 50, ToScan: 50}
		for i := 4; i < 50; i += 10 {
			want.Bytes += uint64(len(events[i].Body))
		}
		if got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		none, err := CallOne(patient(t), c, Count, Filter{Types: pops, Key: "hq/none"})
		if err != nil || none != (Total{Scanned: 50, ToScan: 50}) {
			t.Errorf("nothing fits: %+v, %v", none, err)
		}
	})
}

func TestAWrongRequestIsSaidToBeOne(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	emitPops(t, s, 3)
	bothWays(t, hostOf(s, nil), dir, func(t *testing.T, c Client) {
		for name, call := range map[string]func() error{
			"an unknown type": func() error {
				_, err := all(t, c, Read, ReadRequest{Filter: Filter{Types: []schema.Type{"callpop.v9"}}})
				return err
			},
			"since after until": func() error {
				_, err := all(t, c, Read, ReadRequest{Filter: Filter{Since: epoch, Until: epoch}})
				return err
			},
			"a sequence without a type": func() error {
				_, err := all(t, c, Read, ReadRequest{Filter: Filter{After: 1}})
				return err
			},
			"sequences that cross": func() error {
				_, err := all(t, c, Read, ReadRequest{Filter: Filter{Types: pops, After: 2, Through: 2}})
				return err
			},
			"too many ids": func() error {
				_, err := all(t, c, Read, ReadRequest{Filter: Filter{IDs: make([]string, maxIDs+1)}})
				return err
			},
			"a count of several types": func() error {
				_, err := all(t, c, Count, Filter{})
				return err
			},
			"a purge of nothing": func() error {
				_, err := all(t, c, Purge, PurgeRequest{Type: schema.TypeCallPop})
				return err
			},
			"a purge of two things": func() error {
				_, err := all(t, c, Purge, PurgeRequest{Type: schema.TypeCallPop, All: true, Until: epoch})
				return err
			},
			"a purge of no type": func() error {
				_, err := all(t, c, Purge, PurgeRequest{All: true})
				return err
			},
			"a replay of several types": func() error {
				_, err := all(t, c, Replay, ReplayRequest{Sink: "events"})
				return err
			},
			"a sink that is not configured": func() error {
				_, err := all(t, c, Replay, ReplayRequest{Filter: Filter{Types: pops}, Sink: "events"})
				return err
			},
		} {
			if err := call(); !IsWrong(err) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestTheOverviewHasStreamsAndCursors(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	emitPops(t, s, 20)
	ctx := patient(t)
	for sinkName, sequence := range map[string]uint64{"events": 15, "gone": 2} {
		if err := s.SetCursor(ctx, sinkName, schema.TypeCallPop, sequence); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.Purge(ctx, schema.TypeCallPop, 5); err != nil {
		t.Fatal(err)
	}
	h := hostOf(s, nil)
	h.Sinks = func() []string { return []string{"events"} }
	bothWays(t, h, dir, func(t *testing.T, c Client) {
		o := must(t, c, Stat, StatRequest{})[0]
		if o.SpoolID != s.ID() || o.State != "serving" || len(o.Streams) != 3 || len(o.Cursors) != 2 {
			t.Fatalf("got %+v", o)
		}
		p := o.Streams[0]
		if p.Name != "CALLPOP" || p.First != 6 || p.Last != 20 || p.Events != 15 || p.Bytes == 0 || p.Oldest.IsZero() || p.Newest.Before(p.Oldest) {
			t.Errorf("pops: %+v", p)
		}
		if e := o.Streams[2]; e.First != 1 || e.Last != 0 || e.Events != 0 {
			t.Errorf("dead letters: %+v", e)
		}
		for i, want := range []Cursor{{Sink: "events", Sequence: 15, Backlog: 5}, {Sink: "gone", Sequence: 2, Backlog: 15, Orphan: true}} {
			got := o.Cursors[i]
			if got.Sink != want.Sink || got.Sequence != want.Sequence || got.Backlog != want.Backlog || got.Orphan != want.Orphan || got.Moved.IsZero() {
				t.Errorf("cursor %+v, want %+v", got, want)
			}
		}
	})
	h.Sinks = nil
	o := must(t, &Local{Host: h}, Stat, StatRequest{})[0]
	if o.Cursors[1].Orphan {
		t.Error("without a configuration no sink is known to be gone")
	}
}

func TestAPurgeRemovesWhatItsPreviewSaidAndNothingUndelivered(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	ctx := patient(t)
	h := hostOf(s, nil)
	h.Sinks = func() []string { return []string{"events", "lake"} }
	bothWays(t, h, dir, func(t *testing.T, c Client) {
		if _, err := s.Purge(ctx, schema.TypeCallPop, 1<<60); err != nil {
			t.Fatal(err)
		}
		before, err := s.State(ctx, schema.TypeCallPop)
		if err != nil {
			t.Fatal(err)
		}
		base := before.Last
		emitPops(t, s, 30)
		for name, sequence := range map[string]uint64{"events": base + 30, "lake": base + 12, "gone": base + 1} {
			if err := s.SetCursor(ctx, name, schema.TypeCallPop, sequence); err != nil {
				t.Fatal(err)
			}
		}
		until := PurgeRequest{Type: schema.TypeCallPop, Until: epoch.Add(20 * time.Second), Preview: true}
		preview := must(t, c, Purge, until)[0]
		if preview.Events != 20 || preview.Through != base+20 || preview.Removed ||
			!slices.Equal(preview.Undelivered, []Undelivered{{"gone", 19, true}, {"lake", 8, false}}) {
			t.Errorf("preview %+v", preview)
		}
		emit(t, s, pop(30)) // comes after the preview
		through := PurgeRequest{Type: schema.TypeCallPop, Through: preview.Through}
		if _, err := all(t, c, Purge, through); !IsWrong(err) || !bytes.Contains([]byte(err.Error()), []byte("sink lake lacks 8 of 20")) {
			t.Errorf("undelivered: %v", err)
		}
		through.Undelivered = true
		if got := must(t, c, Purge, through)[0]; got.Events != 20 || !got.Removed {
			t.Errorf("purge %+v", got)
		}
		if left := must(t, c, Read, ReadRequest{Filter: Filter{Types: pops}}); len(left) != 11 || left[0].Sequence != base+21 {
			t.Errorf("%d are left, want 11", len(left))
		}
		if again := must(t, c, Purge, through)[0]; again.Events != 0 || again.Removed {
			t.Errorf("purged again: %+v", again)
		}
		if rest := must(t, c, Purge, PurgeRequest{Type: schema.TypeCallPop, All: true, Undelivered: true})[0]; rest.Events != 11 || !rest.Removed {
			t.Errorf("all: %+v", rest)
		}
		if none := must(t, c, Purge, PurgeRequest{Type: schema.TypeCallPop, All: true, Preview: true})[0]; none.Events != 0 {
			t.Errorf("nothing: %+v", none)
		}
	})
}
