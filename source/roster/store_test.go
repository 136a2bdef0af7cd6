package roster

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/source"
)

func agents(entries ...any) source.Roster {
	r, err := source.ParseRoster(entries)
	if err != nil {
		panic(err)
	}
	return r
}

func TestEditsAreAppliedToWhatIsConfigured(t *testing.T) {
	configured := agents("801", "802", "803")
	at12 := source.Agent{ID: "802", Channel: "12"}
	var e Edit
	e = e.Put(configured, source.Agent{ID: "900", Channel: "-1"}).Put(configured, at12).Delete(configured, "801")
	if got, want := e.Apply(configured), (source.Roster{at12, {ID: "803", Channel: "-1"}, {ID: "900", Channel: "-1"}}); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// Whoever is put back as he is configured needs no edit.
	e = e.Put(configured, configured[0]).Put(configured, configured[1]).Delete(configured, "900")
	if !e.isZero() {
		t.Errorf("left over: %+v", e)
	}
	whole := Edit{Replaced: true, Agents: agents("810")}
	whole = whole.Put(configured, configured[0]).Delete(configured, "802").Delete(configured, "810")
	if got, want := whole.Apply(configured), agents("801"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestRandomEditsAreAsASetOfAgents compares with the plainest model: a map.
func TestRandomEditsAreAsASetOfAgents(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		configured := agents("801-810")
		model := map[string]string{}
		for _, a := range configured {
			model[a.ID] = a.Channel
		}
		var e Edit
		if seed%2 == 1 {
			e = Edit{Replaced: true}
			clear(model)
		}
		for range 100 {
			a := source.Agent{ID: fmt.Sprint(801 + random.IntN(20)), Channel: []string{"-1", "5"}[random.IntN(2)]}
			if random.IntN(2) == 0 {
				e = e.Put(configured, a)
				model[a.ID] = a.Channel
			} else {
				e = e.Delete(configured, a.ID)
				delete(model, a.ID)
			}
			got := map[string]string{}
			for _, a := range e.Apply(configured) {
				got[a.ID] = a.Channel
			}
			if !reflect.DeepEqual(got, model) {
				t.Fatalf("seed %d: got %v, want %v", seed, got, model)
			}
			if err := e.check(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestEditsAndReplicasSurviveARestart(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, known := s.Split(); known {
		t.Error("a new store knows replicas")
	}
	split := Split{Part: Part{3, 1}, Former: []Part{{2, 1}}, GainsAt: time.Now().Add(time.Minute)}
	want := Edit{Agents: agents("900"), Removed: []string{"801"}}
	if err := errors.Join(s.Set("hq", want), s.Set("branch", Edit{Replaced: true, Agents: agents("1")}),
		s.Set("branch", Edit{}), s.SetSplit(split)); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := again.Edit("hq"); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := again.Edited(); !slices.Equal(got, []string{"hq"}) {
		t.Errorf("edited: %v", got)
	}
	if got, known := again.Split(); !known || !got.equal(split) {
		t.Errorf("replicas: %+v, %v", got, known)
	}
}

func TestADamagedFileIsMovedAsideAndWhatCannotBeWrittenChangesNothing(t *testing.T) {
	for _, text := range []string{"", "{", `{"version": 2}`, `{"version": 1, "sources": {"hq": {"agents": [{"id": "8 1", "channel": "-1"}]}}}`,
		`{"version": 1, "sources": {"hq": {"agents": [{"id": "1", "channel": "2"}, {"id": "1", "channel": "3"}]}}}`, `{"version": 1, "more": 1}`, `{"version": 1, "replicas": {"count": 1000000000, "index": 0}}`} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(dir)
		if s == nil || !errors.Is(err, ErrDamaged) || len(s.Edited()) != 0 {
			t.Fatalf("%q: got %v, %v", text, s, err)
		}
		if kept, err := os.ReadFile(filepath.Join(dir, fileName+".damaged")); err != nil || string(kept) != text {
			t.Errorf("%q: aside is %q, %v", text, kept, err)
		}
		// A directory in the way cannot be replaced by a file.
		if err := os.Mkdir(filepath.Join(dir, fileName), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := s.Set("hq", Edit{Agents: agents("1")}); err == nil || !strings.Contains(err.Error(), "store the edits") || len(s.Edited()) != 0 {
			t.Errorf("set: %v, edited %v", err, s.Edited())
		}
	}
}
