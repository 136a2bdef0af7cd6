package control

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

// refusalOf makes the dead letter of an event as a forwarder does.
func refusalOf(e *schema.Event, sequence string, change func(*schema.DeadLetter)) schema.Event {
	headers := maps.Collect(e.Attributes())
	headers["content-type"], headers["spoolsequence"] = "application/json", sequence
	return letter(100, func(d *schema.DeadLetter) {
		d.Reason, d.Sink, d.Headers, d.Detail = schema.ReasonRefused, "lake", headers, "too large"
		d.Raw, d.RawBase64 = string(e.Body), base64.StdEncoding.EncodeToString(e.Body)
		if change != nil {
			change(d)
		}
	})
}

func TestARefusedEventIsSentAgainFromTheSpoolOrFromItsLetter(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	events := []schema.Event{pop(0), pop(1), pop(2)}
	emit(t, s, events[0], events[1])
	letters := []schema.Event{
		// In the spool still; the letter has only a part.
		refusalOf(&events[0], s.ID()+"-00000000000000000001", func(d *schema.DeadLetter) {
			d.RawBase64, d.Raw = d.RawBase64[:40], ""
		}),
		// Its place is another's now.
		refusalOf(&events[2], s.ID()+"-00000000000000000002", nil),
		// Of a spool that was.
		refusalOf(&events[1], "0123456789abcdef0123-00000000000000000001", nil),
	}
	emit(t, s, letters...)
	sinks := map[string]sink.Sink{}
	bothWays(t, hostOf(s, sinks), dir, func(t *testing.T, c Client) {
		memory := &sinktest.Memory{}
		sinks["lake"] = memory
		done := must(t, c, Retry, RetryRequest{})
		if len(done) != 3 {
			t.Fatalf("%d answers: %+v", len(done), done)
		}
		for i, r := range done {
			if r.Outcome != Sent || !r.Outcome.Good() || r.ID != letters[i].ID || r.Sink != "lake" || r.Reason != schema.ReasonRefused || r.Sequence != uint64(i+1) {
				t.Errorf("letter %d: %+v", i, r)
			}
		}
		stored := memory.Stored(schema.TypeCallPop)
		if len(stored) != 3 {
			t.Fatalf("%d events were sent", len(stored))
		}
		for i, want := range []schema.Event{events[0], events[2], events[1]} {
			got := stored[i]
			if got.ID != want.ID || got.Key != want.Key || got.Agent != want.Agent || !got.Time.Equal(want.Time) ||
				!bytes.Equal(got.Body, want.Body) || got.Replay == "" || got.SpoolSequence == "" {
				t.Errorf("sent %+v, want %+v", got, want)
			}
		}
	})
}

func TestWhatCannotBeRetriedSaysWhy(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	event := pop(1)
	gone := "0123456789abcdef0123-00000000000000000001"
	letters := []schema.Event{
		letter(0, func(d *schema.DeadLetter) { d.Reason = schema.ReasonLostFraming }),
		refusalOf(&event, gone, func(d *schema.DeadLetter) { d.RawBase64, d.Raw = d.RawBase64[:40], "" }),
		refusalOf(&event, gone, func(d *schema.DeadLetter) { d.RawBase64 = "not base64" }),
		refusalOf(&event, gone, func(d *schema.DeadLetter) { d.Headers = nil }),
		refusalOf(&event, gone, func(d *schema.DeadLetter) { d.Sink = "removed" }),
		letter(5, nil),
	}
	emit(t, s, letters...)
	body := letter(6, nil)
	body.Body = []byte("no JSON")
	emit(t, s, body)
	bothWays(t, hostOf(s, map[string]sink.Sink{"lake": &sinktest.Memory{}}), dir, func(t *testing.T, c Client) {
		done := must(t, c, Retry, RetryRequest{Filter: Filter{IDs: append(ids(letters), body.ID, "no-such-id")}})
		for i, want := range []struct {
			outcome Outcome
			detail  string
		}{
			{Impossible, "no pop"}, {Impossible, "keeps a part"}, {Impossible, "raw_base64"}, {Impossible, "does not give it whole"},
			{Failed, "not in the configuration"}, {Failed, "--config"}, {Impossible, "read dead letter"}, {Missing, "no such dead letter"},
		} {
			if got := done[i]; got.Outcome != want.outcome || got.Outcome.Good() || !strings.Contains(got.Detail, want.detail) {
				t.Errorf("%d: %+v, want %s, %q", i, got, want.outcome, want.detail)
			}
		}
	})
}

func TestAnUndecodablePopIsEmittedOnceItCanBeDecoded(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	letters := []schema.Event{letter(0, nil), letter(1, func(d *schema.DeadLetter) { d.Agent = "802" }), letter(2, nil)}
	emit(t, s, letters...)
	h := hostOf(s, nil)
	var decoded atomic.Int64
	h.Decode = func(d *schema.DeadLetter) (schema.Event, error) {
		decoded.Add(1)
		if d.Agent == "802" {
			return schema.Event{}, errors.New("no number and no call")
		}
		p := schema.CallPop{ID: d.ID, Version: 1, Server: d.Server, Key: "hq/1", ReceivedAt: d.ReceivedAt}
		return p.Event(), nil
	}
	bothWays(t, h, dir, func(t *testing.T, c Client) {
		decoded.Store(0)
		done := must(t, c, Retry, RetryRequest{Filter: Filter{Reason: schema.ReasonUndecodable, Until: epoch.Add(2e9)}})
		if len(done) != 2 || done[0].Outcome != Emitted || done[0].Event != letters[0].ID ||
			done[1].Outcome != Failed || done[1].Detail != "no number and no call" {
			t.Errorf("got %+v", done)
		}
		if decoded.Load() != 2 {
			t.Errorf("%d were decoded", decoded.Load())
		}
		// The second time around, the log knows the id.
		events := must(t, c, Read, ReadRequest{Filter: Filter{Types: pops}})
		if len(events) != 1 || events[0].Event.ID != letters[0].ID || !events[0].Event.Time.Equal(letters[0].Time) {
			t.Errorf("events %+v", events)
		}
	})
}

func TestASinkThatIsAwayIsTriedOnce(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, dir)
	var events []schema.Event
	for i := range 5 {
		e := pop(i)
		events = append(events, e)
		emit(t, s, refusalOf(&e, "", nil))
	}
	sinks := map[string]sink.Sink{}
	bothWays(t, hostOf(s, sinks), dir, func(t *testing.T, c Client) {
		away := &sinktest.Memory{Outcome: func(sink.Record) sinktest.Outcome { return sinktest.Outcome{Err: errTest} }}
		sinks["lake"] = away
		done := must(t, c, Retry, RetryRequest{})
		if away.Calls() != 1 || len(done) != 5 {
			t.Errorf("%d calls, %d answers", away.Calls(), len(done))
		}
		for i, r := range done {
			if r.Outcome != Failed || !strings.Contains(r.Detail, errTest.Error()) || strings.Contains(r.Detail, "not tried") != (i > 0) {
				t.Errorf("%d: %+v", i, r)
			}
		}
		picky := &sinktest.Memory{Outcome: func(r sink.Record) sinktest.Outcome {
			if r.ID == events[1].ID {
				return sinktest.Outcome{Err: sink.Permanent(errTest)}
			}
			return sinktest.Outcome{Stored: true}
		}}
		sinks["lake"] = picky
		var outcomes []Outcome
		for _, r := range must(t, c, Retry, RetryRequest{}) {
			outcomes = append(outcomes, r.Outcome)
		}
		if !slices.Equal(outcomes, []Outcome{Sent, Failed, Sent, Sent, Sent}) {
			t.Errorf("outcomes %v", outcomes)
		}
	})
}

func TestABodyIsJudgedByItsType(t *testing.T) {
	good := []schema.Event{pop(1), letter(1, nil), (&schema.SessionChanged{ID: "x", Version: 1, Server: "hq", State: schema.Connected, At: epoch}).Event()}
	for _, e := range good {
		if err := checkBody(&e); err != nil {
			t.Errorf("%s: %v", e.Type, err)
		}
	}
	for name, change := range map[string]func(*schema.Event){
		"not JSON":        func(e *schema.Event) { e.Body = e.Body[:len(e.Body)-1] },
		"empty":           func(e *schema.Event) { e.Body = nil },
		"an array":        func(e *schema.Event) { e.Body = []byte("[]") },
		"a wrong field":   func(e *schema.Event) { e.Body = bytes.Replace(e.Body, []byte(`"key":"`), []byte(`"key":1,"x":"`), 1) },
		"another id":      func(e *schema.Event) { e.ID = "other" },
		"another server":  func(e *schema.Event) { e.Server = "hq2" },
		"another version": func(e *schema.Event) { e.Body = bytes.Replace(e.Body, []byte(`"version":1`), []byte(`"version":2`), 1) },
		"another type":    func(e *schema.Event) { e.Type = "callpop.v2" },
	} {
		e := pop(1)
		change(&e)
		err := checkBody(&e)
		if err == nil {
			t.Errorf("%s was taken", name)
		} else if strings.Contains(err.Error(), "13812345678") {
			t.Errorf("%s: the number is in %q", name, err)
		}
	}
	var d schema.DeadLetter
	if err := json.Unmarshal(good[1].Body, &d); err != nil {
		t.Fatal(err)
	}
	if raw, err := LetterBytes(&d); err != nil || string(raw) != "x" {
		t.Errorf("%q, %v", raw, err)
	}
	d.RawBase64 = ""
	if raw, err := LetterBytes(&d); err != nil || string(raw) != d.Raw {
		t.Errorf("without base64: %q, %v", raw, err)
	}
}
