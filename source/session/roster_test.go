package session

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/lqsim"
)

// agent is an entry of a roster.
func agent(id, channel string) source.Agent { return source.Agent{ID: id, Channel: channel} }

// numbers are the numbers of the sessions that the server has, by agent.
func (r *rig) numbers() map[string]int64 {
	all := map[string]int64{}
	for _, s := range r.sim.Sessions() {
		all[s.Agent] = s.Number
	}
	return all
}

// holdsExactly waits until the server has a session for each agent of the roster,
// with its channel, and no other.
func (r *rig) holdsExactly(want source.Roster) {
	r.t.Helper()
	for deadline := time.Now().Add(patience); ; {
		var got source.Roster
		for _, s := range r.sim.Sessions() {
			if newest, _ := r.sim.Session(s.Agent); newest.Number == s.Number { // a half-open one ends later
				got = append(got, agent(s.Agent, s.Channel))
			}
		}
		if sameAgents(got, want) && r.source.Status().Up == len(want) && r.source.Status().Wanted == len(want) {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("the server has %v, and the source %+v; want %v", got, r.source.Status(), want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func sameAgents(a, b source.Roster) bool {
	sorted := func(r source.Roster) source.Roster {
		r = slices.Clone(r)
		slices.SortFunc(r, func(x, y source.Agent) int { return strings.Compare(x.ID, y.ID) })
		return r
	}
	return slices.Equal(sorted(a), sorted(b))
}

// TestRandomEditsOfTheRosterTouchOnlyWhatTheyConcern edits a roster at random, often
// before the edit before has taken effect, and compares with a model: the server
// has the roster's sessions in the end, it never has two of an agent, and a socket
// that no edit concerned since it opened is still the same.
func TestRandomEditsOfTheRosterTouchOnlyWhatTheyConcern(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	r := newRig(t, lqsim.Options{Heartbeat: 50 * time.Millisecond}, nil)
	r.up(2)
	model := map[string]string{"801": "-1", "802": "12"}
	roster := func() (all source.Roster) {
		for id, channel := range model {
			all = append(all, agent(id, channel))
		}
		return all
	}
	rounds := 25
	if testing.Short() {
		rounds = 8
	}
	for round := range rounds {
		r.holdsExactly(roster())
		before, touched := r.numbers(), map[string]bool{}
		for range 1 + random.IntN(6) {
			for range random.IntN(8) {
				id := fmt.Sprint(801 + random.IntN(40))
				touched[id] = true
				if _, there := model[id]; there && random.IntN(2) == 0 {
					delete(model, id)
				} else {
					model[id] = fmt.Sprint(10 + random.IntN(3))
				}
			}
			r.source.SetRoster(roster(), source.CauseRoster)
			if random.IntN(3) == 0 { // what the server does meanwhile is no reason to lose count
				id := fmt.Sprint(801 + random.IntN(40))
				touched[id] = true
				_ = r.sim.Reset(id) // which may have no session
			}
		}
		r.holdsExactly(roster())
		after := r.numbers()
		for id, number := range before {
			if _, there := model[id]; there && !touched[id] && after[id] != number {
				t.Fatalf("round %d: agent %s had socket %d, now %d: no edit concerned it", round, id, number, after[id])
			}
		}
	}
	for _, a := range r.sim.Agents() {
		if a.MostLive > 1 {
			t.Errorf("agent %s was registered %d times at once", a.ID, a.MostLive)
		}
	}
}

func TestAnAgentThatLeavesIsClosedInOrderAndItsPopsAreRead(t *testing.T) {
	r := newRig(t, lqsim.Options{}, nil)
	r.up(2)
	kept, _ := r.sim.Session("802")
	r.must(r.sim.Send("801", []byte("H=t1v3,ch=2,ph=86307627,op=801,sn=7;")))
	if got := r.source.SetRoster(source.Roster{agent("802", "12")}, source.CauseRoster); got != (source.Edit{Closed: 1, Kept: 1}) {
		t.Errorf("the edit did %+v", got)
	}
	r.await("closed", 1, func(e schema.Event) bool {
		return isState(schema.Closed)(e) && strings.Contains(string(e.Body), `"roster"`)
	})
	r.await("pops", 1, isType(schema.TypeCallPop))
	r.holdsExactly(source.Roster{agent("802", "12")})
	if a, _ := r.sim.Agent("801"); a.LastEnd != lqsim.EndClientClosed {
		t.Errorf("801's session ended as %q", a.LastEnd)
	}
	if now, _ := r.sim.Session("802"); now.Number != kept.Number {
		t.Errorf("802 has socket %d, had %d", now.Number, kept.Number)
	}
}

func TestAnAgentRemovedAndAddedAtOnceIsOpenedWhenTheOldSocketHasEnded(t *testing.T) {
	both := source.Roster{agent("801", "-1"), agent("802", "12")}
	alone := source.Roster{agent("802", "12")}
	for name, prepare := range map[string]func(r *rig){
		"while it is up": func(r *rig) { r.up(2) },
		"while it is half-open": func(r *rig) {
			r.up(2)
			r.must(r.sim.HalfOpen("801"))
		},
		"while it dials": func(r *rig) { r.await("dialled for", 2, isState(schema.Connecting)) },
		"while it waits": func(r *rig) {
			r.up(2)
			r.source.fleet.SetReconnectInterval(time.Hour)
			r.must(r.sim.Reset("801"))
			r.await("reconnecting", 1, isState(schema.Reconnecting))
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, lqsim.Options{Heartbeat: 50 * time.Millisecond}, nil)
			prepare(r)
			r.source.SetRoster(alone, source.CauseRoster)
			r.source.SetRoster(both, source.CauseRoster)
			r.await("closed", 1, isState(schema.Closed))
			r.holdsExactly(both)
			if a, _ := r.sim.Agent("801"); a.MostLive > 1 && name != "while it is half-open" {
				t.Errorf("801 was registered %d times at once", a.MostLive)
			}
			if a, _ := r.sim.Agent("802"); a.Connects != 1 {
				t.Errorf("802 connected %d times, no edit concerned it", a.Connects)
			}
		})
	}
}

func TestSettingsChangeWithoutASocketClosing(t *testing.T) {
	r := newRig(t, lqsim.Options{Heartbeat: 50 * time.Millisecond}, nil)
	r.up(2)
	before := r.numbers()
	c := r.source.config
	c.ExpireAfter, c.ReconnectInterval, c.Charset, c.Timezone, c.AreaCode = 5*time.Second, time.Second, "utf-8", "UTC", "010"
	// The same bytes, written in another way.
	c.Registration, c.RegistrationHex = "op={{.Agent}},\\x63h={{.Channel}};", ""
	got, err := r.source.Update(c, c.Configured(), source.CauseRoster)
	if want := (source.Edit{Kept: 2}); err != nil || got != want {
		t.Fatalf("%+v, %v", got, err)
	}
	r.must(r.sim.Send("801", []byte("H=t1v3,ch=2,ph=86307627,op=801,sn=7,tm=080711175931;")))
	p := decodePop(t, r.await("pops", 1, isType(schema.TypeCallPop))[0])
	if p.Customer.E164 != "+861086307627" || !p.Call.StartedAt.Equal(time.Date(2008, 7, 11, 17, 59, 31, 0, time.UTC)) {
		t.Errorf("decoded with the old settings: %+v", p)
	}
	after := r.numbers()
	for id, number := range before {
		if after[id] != number {
			t.Errorf("agent %s has socket %d, had %d", id, after[id], number)
		}
	}
	if status, _ := r.source.Fleet().Agent("801"); status.LastPop.IsZero() || status.State != schema.Connected {
		t.Errorf("801 is %+v", status)
	}
}

func TestAnotherAddressClosesAndOpensEverySession(t *testing.T) {
	r := newRig(t, lqsim.Options{}, nil)
	r.up(2)
	second := newRig(t, lqsim.Options{}, func(c *Config) { c.Agents = source.Roster{agent("999", "-1")} })
	second.up(1)
	c := r.source.config
	c.Address = second.sim.Addr().String()
	got, err := r.source.Update(c, c.Configured(), source.CauseRoster)
	if want := (source.Edit{Reopened: 2}); err != nil || got != want {
		t.Fatalf("%+v, %v", got, err)
	}
	r.must(second.sim.WaitSessions(r.ctx(), 3))
	r.must(r.sim.Wait(r.ctx(), func(t lqsim.Totals) bool { return t.Live == 0 }))
	r.await("closed for the configuration", 2, func(e schema.Event) bool {
		return isState(schema.Closed)(e) && strings.Contains(string(e.Body), source.CauseConfiguration)
	})
}

func TestADrainClosesWhatItIsToldAndOpensNothing(t *testing.T) {
	r := newRig(t, lqsim.Options{}, nil)
	r.up(2)
	r.must(r.sim.Send("801", []byte("H=t1v3,ch=2,ph=86307627,op=801,sn=7;")))
	r.await("pops", 1, isType(schema.TypeCallPop))
	held := r.source.Fleet().Drain()
	if len(held) != 2 {
		t.Fatalf("%d sessions to drain", len(held))
	}
	r.source.Fleet().CloseAgent("802")
	r.must(r.sim.Wait(r.ctx(), func(t lqsim.Totals) bool { return t.Live == 1 }))
	r.source.SetRoster(source.Roster{agent("801", "-1"), agent("802", "12"), agent("803", "-1")}, source.CauseRoster)
	r.must(r.sim.Close("801")) // which is not opened again either
	r.await("closed", 2, func(e schema.Event) bool {
		return isState(schema.Closed)(e) && strings.Contains(string(e.Body), source.CauseDrain)
	})
	if status := r.source.Status(); status.Wanted != 0 || status.Up != 0 {
		t.Errorf("drained: %+v", status)
	}
	if got := r.source.Fleet().Resume(); got.Opened != 3 {
		t.Errorf("resumed: %+v", got)
	}
	r.holdsExactly(source.Roster{agent("801", "-1"), agent("802", "12"), agent("803", "-1")})
}

// BenchmarkEditOfALargeRoster is one agent more or less among ten thousand.
func BenchmarkEditOfALargeRoster(b *testing.B) {
	roster, err := source.ParseRoster([]any{"10001-20000"})
	if err != nil {
		b.Fatal(err)
	}
	c := DefaultConfig()
	c.Name, c.Server, c.Address, c.Registration, c.Agents = "hq", "hq", "127.0.0.1:1", lqsim.DefaultRegistration, roster
	quiet := slog.New(slog.DiscardHandler)
	in, err := source.NewIntake(source.IntakeOptions{Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	s, err := New(c, Options{Intake: in, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.SetRoster(roster[:len(roster)-i%2], source.CauseRoster)
	}
}
