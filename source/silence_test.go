package source

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
)

// listeners are the sessions of one server, up since start.
func listeners(t testing.TB, s *silence, n int, start time.Time) []*Origin {
	t.Helper()
	all := make([]*Origin, n)
	for i := range all {
		all[i] = testOrigin(t, fmt.Sprint(801+i))
		s.session(all[i], schema.Connecting, start)
		s.session(all[i], schema.Connected, start)
	}
	return all
}

func TestASessionWithoutPopsIsSilentOnceItsPeersHaveHadTwenty(t *testing.T) {
	start := time.Now()
	for _, c := range []struct {
		name  string
		pops  int           // for each of the peers
		after time.Duration // since the sessions came up
		want  int
	}{
		{"nobody gets any", 0, time.Hour, 0},
		{"too few pops to tell", 19, time.Hour, 0},
		{"too little time to tell", 1000, 14 * time.Minute, 0},
		{"the others get theirs", 23, 16 * time.Minute, 1},
	} {
		s := newSilence()
		all := listeners(t, s, 10, start)
		for i := range c.pops {
			for _, peer := range all[1:] {
				s.popped(peer, start.Add(c.after*time.Duration(i+1)/time.Duration(c.pops)))
			}
		}
		s.look(start.Add(c.after))
		if got := s.counts()["hq"]; got != c.want {
			t.Errorf("%s: %d silent, want %d", c.name, got, c.want)
		}
	}
}

func TestAPopOrTheEndOfASessionEndsItsSilence(t *testing.T) {
	start := time.Now()
	for name, end := range map[string]func(*silence, *Origin){
		"a pop":        func(s *silence, o *Origin) { s.popped(o, start.Add(time.Hour)) },
		"reconnecting": func(s *silence, o *Origin) { s.session(o, schema.Reconnecting, start.Add(time.Hour)) },
		"the roster":   func(s *silence, o *Origin) { s.session(o, schema.Closed, start.Add(time.Hour)) },
		"another object": func(s *silence, o *Origin) {
			s.popped(&Origin{Type: o.Type, Name: o.Name, Server: o.Server, Agent: o.Agent}, start.Add(time.Hour))
		},
	} {
		s := newSilence()
		all := listeners(t, s, 3, start)
		for range 100 {
			s.popped(all[1], start.Add(30*time.Minute))
			s.popped(all[2], start.Add(30*time.Minute))
		}
		found := s.look(start.Add(30 * time.Minute))
		if again := s.look(start.Add(31 * time.Minute)); s.counts()["hq"] != 1 || len(found) != 1 || len(again) != 0 {
			t.Fatalf("%s: %d silent, found %v, then %v", name, s.counts()["hq"], found, again)
		}
		end(s, all[0])
		s.look(start.Add(time.Hour))
		if got := s.counts()["hq"]; got != 0 {
			t.Errorf("%s: %d silent, want none", name, got)
		}
	}
}

func TestAGapReportedWithinASessionDoesNotCountItTwice(t *testing.T) {
	s, start := newSilence(), time.Now()
	o := listeners(t, s, 1, start)[0]
	s.session(o, schema.Connected, start.Add(time.Minute))
	if got := s.servers["hq"].up; got != 1 {
		t.Errorf("%d sessions are up, want 1", got)
	}
	s.session(o, schema.Closed, start.Add(time.Minute))
	s.session(o, schema.Closed, start.Add(time.Minute))
	if got := s.servers["hq"].up; got != 0 || len(s.sources) != 0 {
		t.Errorf("%d sessions are up, %d known, want none", got, len(s.sources))
	}
}

func TestSilenceIsLoggedOnceAndSoIsItsEnd(t *testing.T) {
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, nil))
	s, start, before := newSilence(), time.Now(), map[string]int{}
	all := listeners(t, s, 100, start)
	for range 50 {
		for _, o := range all[40:] {
			s.popped(o, start.Add(time.Hour))
		}
	}
	for range 3 {
		s.report(s.look(start.Add(time.Hour)), before, logger)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), `sessions=40 agents="801 802 803`) {
		t.Errorf("logged %s", log.String())
	}
	for _, o := range all[:40] {
		s.popped(o, start.Add(time.Hour))
	}
	for range 3 {
		s.report(s.look(start.Add(time.Hour)), before, logger)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 2 || !strings.Contains(log.String(), "no session is silent any more") {
		t.Errorf("logged %s", log.String())
	}
}

// BenchmarkSilence is what a pop and a look cost with ten thousand sessions.
func BenchmarkSilence(b *testing.B) {
	s, start := newSilence(), time.Now()
	all := listeners(b, s, 10_000, start)
	b.Run("pop", func(b *testing.B) {
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			s.popped(all[i%len(all)], start)
			i += 7919
		}
	})
	b.Run("look", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.look(start)
		}
	})
}
