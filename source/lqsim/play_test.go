package lqsim

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// script is a stage that writes down what is played on it, and when.
type script struct {
	begun time.Time
	lines []string
	busy  map[string]bool // what is switched on
	fail  error
}

func newScript() *script { return &script{begun: time.Now(), busy: make(map[string]bool)} }

func (s *script) add(format string, args ...any) error {
	s.lines = append(s.lines, fmt.Sprintf("%s ", time.Since(s.begun))+fmt.Sprintf(format, args...))
	return s.fail
}

func (s *script) set(what string, on bool) {
	_ = s.add("%s %t", what, on)
	if delete(s.busy, what); on {
		s.busy[what] = true
	}
}

func (s *script) Send(agent string, raw []byte) error {
	mode := ""
	if _, rest, ok := strings.Cut(string(raw), "ty="); ok {
		mode = rest[:1]
	}
	return s.add("pop %s %s", agent, mode)
}
func (s *script) SendBytes(agent string, data []byte) error {
	return s.add("bytes %s %d", agent, len(data))
}
func (s *script) Heartbeat(agent string) error { return s.add("heartbeat %s", agent) }
func (s *script) Silence(agent string, on bool) {
	s.set("silence "+agent, on)
}
func (s *script) HalfOpen(agent string) error { return s.add("half open %s", agent) }
func (s *script) Close(agent string) error    { return s.add("close %s", agent) }
func (s *script) Reset(agent string) error    { return s.add("reset %s", agent) }
func (s *script) Cut(agent string, _ []byte, at int) error {
	return s.add("cut %s %d", agent, at)
}
func (s *script) CutReset(agent string, _ []byte, at int) error {
	return s.add("cut and reset %s %d", agent, at)
}
func (s *script) Refuse(on bool) error { s.set("refuse", on); return nil }
func (s *script) HangUp(on bool)       { s.set("hang up", on) }
func (s *script) Mute(on bool)         { s.set("mute", on) }
func (s *script) WaitSessions(ctx context.Context, n int) error {
	if n > 2 {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	time.Sleep(time.Duration(n) * time.Second) // as long as it takes them to come
	return s.add("sessions %d", n)
}

func parse(t testing.TB, text string) *Scenario {
	t.Helper()
	s, err := ParseScenario("test.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStepsArePlayedAtTheirTimes(t *testing.T) {
	for _, test := range []struct {
		name, file string
		want       []string
	}{
		{"a transferred call", `
steps:
- {kind: inbound}
- {kind: transfer, after: 2s, to: $2}
- {kind: three_way, at: 5s, to: 900}
- {kind: re_pop, after: 1s}
- {kind: re_pop, agent: $1}
`, []string{"0s pop 801 1", "2s pop 802 5", "5s pop 900 3", "6s pop 802 1", "6s pop 801 1"}},
		{"calls by name", `
steps:
- {kind: outbound, call: a}
- {kind: inbound, call: b, agent: $2}
- {kind: transfer, call: a, to: $3}
- {kind: three_way, call: a, to: $1}
- {kind: re_pop, call: a}
- {kind: re_pop, call: b}
`, []string{"0s pop 801 2", "0s pop 802 1", "0s pop 803 6", "0s pop 801 7", "0s pop 803 2", "0s pop 802 1"}},
		{"the clock stands still while sessions come", `
steps:
- {kind: inbound, at: 1s}
- {kind: wait, sessions: 2}
- {kind: inbound, at: 2s}
- {kind: inbound, after: 1s}
`, []string{"1s pop 801 1", "3s sessions 2", "4s pop 801 1", "5s pop 801 1"}},
		{"what lasts ends by itself", `
steps:
- {kind: silence, agent: $1, for: 3s}
- {kind: silence, agent: $2, after: 1s, for: 1s}
- {kind: inbound, after: 4s}
- {kind: accept_silent, for: 10s}
`, []string{"0s silence 801 true", "1s silence 802 true", "2s silence 802 false", "3s silence 801 false", "5s pop 801 1", "5s mute true", "15s mute false"}},
		{"what lasts again ends once", `
steps:
- {kind: refuse, for: 2s}
- {kind: refuse, after: 1s, for: 5s}
- {kind: refuse, after: 1s, hang_up: true}
`, []string{"0s refuse true", "1s refuse true", "2s hang up true", "6s refuse false", "6s hang up false"}},
		{"rounds", `
loop: 2
steps:
- {kind: inbound, agent: $all, at: 1s}
- {kind: wait, for: 1s}
`, []string{"1s pop 801 1", "1s pop 802 1", "1s pop 803 1", "3s pop 801 1", "3s pop 802 1", "3s pop 803 1"}},
		{"bytes", `
steps:
- {kind: raw, text: "2,1"}
- {kind: raw, framed: false, hex: "00 01"}
- {kind: garbage}
- {kind: garbage, framed: true, count: 9}
- {kind: heartbeat, agent: $2, count: 2}
- {kind: cut, at_byte: 3}
- {kind: cut, at_byte: 1, reset: true, agent: $2}
- {kind: half_open}
- {kind: close}
- {kind: reset, agent: 999}
- {kind: inbound, mode: 9, format: t1v4}
- {kind: outbound, mode: 8}
`, []string{"0s pop 801 ", "0s bytes 801 2", "0s bytes 801 64", "0s pop 801 ", "0s heartbeat 802", "0s heartbeat 802", "0s cut 801 3", "0s cut and reset 802 1", "0s half open 801", "0s close 801", "0s reset 999", "0s pop 801 9", "0s pop 801 8"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				on := newScript()
				if _, err := parse(t, test.file).play(t.Context(), on, PlayOptions{Agents: []string{"801", "802", "803"}}); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(on.lines, test.want) {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(on.lines, "\n"), strings.Join(test.want, "\n"))
				}
			})
		})
	}
}

func TestEveryBuiltInScenarioPlaysToItsEnd(t *testing.T) {
	for _, name := range BuiltinScenarios() {
		synctest.Test(t, func(t *testing.T) {
			s, err := LoadScenario(name)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
			defer cancel()
			on := newScript()
			steps := 0
			tally, err := s.play(ctx, on, PlayOptions{Agents: roster, OnStep: func(p Played) {
				if p.Err != nil {
					t.Errorf("%s: line %d: %v", name, p.Line, p.Err)
				}
				steps++
			}})
			if s.rounds == 0 {
				if !errors.Is(err, context.DeadlineExceeded) || len(on.lines) < 100 {
					t.Errorf("%s: got %v after %d actions, want an endless one to be stopped", name, err, len(on.lines))
				}
			} else if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if len(on.busy) > 0 {
				t.Errorf("%s: got %v still switched on at the end", name, slices.Collect(maps.Keys(on.busy)))
			}
			if steps < s.Steps() || tally.Missed != 0 {
				t.Errorf("%s: got %d steps of %d reported, %+v", name, steps, s.Steps(), tally)
			}
		})
	}
}

func TestTheSameSeedPlaysTheSameCalls(t *testing.T) {
	s := parse(t, "steps:\n- {kind: inbound}\n- {kind: burst, count: 50, rate: 5}\n- {kind: inbound, agent: $2}\n")
	play := func(seed uint64) (pops []string) {
		synctest.Test(t, func(t *testing.T) {
			on := &recording{script: newScript()}
			if _, err := s.play(t.Context(), on, PlayOptions{Agents: roster, Seed: seed}); err != nil {
				t.Fatal(err)
			}
			pops = on.pops
		})
		return pops
	}
	first := play(1)
	if second := play(1); !slices.Equal(first, second) || len(first) != 52 {
		t.Errorf("got other calls from the same seed, or not 52: %d", len(first))
	}
	if other := play(2); slices.Equal(first, other) {
		t.Error("got the same calls from another seed")
	}
}

type recording struct {
	*script
	pops []string
}

func (r *recording) Send(agent string, raw []byte) error {
	r.pops = append(r.pops, agent+" "+string(raw))
	return nil
}

func TestAScenarioGoesOnWithoutSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		on := newScript()
		on.fail = ErrNoSession
		var errs []error
		s := parse(t, "steps:\n- {kind: inbound}\n- {kind: transfer, to: $2}\n- {kind: reset}\n- {kind: burst, count: 3}\n- {kind: heartbeat}\n")
		tally, err := s.play(t.Context(), on, PlayOptions{Agents: []string{"801", "802"}, OnStep: func(p Played) { errs = append(errs, p.Err) }})
		if err != nil || tally != (Tally{Missed: 5}) || len(errs) != 8 {
			t.Errorf("got %+v, %v, %d steps, want 5 missed and 8 steps", tally, err, len(errs))
		}
		for _, err := range errs {
			if !errors.Is(err, ErrNoSession) {
				t.Errorf("got %v, want %v", err, ErrNoSession)
			}
		}
	})
}

func TestAScenarioThatCannotBePlayedSaysWhy(t *testing.T) {
	for _, test := range []struct{ name, file, want string }{
		{"roster too short", "steps:\n- {kind: inbound}\n- {kind: transfer, to: $4}\n", "test.yaml:3: to: $4: expected one of the 3 agents of the roster"},
		{"no call yet", "steps:\n- {kind: re_pop}\n", "test.yaml:2: call: \"\": expected a call that an earlier step has begun"},
		{"no call of that name", "steps:\n- {kind: inbound, call: a}\n- {kind: transfer, call: b, to: $2}\n", `test.yaml:3: call: "b"`},
		{"sessions that do not come", "steps:\n- {kind: wait, sessions: 3, for: 5s}\n", "test.yaml:2: sessions: too few: expected 3 within 5s"},
		{"a separator in a field", "steps:\n- {kind: inbound, data: 'a,b'}\n", "test.yaml:2: inbound"},
		{"a cut behind the frame", "steps:\n- {kind: cut, at_byte: 255}\n", "test.yaml:2: at_byte: 255: expected 0 to"},
		{"too much for a frame", "steps:\n- {kind: inbound, data: " + strings.Repeat("x", 250) + "}\n", "test.yaml:2: inbound"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				on := newScript()
				_, err := parse(t, test.file).play(t.Context(), on, PlayOptions{Agents: []string{"801", "802", "803"}})
				if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
					t.Errorf("got %v, want one line with %q", err, test.want)
				}
			})
		})
	}
	_, err := parse(t, "steps:\n- {kind: inbound}\n").play(t.Context(), newScript(), PlayOptions{})
	if err == nil || !strings.Contains(err.Error(), "agent: $1: expected one of the 0 agents") {
		t.Errorf("without a roster: got %v, want an error", err)
	}
}

func TestEveryBuiltInScenarioRunsOnAServer(t *testing.T) {
	for _, name := range BuiltinScenarios() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := builtin.ReadFile("scenarios/" + name + ".yaml")
			if err != nil {
				t.Fatal(err)
			}
			// The same script a thousand times as fast, for two rounds at most.
			text := quick.Replace(string(data))
			server := start(t, Options{Heartbeat: 2 * time.Millisecond})
			for _, agent := range roster {
				reconnecting(t, server, agent)
			}
			if err := server.WaitSessions(within(t), len(roster)); err != nil {
				t.Fatal(err)
			}
			tally, err := parse(t, text).Play(within(t), server, PlayOptions{Agents: roster})
			if err != nil {
				t.Fatal(err)
			}
			if pops := server.Totals().Pops; pops != tally.Sent {
				t.Errorf("got %d pops booked, want the %d sent", pops, tally.Sent)
			}
			// Whatever was done to it, every agent has a session again.
			err = server.wait(within(t), func() bool {
				for _, agent := range roster {
					c := server.newestLocked(agent)
					if c == nil || c.info.Replies == 0 || c.halfOpen != nil {
						return false
					}
				}
				return true
			})
			if err != nil {
				t.Errorf("got sessions %+v, want one for each agent that answers", server.Sessions())
			}
		})
	}
}

// quick makes a built-in scenario's seconds milliseconds, and its endlessness two
// rounds.
var quick = strings.NewReplacer("0s", "0ms", "1s", "1ms", "2s", "2ms", "forever", "2")
