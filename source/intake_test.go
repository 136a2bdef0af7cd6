package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/pop"
)

// stored is a log in memory, which may be told to refuse or to wait.
type stored struct {
	mu     sync.Mutex
	events []schema.Event
	before func(schema.Event) error
}

func (s *stored) emit(ctx context.Context, e schema.Event) error {
	if s.before != nil {
		if err := s.before(e); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events = append(s.events, e)
	return nil
}

func testOrigin(t testing.TB, agent string) *Origin {
	t.Helper()
	numbers, err := NewNumbers("025")
	if err != nil {
		t.Fatal(err)
	}
	return &Origin{
		Type: "session", Name: "hq", Server: "hq", Agent: agent, Channel: FindChannel,
		Decoding: &Decoding{Charset: pop.Auto, Location: time.FixedZone("+08", 8*3600), Numbers: numbers},
	}
}

func startIntake(t *testing.T, o IntakeOptions) (*Intake, <-chan error) {
	t.Helper()
	o.Logger = quiet
	in, err := NewIntake(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- in.Run(t.Context()) }()
	return in, done
}

func TestToTakeOnePopAtATimeAllocatesItsBytesAlone(t *testing.T) {
	in, err := NewIntake(IntakeOptions{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	o, now, raw := testOrigin(t, "801"), time.Now(), []byte(benchmarkPop)
	taken := 0
	got := testing.AllocsPerRun(100, func() {
		in.Pop(o, now, raw)
		for i := range in.shards {
			if s := &in.shards[i]; len(s.queue) > 0 {
				in.take(s)
				taken++
			}
		}
	})
	if got != 1 || taken != 101 {
		t.Errorf("%v allocations for each of %d pops, want 1 for each of 101", got, taken)
	}
}

func TestOnlyPopsOfADeclaredOverlapCarryTheirFingerprint(t *testing.T) {
	var log stored
	in, done := startIntake(t, IntakeOptions{Emit: log.emit})
	declared, other := testOrigin(t, "801"), testOrigin(t, "802")
	from := time.Now()
	in.Pop(declared, from, []byte("H=t1v5,ph=86307627,sn=1;"))
	declared.DeclareOverlap(from.Add(time.Minute))
	in.Pop(declared, from.Add(time.Minute-1), []byte("H=t1v5,ph=86307627,sn=2;"))
	in.Pop(other, from, []byte("H=t1v5,ph=86307627,sn=3;"))
	in.Pop(declared, from, []byte("H=t1v5,;")) // not decodable
	in.Pop(declared, from.Add(time.Minute), []byte("H=t1v5,ph=86307627,sn=4;"))
	declared.DeclareOverlap(time.Time{})
	in.Pop(declared, from, []byte("H=t1v5,ph=86307627,sn=5;"))
	in.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(log.events) != 6 {
		t.Fatalf("%d events, want 6", len(log.events))
	}
	want := map[string]string{"hq/2": schema.Fingerprint("hq", "801", []byte("H=t1v5,ph=86307627,sn=2;"))}
	for _, e := range log.events {
		if e.Overlap != want[e.Key] {
			t.Errorf("%s %s carries %q, want %q", e.Type, e.Key, e.Overlap, want[e.Key])
		}
	}
}

func TestPopsOfACallKeepTheirOrderOverAllSocketsAndFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		random := rand.New(rand.NewPCG(1, 2))
		var mu sync.Mutex
		log := &stored{before: func(schema.Event) error {
			mu.Lock()
			wait, fails := time.Duration(random.IntN(5))*time.Millisecond, random.IntN(3) == 0
			mu.Unlock()
			time.Sleep(wait)
			if fails {
				return errors.New("not now")
			}
			return nil
		}}
		in, done := startIntake(t, IntakeOptions{Emit: log.emit})
		agents := []*Origin{testOrigin(t, "801"), testOrigin(t, "802"), testOrigin(t, "803")}
		const calls, pops = 50, 20
		for n := range pops {
			for call := range calls {
				mu.Lock()
				o := agents[random.IntN(len(agents))]
				mu.Unlock()
				in.Pop(o, time.Now(), fmt.Appendf(nil, "H=t1v5,ch=2,ph=86307627,ty=1,op=%s,sn=%d,mb=%d;", o.Agent, 1000+call, n+1))
			}
		}
		in.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got := len(log.events); got != calls*pops {
			t.Fatalf("stored %d events, want %d", got, calls*pops)
		}
		next := map[string]int{}
		ids := map[string]bool{}
		for _, e := range log.events {
			var p schema.CallPop
			if err := json.Unmarshal(e.Body, &p); err != nil {
				t.Fatal(err)
			}
			next[e.Key]++
			if want := fmt.Sprint(next[e.Key]); p.IVR.Member != want {
				t.Fatalf("key %s: pop %s came as number %s", e.Key, p.IVR.Member, want)
			}
			if ids[e.ID] {
				t.Fatalf("id %s twice", e.ID)
			}
			ids[e.ID] = true
		}
	})
}

func TestARetryCarriesTheSameEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var offered []schema.Event
		log := &stored{before: func(e schema.Event) error {
			offered = append(offered, e)
			if len(offered) < 5 {
				return errors.New("time-out")
			}
			return nil
		}}
		in, done := startIntake(t, IntakeOptions{Emit: log.emit})
		in.Pop(testOrigin(t, "801"), time.Now(), []byte("2,02586307627,1000,1208674344953,NA"))
		in.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if len(offered) != 5 {
			t.Fatalf("offered %d times, want 5", len(offered))
		}
		for _, e := range offered {
			if e.ID != offered[0].ID || string(e.Body) != string(offered[0].Body) {
				t.Errorf("offered %s, then %s", offered[0].Body, e.Body)
			}
		}
	})
}

func TestAStuckLogNeverBlocksASourceAndWhatIsLostIsReportedAsAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		log := &stored{before: func(schema.Event) error { <-free; return nil }}
		in, done := startIntake(t, IntakeOptions{Emit: log.emit, BufferBytes: 64 * bytesize.KiB})
		o := testOrigin(t, "801")
		in.Session(o, SessionChange{State: schema.Connected, At: time.Now()})
		synctest.Wait()
		const sent = 2000
		start := time.Now()
		for i := range sent {
			in.Pop(o, time.Now(), fmt.Appendf(nil, "H=t1v3,ch=2,ph=86307627,op=801,sn=%d;", i+1))
			time.Sleep(time.Millisecond)
		}
		if got := in.Queued(); got > 64*bytesize.KiB {
			t.Errorf("%v wait in memory, more than the limit", got)
		}
		close(free)
		synctest.Wait()
		in.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		pops := 0
		var gap *schema.SessionChanged
		for _, e := range log.events {
			switch e.Type {
			case schema.TypeCallPop:
				pops++
			case schema.TypeSessionChanged:
				var c schema.SessionChanged
				if err := json.Unmarshal(e.Body, &c); err != nil {
					t.Fatal(err)
				}
				if c.Gap != nil {
					gap = &c
				}
			}
		}
		if gap == nil {
			t.Fatalf("%d of %d pops stored and no gap reported", pops, sent)
		}
		if want := fmt.Sprintf("%d received", sent-pops); !strings.HasPrefix(gap.Cause, want) {
			t.Errorf("cause %q, want %q: every loss is counted", gap.Cause, want)
		}
		if gap.State != schema.Connected || gap.Gap.From.Before(start) || !gap.Gap.To.After(gap.Gap.From) {
			t.Errorf("reported %+v, gap %+v", gap, gap.Gap)
		}
		if last := log.events[len(log.events)-1]; pops == 0 || last.Time.IsZero() {
			t.Errorf("nothing was kept")
		}
	})
}

func TestAGapOfTheLastMomentIsStoredForAShardThatWasDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log stored
		stuck, free := make(chan struct{}), make(chan struct{})
		log.before = func(e schema.Event) error {
			switch e.Agent {
			case "801":
				<-stuck
			case "802":
				<-free
			}
			return nil
		}
		in, done := startIntake(t, IntakeOptions{Emit: log.emit, BufferBytes: 2 * bytesize.KiB})
		lost, last := testOrigin(t, "801"), testOrigin(t, "802")
		letter := func(o *Origin, size int) {
			in.DeadLetter(o, time.Now(), make([]byte, size), schema.ReasonLostFraming, "")
			synctest.Wait()
			time.Sleep(time.Millisecond)
		}
		letter(lost, 100) // in its worker's hand
		letter(last, 100) // the same
		letter(lost, 600) // dropped for the next, of more than half the memory
		letter(last, 1500)
		in.Close()
		close(stuck)
		synctest.Wait() // the first one's worker has nothing left
		close(free)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if e := log.events[len(log.events)-1]; e.Type != schema.TypeSessionChanged || e.Agent != "801" || len(log.events) != 4 {
			t.Errorf("%d events, the last of type %v and agent %s: want the gap", len(log.events), e.Type, e.Agent)
		}
	})
}

func TestStoppingCountsWhatTheLogDidNotTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in, err := NewIntake(IntakeOptions{Logger: quiet, Emit: func(ctx context.Context, _ schema.Event) error {
			<-ctx.Done()
			return ctx.Err()
		}})
		if err != nil {
			t.Fatal(err)
		}
		o := testOrigin(t, "801")
		for i := range 100 {
			in.Pop(o, time.Now(), fmt.Appendf(nil, "H=t1v3,ph=86307627,sn=%d;", i+1))
		}
		in.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := in.Run(ctx); err == nil || !strings.HasPrefix(err.Error(), "100 events were still in memory") {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheOldestIsWhatAnEndOfTheProcessWouldCost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &stored{}
		stuck := make(chan struct{})
		log.before = func(schema.Event) error { <-stuck; return nil }
		in, ended := startIntake(t, IntakeOptions{Emit: log.emit})
		if got := in.Oldest(); !got.IsZero() {
			t.Errorf("oldest %v of nothing", got)
		}
		first := time.Now()
		for range 5 { // the first is in a worker's hand, the others wait behind it
			in.Pop(testOrigin(t, "801"), time.Now(), []byte("H=t1v4,ch=2,ph=1,ty=1,tm=080711175931,op=801,sn=7,so=0,da=,dm=0;"))
			time.Sleep(time.Second)
			synctest.Wait()
			if got := in.Oldest(); !got.Equal(first) {
				t.Errorf("oldest %v, want %v", got, first)
			}
		}
		close(stuck)
		synctest.Wait()
		if got := in.Oldest(); !got.IsZero() {
			t.Errorf("oldest %v, and all is in the log", got)
		}
		in.Close()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
