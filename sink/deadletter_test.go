package sink_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

// refusing refuses the events of some ids for good.
func refusing(refused map[string]bool) *sinktest.Memory {
	return &sinktest.Memory{Outcome: func(r sink.Record) sinktest.Outcome {
		if refused[r.ID] {
			return sinktest.Outcome{Err: sink.Permanent(errors.New("too large\r\nfor the stream"))}
		}
		return sinktest.Outcome{Stored: true}
	}}
}

func TestARefusedEventBecomesADeadLetterAndTheLineMovesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := events(9, 3)
		bad := all[3]
		bad.TraceParent, bad.TraceState = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "a=b"
		all[3] = bad
		s := refusing(map[string]bool{bad.ID: true})
		r := start(t, sinktest.NewSpool(), s)
		emit(t, r.spool, all...)
		synctest.Wait()

		good := append(append([]schema.Event(nil), all[:3]...), all[4:]...)
		if n := sinktest.CheckDelivered(t, good, sinktest.Messages(s.Stored(pops))); n != 0 {
			t.Errorf("%d duplicates", n)
		}
		stored := s.Stored(letters)
		if len(stored) != 1 {
			t.Fatalf("%d dead letters, want 1", len(stored))
		}
		event := stored[0].Event
		var got schema.DeadLetter
		if err := json.Unmarshal(event.Body, &got); err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(got.ID) || got.ID != event.ID {
			t.Errorf("id %q of event %q is not one UUIDv7", got.ID, event.ID)
		}
		if event.Key != "hq/801" || event.Server != "hq" || event.Agent != "801" || event.TraceParent != bad.TraceParent {
			t.Errorf("event %+v", event)
		}
		raw, err := base64.StdEncoding.DecodeString(got.RawBase64)
		if err != nil || !bytes.Equal(raw, bad.Body) || got.Raw != string(bad.Body) {
			t.Errorf("bytes %q and %q, want %q", raw, got.Raw, bad.Body)
		}
		if got.Reason != schema.ReasonRefused || got.Detail != "too large  for the stream" || got.Sink != "events" || got.Version != 1 ||
			got.Server != "hq" || got.Agent != "801" || !got.ReceivedAt.Equal(bad.Time) || got.Source != (schema.Source{Type: "session", Name: "hq"}) {
			t.Errorf("dead letter %+v", got)
		}
		for name, want := range map[string]string{
			"id": bad.ID, "source": "/lq/hq", "type": "callpop.v1", "subject": "801", "partitionkey": bad.Key,
			"spoolsequence": "test-00000000000000000004", "content-type": "application/json", "traceparent": bad.TraceParent, "tracestate": "a=b",
		} {
			if got.Headers[name] != want {
				t.Errorf("header %s: %q, want %q", name, got.Headers[name], want)
			}
		}
		if status := line(r.Forwarder, pops); status.DeadLettered != 1 || status.State != sink.Idle || status.Cursor != 9 {
			t.Errorf("status %+v", status)
		}
		r.stop(t)
	})
}

func TestADeadLetterThatIsRefusedStaysInTheSpoolAndMakesNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sinktest.Memory{Outcome: func(sink.Record) sinktest.Outcome {
			return sinktest.Outcome{Err: sink.Permanent(errors.New("no"))}
		}}
		r := start(t, sinktest.NewSpool(), s)
		emit(t, r.spool, events(3, 3)...)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(r.spool.Records(letters)); n != 3 {
			t.Errorf("%d dead letters in the spool, want 3", n)
		}
		if got := line(r.Forwarder, letters); got.Refused != 3 || got.DeadLettered != 0 || got.State != sink.Idle || *got.Backlog != 0 {
			t.Errorf("status of the dead letters' line: %+v", got)
		}
		if calls := s.Calls(); calls > 6 {
			t.Errorf("%d calls", calls)
		}
		r.stop(t)
	})
}

func TestADeadLetterIsMadeOnceThroughCrashesAndAFullSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := events(2, 1)
		s := refusing(map[string]bool{all[0].ID: true})
		spool := sinktest.NewSpool()
		var full atomic.Bool
		full.Store(true)
		var emitted []string
		spool.Fail(sinktest.Faults{
			Emit: func(e schema.Event) error {
				if e.Type != letters {
					return nil
				}
				emitted = append(emitted, e.ID+string(e.Body))
				if full.Load() {
					return errors.New("spool full")
				}
				return nil
			},
			SetCursor: func(_ schema.Type, sequence uint64) error {
				if sequence > 0 {
					return errors.New("spool full") // every stop is a crash
				}
				return nil
			},
		})
		emit(t, spool, all...)
		r := start(t, spool, s)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(s.Stored(pops)); n != 0 {
			t.Errorf("%d events overtook the one whose dead letter could not be stored", n)
		}
		if got := line(r.Forwarder, pops); got.State != sink.Retrying || !strings.Contains(got.LastError, "spool full") {
			t.Errorf("status: %+v", got)
		}
		full.Store(false)
		for range 3 {
			time.Sleep(time.Minute)
			synctest.Wait()
			r.cancel()
			if err := <-r.ended; err == nil {
				t.Error("the cursor was stored: this is no crash")
			}
			r = start(t, spool, s)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(spool.Records(letters)); n != 1 {
			t.Errorf("%d dead letters in the spool, want 1", n)
		}
		if len(emitted) < 4 {
			t.Fatalf("emitted %d times: nothing is proved", len(emitted))
		}
		for _, e := range emitted {
			if e != emitted[0] {
				t.Errorf("emitted %s and %s", emitted[0], e)
			}
		}
		r.cancel()
		if err := <-r.ended; err == nil {
			t.Error("the cursor was stored: this is no crash")
		}
	})
}

func TestAHugeRefusedBodyStillFitsTheSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, size := range []int{1, 100 << 10, 1 << 20} {
			e := events(1, 1)[0]
			e.Body = fmt.Appendf(nil, `{"x":"%s"}`, strings.Repeat("\x7f", size))
			s := refusing(map[string]bool{e.ID: true})
			r := start(t, sinktest.NewSpool(), s)
			emit(t, r.spool, e)
			synctest.Wait()
			records := r.spool.Records(letters)
			if len(records) != 1 || len(records[0].Body) > 1<<20 {
				t.Fatalf("size %d: %d dead letters", size, len(records))
			}
			var letter schema.DeadLetter
			if err := json.Unmarshal(records[0].Body, &letter); err != nil {
				t.Fatal(err)
			}
			raw, err := base64.StdEncoding.DecodeString(letter.RawBase64)
			if err != nil || !bytes.HasPrefix(e.Body, raw) {
				t.Errorf("size %d: the bytes are not the event's", size)
			}
			if cut := len(raw) < len(e.Body); cut != strings.Contains(letter.Detail, "are kept") {
				t.Errorf("size %d: cut %v, but detail says %q", size, cut, letter.Detail)
			}
			r.stop(t)
		}
	})
}

func TestAnEventWhoseDeadLetterIsTooLargeDoesNotStopItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := events(2, 1)
		s := refusing(map[string]bool{all[0].ID: true})
		log := sinktest.NewSpool()
		log.Fail(sinktest.Faults{Emit: func(e schema.Event) error {
			if e.Type == letters {
				return fmt.Errorf("emit: %w", spool.ErrTooLarge)
			}
			return nil
		}})
		r := start(t, log, s)
		emit(t, log, all...)
		synctest.Wait()
		sinktest.CheckDelivered(t, all[1:], sinktest.Messages(s.Stored(pops)))
		if got := line(r.Forwarder, pops); got.Refused != 1 || got.DeadLettered != 0 || got.Cursor != 2 {
			t.Errorf("status %+v", got)
		}
		r.stop(t)
	})
}

func TestALongHeaderIsCutInTheDeadLetter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := sinktest.Event(pops, 1, strings.Repeat("坐", 100_000), "801")
		s := refusing(map[string]bool{e.ID: true})
		r := start(t, sinktest.NewSpool(), s)
		emit(t, r.spool, e)
		synctest.Wait()
		got := headerOf(t, r.spool.Records(letters)[0], "partitionkey")
		if len(got) > 1024 || !strings.HasPrefix(e.Key, got) || got == "" {
			t.Errorf("%d bytes of the key: %.20q", len(got), got)
		}
		r.stop(t)
	})
}
