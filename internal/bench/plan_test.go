package bench

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/pop"
)

var formats = []string{pop.T1V1, pop.T1V2, pop.T1V3, pop.T1V4, pop.T1V5}

func TestAPopsNumberIsFoundOnTheWireAndInItsEventInEveryFormat(t *testing.T) {
	for _, format := range formats {
		p := Plan{Sessions: 10, Rate: 100, Format: format, Count: 1000}
		m, err := newMaker("bench", p)
		if err != nil {
			t.Fatal(err)
		}
		keys := map[int]string{}
		for n := 1; n <= p.Count; n++ {
			raw, session := p.Append(nil, n)
			if got := NumberIn(raw); got != n || len(raw) > frame.MaxPop {
				t.Fatalf("%s: the number of %q is %d, want %d", format, raw, got, n)
			}
			e := m.event(n, time.Now())
			if got := NumberOf(e.Body); got != n || e.Type != schema.TypeCallPop || e.Agent != Agent(session) {
				t.Fatalf("%s: the number of %s is %d, want %d", format, e.Body, got, n)
			}
			var c schema.CallPop
			if err := json.Unmarshal(e.Body, &c); err != nil || string(c.Format) != format {
				t.Fatalf("%s became %s, %v", format, e.Body, err)
			}
			if got := receivedAt(e.Body); got != c.ReceivedAt.UnixNano() {
				t.Fatalf("received at %d, want %d", got, c.ReceivedAt.UnixNano())
			}
			call, _ := p.call(n)
			if before, ok := keys[call]; ok && before != e.Key {
				t.Fatalf("%s: pops of one call have the keys %s and %s", format, before, e.Key)
			}
			keys[call] = e.Key
		}
		if len(keys) >= p.Count*9/10 || len(keys) < p.Count/2 {
			t.Errorf("%s: %d pops are of %d calls: some must pop again", format, p.Count, len(keys))
		}
		distinct := map[string]bool{}
		for _, key := range keys {
			distinct[key] = true
		}
		if len(distinct) != len(keys) {
			t.Errorf("%s: %d calls have %d keys", format, len(keys), len(distinct))
		}
	}
}

func TestPopsAreDueAtTheirRate(t *testing.T) {
	p := Plan{Rate: 500}
	if got, want := p.Due(1), time.Duration(0); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
	if got, want := p.Due(501), time.Second; got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// arrive is a faultless run's arrivals.
func arrive(count int) []arrival {
	all := make([]arrival, count)
	for i := range all {
		all[i] = arrival{n: int64(i + 1), at: int64(1000 + i), read: int64(500 + i)}
	}
	return all
}

func TestWhatIsLostRepeatedOrOutOfOrderIsFound(t *testing.T) {
	p := Plan{Sessions: 3, Rate: 30, Format: pop.T1V5, Count: 300}
	again := 0 // a pop of a call that has popped before
	for n := 1; again == 0; n++ {
		if call, _ := p.call(n); call != n {
			again = n
		}
	}
	first, _ := p.call(again)
	for _, c := range []struct {
		name  string
		spoil func([]arrival) []arrival
		want  Verified
		bad   bool
	}{
		{"faultless", func(a []arrival) []arrival { return a }, Verified{Sent: 300, Delivered: 300}, false},
		{"lost", func(a []arrival) []arrival { return append(a[:10:10], a[12:]...) }, Verified{Sent: 300, Delivered: 298, Lost: 2}, true},
		{"repeated", func(a []arrival) []arrival { return append(a, a[3]) }, Verified{Sent: 300, Delivered: 300, Duplicates: 1}, false},
		{"swapped within a call", func(a []arrival) []arrival {
			a[first-1], a[again-1] = a[again-1], a[first-1]
			return a
		}, Verified{Sent: 300, Delivered: 300, OutOfOrder: 1}, true},
		{"swapped between calls", func(a []arrival) []arrival {
			a[0], a[1] = a[1], a[0]
			return a
		}, Verified{Sent: 300, Delivered: 300}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, delivered := ledger{plan: p, sent: p.Count}.verify(c.spoil(arrive(p.Count)))
			if got != c.want || (got.Err() != nil) != c.bad {
				t.Errorf("got %+v, %v, want %+v", got, got.Err(), c.want)
			}
			if len(delivered) != p.Count+1 {
				t.Errorf("%d instants", len(delivered))
			}
		})
	}
	if v, _ := (ledger{plan: p, sent: 299, missed: 1}).verify(arrive(299)); v.Err() == nil {
		t.Error("a pop without a session is no error")
	}
}

// A stall of one second hides nothing: each pop that waited is counted from when it
// was due.
func TestAStallIsSeenInEveryLatencyThatItTouches(t *testing.T) {
	p := Plan{Sessions: 1, Rate: 1000, Count: 2000}
	places := make([]int64, p.Count+1)
	for n := 1; n <= p.Count; n++ {
		at := p.Due(n) + time.Millisecond
		if at < time.Second {
			at = max(at, time.Second) // all of the first second came at its end
		}
		places[n] = int64(time.Hour + at)
	}
	l := spread(places, func(n int) int64 { return int64(time.Hour + p.Due(n)) })
	if l.Count != 2000 || l.P90 < 0.75 || l.Max < 0.99 || l.P50 > 0.01 {
		t.Errorf("got %+v", l)
	}
}

func TestWrongOptionsAreNamed(t *testing.T) {
	for want, change := range map[string]func(*Options){
		"--sessions is 0":             func(o *Options) { o.Sessions = 0 },
		"--rate is -1":                func(o *Options) { o.Rate = -1 },
		"--duration is 0s":            func(o *Options) { o.Duration = 0 },
		"--format is \"t1v9\"":        func(o *Options) { o.Format = "t1v9" },
		"--sink is \"file\"":          func(o *Options) { o.Sink = "file" },
		"--sink kafka needs --kafka":  func(o *Options) { o.Sink = SinkKafka },
		"--nats is given":             func(o *Options) { o.NATS = "nats://a" },
		"expected one of them":        func(o *Options) { o.Burst, o.Idle = true, true },
		"--backlog is -1":             func(o *Options) { o.Backlog = -1 },
		"are more than 50000000 pops": func(o *Options) { o.Rate, o.Duration = maxRate, time.Hour },
		"--heartbeat is 1ms":          func(o *Options) { o.Heartbeat = time.Millisecond },
		"--partitions is 0":           func(o *Options) { o.Partitions = 0 },
	} {
		o := DefaultOptions()
		change(&o)
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	o := DefaultOptions()
	if err := o.Validate(); err != nil {
		t.Error(err)
	}
}

func TestTooFewDescriptorsAreSaidBeforeAnythingStarts(t *testing.T) {
	err := raiseDescriptors(1 << 40)
	if err == nil || !strings.Contains(err.Error(), "hard limit") || !strings.Contains(err.Error(), fmt.Sprint(1<<40)) {
		t.Errorf("got %v", err)
	}
	if err := raiseDescriptors(1); err != nil {
		t.Error(err)
	}
}
