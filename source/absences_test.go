package source

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"
)

func TestAnAbsenceOutlivesStartsInWhichTheAgentNeverCame(t *testing.T) {
	first := time.Now().Add(-time.Hour).UTC()
	const up, down, never = "801", "802", "803"
	next := func(a *Absences, alive time.Time) *Absences {
		t.Helper()
		saved := a.Save()
		if again := a.Save(); again != nil {
			t.Errorf("a second save without a change: %s", again)
		}
		a, err := NewAbsences(saved, alive)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	expect := func(a *Absences, agent string, want time.Time) {
		t.Helper()
		if got := a.Since("hq", agent); !got.Equal(want) {
			t.Errorf("agent %s has been away since %v, want %v", agent, got, want)
		}
	}

	// In the first run one has a session and another lost it.
	a := NoAbsences()
	a.End("hq", up)
	a.End("hq", down)
	lost := first.Add(-10 * time.Minute)
	a.Begin("hq", down, lost)
	a = next(a, first)
	expect(a, up, first)
	expect(a, down, lost)
	expect(a, never, first)

	// In the second nobody comes; the third knows of the first all the same.
	a = next(a, first.Add(20*time.Minute))
	expect(a, up, first)
	expect(a, down, lost)

	// One comes in the third.
	a.End("hq", up)
	expect(a, up, time.Time{})
	end := first.Add(50 * time.Minute)
	a = next(a, end)
	expect(a, up, end)
	expect(a, down, lost)

	a.Forget("hq", down)
	expect(a, down, end)

	// A source that comes later knows what the others know, and of nobody else since
	// when.
	later := a.WithoutPast()
	expect(later, up, end)
	expect(later, never, time.Time{})
	later.End("hq", up)
	expect(a, up, time.Time{})
}

func TestAbsencesThatCannotBeReadBeginWhenTheConnectorLastRan(t *testing.T) {
	alive := time.Now().Add(-time.Minute).UTC()
	a, err := NewAbsences([]byte(`{"hq/801": "yesterday"}`), alive)
	if err == nil {
		t.Error("no error")
	}
	if got := a.Since("hq", "801"); !got.Equal(alive) {
		t.Errorf("got %v, want %v", got, alive)
	}
}

func TestSavedAbsencesAreTheSameJSONWhateverAnAgentIsCalled(t *testing.T) {
	a, want := NoAbsences(), map[string]time.Time{}
	if got := string(a.Save()); got != "" {
		t.Errorf("saved %s before anything changed", got)
	}
	since := time.Date(2026, 11, 23, 9, 30, 0, 120, time.UTC)
	for i, agent := range []string{"801", "", `8"01\`, "坐席", "8\x01\xff01", "<801>"} {
		at := since.Add(time.Duration(i) * time.Second)
		a.Begin("hq", agent, at)
		want["hq/"+strings.ToValidUTF8(agent, "\ufffd")] = at
	}
	a.End("hq", "802")
	want["hq/802"] = time.Time{}
	var got map[string]time.Time
	if err := json.Unmarshal(a.Save(), &got); err != nil || !maps.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}
