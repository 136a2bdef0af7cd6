package lqsim

import (
	"context"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/pop"
)

var roster = []string{"801", "802", "803", "804", "805"}

func newTraffic(t testing.TB, opts TrafficOptions) *Traffic {
	t.Helper()
	if opts.Agents == nil {
		opts.Agents = roster
	}
	traffic, err := NewTraffic(opts)
	if err != nil {
		t.Fatal(err)
	}
	return traffic
}

func take(traffic *Traffic, n int) []Offer {
	var offers []Offer
	for offer, ok := traffic.Next(); ok && len(offers) < n; offer, ok = traffic.Next() {
		offers = append(offers, offer)
	}
	return offers
}

func TestTheSameSeedMakesTheSameTraffic(t *testing.T) {
	start := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	opts := TrafficOptions{Rate: 20, Count: 2000, Format: Mixed, Seed: 7, Start: start}
	first := take(newTraffic(t, opts), 2000)
	if second := take(newTraffic(t, opts), 2000); !reflect.DeepEqual(first, second) {
		t.Error("the same seed and start made other traffic")
	}
	opts.Start = start.Add(time.Hour)
	later := take(newTraffic(t, opts), 2000)
	opts.Seed = 8
	other := take(newTraffic(t, opts), 2000)
	differ := 0
	for i, offer := range first {
		if got, want := content(later[i]), content(offer); got != want {
			t.Fatalf("offer %d: another start changed the call: got %s, want %s", i+1, got, want)
		}
		if content(other[i]) != content(offer) {
			differ++
		}
	}
	if differ < len(first)/2 {
		t.Errorf("another seed changed %d of %d offers, want most", differ, len(first))
	}
}

// content is what a seed decides, whatever the time.
func content(o Offer) string {
	p := o.Pop
	return fmt.Sprint(o.Sequence, o.Offset, o.Agent, o.Format, o.RePop, p.Number, p.SN, p.Mode, p.From, p.Line, p.Member, p.Data, p.Keys)
}

func TestTrafficDecodesToWhatWasMade(t *testing.T) {
	for _, charset := range []string{UTF8, GB18030} {
		for _, format := range append([]string{Mixed}, formats...) {
			t.Run(format+" in "+charset, func(t *testing.T) {
				traffic := newTraffic(t, TrafficOptions{Rate: 50, Format: format, Charset: charset, Seed: 3, Count: 3000})
				decoder := pop.Decoder{Charset: pop.Charset(charset), Location: traffic.exchange.location}
				for offer, ok := traffic.Next(); ok; offer, ok = traffic.Next() {
					var got pop.Pop
					if err := decoder.Decode(offer.Raw, &got); err != nil {
						t.Fatalf("%q: %v", offer.Raw, err)
					}
					if diff := difference(got, carried(offer)); diff != "" {
						t.Fatalf("%q: %s", offer.Raw, diff)
					}
					if len(offer.Raw) > frame.MaxPop {
						t.Fatalf("%q: %d bytes", offer.Raw, len(offer.Raw))
					}
				}
			})
		}
	}
}

// carried is the part of an offer's pop that its format can carry.
func carried(o Offer) pop.Pop {
	p := o.Pop
	p.Format = o.Format
	if o.Format < "t1v5" {
		p.Member, p.Data = "", ""
	}
	if o.Format < "t1v4" {
		p.Mode, p.From = 0, ""
	} else {
		p.ID = ""
		p.StartedAt = p.StartedAt.Truncate(time.Second)
	}
	if o.Format < "t1v3" {
		p.Agent, p.SN = "", ""
	}
	p.IDDerived = o.Format == "t1v1"
	return p
}

func difference(got, want pop.Pop) string {
	for _, f := range []struct{ name, got, want string }{
		{"format", got.Format, want.Format},
		{"line", got.Line, want.Line},
		{"number", got.Number, want.Number},
		{"id", got.ID, want.ID},
		{"id derived", fmt.Sprint(got.IDDerived), fmt.Sprint(want.IDDerived)},
		{"started at", got.StartedAt.Format(time.RFC3339Nano), want.StartedAt.Format(time.RFC3339Nano)},
		{"agent", got.Agent, want.Agent},
		{"sn", got.SN, want.SN},
		{"mode", fmt.Sprint(got.Mode), fmt.Sprint(want.Mode)},
		{"from", got.From, want.From},
		{"member", got.Member, want.Member},
		{"data", got.Data, want.Data},
		{"keys", got.Keys, want.Keys},
	} {
		if f.got != f.want {
			return fmt.Sprintf("%s: got %q, want %q", f.name, f.got, f.want)
		}
	}
	if len(got.Extra) > 0 || got.Lossy || got.Truncated {
		return fmt.Sprintf("got extra %v, lossy %t, truncated %t, want none of it", got.Extra, got.Lossy, got.Truncated)
	}
	return ""
}

func TestCallsAreWhatACallCentreSees(t *testing.T) {
	offers := take(newTraffic(t, TrafficOptions{Rate: 20, Count: 5000, Seed: 1}), 5000)
	type history struct {
		agent string
		raw   string
		mode  int
	}
	calls := make(map[string]history)
	ids := make(map[string]string)
	modes := make(map[int]int)
	var sn, rePops, same, anonymous, chinese int
	for _, o := range offers {
		p := o.Pop
		modes[p.Mode]++
		before, known := calls[p.SN]
		if !known {
			sn++
			if got, want := p.SN, fmt.Sprint(999+sn); got != want {
				t.Fatalf("offer %d: got sn %s, want %s: new calls' rise by one", o.Sequence, got, want)
			}
			if other, ok := ids[p.ID]; ok {
				t.Fatalf("calls %s and %s share the id %s", other, p.SN, p.ID)
			}
			ids[p.ID] = p.SN
		}
		switch {
		case o.RePop:
			rePops++
			if p.Mode != modeInbound && p.Mode != modeManualOutbound || p.From != "" || o.Agent != before.agent {
				t.Errorf("re-pop at %s of a call at %s: got mode %d, from %q, want 1 or 2 and none", o.Agent, before.agent, p.Mode, p.From)
			}
			if string(o.Raw) == before.raw {
				same++
			}
		case p.Mode == modeInboundTransfer || p.Mode == modeOutboundTransfer:
			if p.From != before.agent || o.Agent == before.agent {
				t.Errorf("transfer to %s: got from %q, want %q and another agent", o.Agent, p.From, before.agent)
			}
		default:
			if p.From != "" {
				t.Errorf("mode %d: got from %q, want none", p.Mode, p.From)
			}
		}
		holder := o.Agent
		if p.Mode == modeInboundThreeWay || p.Mode == modeOutboundThreeWay {
			holder = before.agent // who brings somebody in keeps the call
		}
		calls[p.SN] = history{holder, string(o.Raw), p.Mode}
		if p.Number == "" {
			anonymous++
		}
		if strings.ContainsFunc(p.Data, func(r rune) bool { return r > 0x4e00 }) {
			chinese++
		}
	}
	for mode := modeInbound; mode <= modeReserved; mode++ {
		if modes[mode] == 0 {
			t.Errorf("no pop of mode %d", mode)
		}
	}
	if rePops == 0 || same == 0 || same == rePops || anonymous == 0 || chinese == 0 {
		t.Errorf("got %d re-pops (%d with the same bytes), %d anonymous, %d with Chinese data: want some of each",
			rePops, same, anonymous, chinese)
	}
}

func TestNumbersAreOfEveryKind(t *testing.T) {
	offers := take(newTraffic(t, TrafficOptions{Count: 3000}), 3000)
	has := func(name string, is func(n string) bool) {
		if !slices.ContainsFunc(offers, func(o Offer) bool { return is(o.Pop.Number) }) {
			t.Errorf("no %s among 3000 pops", name)
		}
	}
	has("local mobile", func(n string) bool { return len(n) == 11 && n[0] == '1' })
	has("mobile from elsewhere", func(n string) bool { return len(n) == 12 && strings.HasPrefix(n, "01") })
	has("local land line", func(n string) bool { return len(n) == 8 && n[0] != '0' })
	has("land line of Beijing", func(n string) bool { return len(n) == 11 && strings.HasPrefix(n, "010") })
	has("land line of Suzhou", func(n string) bool { return len(n) == 12 && strings.HasPrefix(n, "0512") })
	has("400 number", func(n string) bool { return len(n) == 10 && strings.HasPrefix(n, "400") })
	has("short number", func(n string) bool { return n == "10086" })
	has("call without a number", func(n string) bool { return n == "" })
	has("anonymous call", func(n string) bool { return n == "anonymous" })
}

func TestTrafficKeepsItsRate(t *testing.T) {
	for _, even := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			const rate, count = 50, 5000
			traffic := newTraffic(t, TrafficOptions{Rate: rate, Count: count, Even: even})
			begun := time.Now()
			var gaps []time.Duration
			last := begun
			tally, err := traffic.Run(t.Context(), func(string, []byte) error {
				gaps = append(gaps, time.Since(last))
				last = time.Now()
				return nil
			})
			if err != nil || tally != (Tally{Sent: count}) {
				t.Fatalf("even %t: got %+v, %v, want %d sent", even, tally, err, count)
			}
			got := float64(count) / time.Since(begun).Seconds()
			if math.Abs(got-rate) > rate/20 {
				t.Errorf("even %t: got %.1f pops a second, want %d", even, got, rate)
			}
			slices.Sort(gaps)
			spread := gaps[len(gaps)*9/10] - gaps[len(gaps)/10]
			if even != (spread == 0) {
				t.Errorf("even %t: got gaps that differ by %s", even, spread)
			}
		})
	}
}

func TestTrafficStopsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := errors.New("enough")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(10*time.Second, func() { cancel(stop) })
		tally, err := newTraffic(t, TrafficOptions{Rate: 2, Even: true}).Run(ctx, func(string, []byte) error { return ErrNoSession })
		if !errors.Is(err, stop) || tally.Sent != 0 || tally.Missed < 20 || tally.Missed > 21 {
			t.Errorf("got %+v, %v, want 20 or 21 missed and %v", tally, err, stop)
		}
	})
}

func TestOneAgentAloneGetsWholeCalls(t *testing.T) {
	for _, o := range take(newTraffic(t, TrafficOptions{Agents: []string{"801"}, Count: 1000}), 1000) {
		if o.Agent != "801" || o.Pop.From != "" {
			t.Fatalf("got agent %s, from %q, want 801 and nobody", o.Agent, o.Pop.From)
		}
	}
}

func TestTheLongestAgentsFitAPop(t *testing.T) {
	long := []string{strings.Repeat("8", maxAgent), strings.Repeat("9", maxAgent)}
	for _, o := range take(newTraffic(t, TrafficOptions{Agents: long, FirstSN: math.MaxUint64 - 5000, Count: 3000}), 3000) {
		if len(o.Raw) > frame.MaxPop {
			t.Fatalf("got %d bytes: %q", len(o.Raw), o.Raw)
		}
	}
}

func TestTrafficOptionsThatCannotBeAreRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		opts TrafficOptions
		want string
	}{
		{"no agents", TrafficOptions{}, "no agents"},
		{"agent with a comma", TrafficOptions{Agents: []string{"801,802"}}, `agent "801,802"`},
		{"agent of no characters", TrafficOptions{Agents: []string{""}}, `agent ""`},
		{"agent too long", TrafficOptions{Agents: []string{strings.Repeat("8", 33)}}, "1 to 32"},
		{"negative rate", TrafficOptions{Agents: roster, Rate: -1}, "rate -1"},
		{"rate that is none", TrafficOptions{Agents: roster, Rate: math.NaN()}, "rate NaN"},
		{"rate without end", TrafficOptions{Agents: roster, Rate: math.Inf(1)}, "rate +Inf"},
		{"negative count", TrafficOptions{Agents: roster, Count: -1}, "count -1"},
		{"format", TrafficOptions{Agents: roster, Format: "t1v6"}, `format "t1v6"`},
		{"charset", TrafficOptions{Agents: roster, Charset: "big5"}, `charset "big5"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := NewTraffic(test.opts)
			if got := fmt.Sprint(err); !strings.Contains(got, test.want) || strings.Contains(got, "\n") {
				t.Errorf("got %q, want one line with %q", got, test.want)
			}
		})
	}
}

func BenchmarkTraffic(b *testing.B) {
	traffic := newTraffic(b, TrafficOptions{Rate: 5000, Format: Mixed})
	b.ReportAllocs()
	for b.Loop() {
		traffic.Next()
	}
}
