package spool

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
)

// lineOf is the pops of the agent of newEvent(n).
func lineOf(n int) AgentLine {
	e := newEvent(n)
	return AgentLine{Type: e.Type, Server: e.Server, Agent: e.Agent}
}

// page gives all events of a line, call by call.
func page(tb testing.TB, s *Spool, l AgentLine, after uint64) (all []Record) {
	tb.Helper()
	for {
		records, err := s.AgentEvents(testContext(tb), l, after)
		if err != nil {
			tb.Fatal(err)
		}
		if len(records) == 0 {
			return all
		}
		all = append(all, records...)
		after = records[len(records)-1].Sequence
	}
}

func TestOneAgentsEventsAreReadWithoutTheOthers(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	ids := emitN(t, s, 1000) // ten of each agent
	for _, n := range []int{0, 7, 99} {
		var want []string
		for i := n; i < len(ids); i += 100 {
			want = append(want, ids[i])
		}
		got := page(t, s, lineOf(n), 0)
		if !slices.Equal(idsOf(got), want) {
			t.Errorf("agent %s: got %q, want %q", lineOf(n).Agent, idsOf(got), want)
		}
		if got := idsOf(page(t, s, lineOf(n), got[3].Sequence)); !slices.Equal(got, want[4:]) {
			t.Errorf("agent %s after the fourth: got %q, want %q", lineOf(n).Agent, got, want[4:])
		}
		latest, ok, err := s.LatestOfAgent(testContext(t), lineOf(n))
		last := got[len(got)-1]
		if err != nil || !ok || latest.ID != last.ID || latest.SpoolSequence != last.SpoolSequence || string(latest.Body) != string(last.Body) {
			t.Errorf("latest of agent %s: %+v, %v, %v", lineOf(n).Agent, latest, ok, err)
		}
	}
}

func TestAnAgentWithoutEventsHasNone(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	emitN(t, s, 3)
	for _, l := range []AgentLine{
		{schema.TypeCallPop, "hq", "999"}, {schema.TypeCallPop, "other", "801"}, {schema.TypeSessionChanged, "hq", "801"},
		// Names are no wildcards.
		{schema.TypeCallPop, "hq", "*"}, {schema.TypeCallPop, ">", ">"}, {schema.TypeCallPop, "hq", ""},
	} {
		if got := page(t, s, l, 0); len(got) != 0 {
			t.Errorf("%+v: got %q", l, idsOf(got))
		}
		if _, ok, err := s.LatestOfAgent(testContext(t), l); ok || err != nil {
			t.Errorf("%+v: latest is %v, %v", l, ok, err)
		}
	}
	if got := page(t, s, lineOf(0), 1000); len(got) != 0 {
		t.Errorf("after the end: %q", idsOf(got))
	}
	if _, err := s.AgentEvents(testContext(t), AgentLine{Type: "x"}, 0); err == nil {
		t.Error("an unknown type is read")
	}
	if _, _, err := s.LatestOfAgent(testContext(t), AgentLine{Type: "x"}); err == nil {
		t.Error("an unknown type has a latest")
	}
}

func TestOneAgentsEventsAreReadFromATimeOn(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	before := newEvent(0)
	emit(t, s, before)
	stored, _, err := s.LatestOfAgent(testContext(t), lineOf(0))
	if err != nil {
		t.Fatal(err)
	}
	// The next one gets a later time of storing.
	eventually(t, "time goes on", func() bool { return time.Since(stored.Time) > 5*time.Millisecond })
	between := time.Now()
	after := newEvent(0)
	emit(t, s, newEvent(1), after)
	for _, c := range []struct {
		since time.Time
		want  []string
	}{
		{between, []string{after.ID}}, {stored.Time.Add(-time.Hour), []string{before.ID, after.ID}}, {between.Add(time.Hour), []string{}},
	} {
		got, err := s.AgentEventsSince(testContext(t), lineOf(0), c.since)
		if err != nil || !slices.Equal(idsOf(got), c.want) {
			t.Errorf("since %v: got %q, %v, want %q", c.since, idsOf(got), err, c.want)
		}
	}
}

func TestOneAgentsEventsEndWithTheSpool(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	emitN(t, s, 1)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.AgentEvents(gone, lineOf(0), 0); err == nil {
		t.Error("read with a context that is done")
	}
	closeSpool(t, s)
	if _, err := s.AgentEvents(t.Context(), lineOf(0), 0); err == nil {
		t.Error("read from a closed spool")
	}
	if _, _, err := s.LatestOfAgent(t.Context(), lineOf(0)); err == nil {
		t.Error("read the latest of a closed spool")
	}
}
