package main

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/callpop/connector/examples/internal/exampletest"
	"github.com/callpop/connector/examples/internal/sqlite"
	"github.com/callpop/connector/internal/kafkatest"
	"github.com/callpop/connector/internal/outputtest"
)

var shared kafkatest.Shared

func TestMain(m *testing.M) { goleak.VerifyTestMain(shared.Around(m)) }

func TestTenThousandCallsAreCountedAsTheyHappened(t *testing.T) {
	s := simulate(t)
	want := s.want()
	all := len(s.pops[0]) + len(s.pops[1]) + len(s.sessions)
	exampletest.EachBroker(t, &shared, func(t *testing.T, b *exampletest.Broker) {
		dir := t.TempDir()
		db, pages := filepath.Join(dir, "analytics.db"), filepath.Join(dir, "pages")
		var out, log outputtest.Output
		start := func() (stop func()) {
			args := append([]string{"-db", db, "-pages", pages, "-every", "1s"}, b.Flags...)
			return exampletest.Start(t, func(ctx context.Context) error { return run(ctx, args, &out, &log) })
		}
		reader, err := sqlite.Open(t.Context(), db, tables)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = reader.Close() }()
		kept := func() (n int) {
			if err := reader.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM pops) + (SELECT count(*) FROM sessions)`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}

		var behind, early []exampletest.Pop
		for i, p := range s.pops[0] {
			if i%40 < 4 {
				behind = append(behind, p) // as a redelivery may come
			} else {
				early = append(early, p)
			}
		}
		slices.Reverse(behind)
		half := len(s.sessions) / 2
		b.Send(t, exampletest.Events(early), 0.1, 1)
		b.Send(t, s.sessions[half:], 0.2, 2)
		stop := start()
		exampletest.Until(t, "some events are kept", func() bool { return kept() > all/8 })
		stop() // with events under way
		b.Send(t, exampletest.Events(early[:len(early)/7]), 0, 3)
		b.Send(t, exampletest.Events(s.pops[1]), 0.1, 4)
		b.Send(t, exampletest.Events(behind), 0.5, 5)
		b.Send(t, s.sessions[:half+10], 0.2, 6)
		stop = start()
		exampletest.Until(t, "all events are kept", func() bool { return kept() >= all })
		stop()
		if n := kept(); n != all {
			t.Errorf("%d events are kept, want %d", n, all)
		}
		for _, question := range slices.Sorted(maps.Keys(want)) {
			checkAnswer(t, reader, question, want[question])
		}
		for day, begins := range s.days {
			s.checkPage(t, filepath.Join(pages, begins.Format(time.DateOnly)+".html"), day)
		}
		if text := log.String(); text != "" {
			t.Errorf("the program logged: %s", text)
		}
		s.checkPrivacy(t, db, pages, out.String())
	})
}

// want is what the simulator says, by the question that is asked of the database.
func (s *simulation) want() map[string]map[string]int {
	const (
		agents       = `SELECT day || ' ' || agent, calls FROM calls_by_agent`
		first        = `SELECT day || ' ' || agent, first FROM calls_by_agent WHERE first > 0`
		quarters     = `SELECT day || ' ' || quarter, calls FROM calls_by_quarter`
		modes        = `SELECT day || ' ' || mode, calls FROM calls_by_mode`
		regions      = `SELECT day || ' ' || region, calls FROM calls_by_region`
		together     = `SELECT agent || ' ' || quarter || ' ' || mode || ' ' || region, count(*) FROM calls GROUP BY 1`
		repeats      = `SELECT day || ' ' || calls || ' times', count(*) FROM repeat_callers GROUP BY 1`
		repeatAgents = `SELECT day || ' ' || region, sum(agents) FROM repeat_callers GROUP BY 1`
		pops         = `SELECT day, sum(pops) FROM calls GROUP BY day`
		seconds      = `SELECT day || ' ' || agent || ' up', cast(up AS INTEGER) FROM availability UNION ALL
			SELECT day || ' ' || agent || ' down', cast(down AS INTEGER) FROM availability UNION ALL
			SELECT day || ' ' || agent || ' drops', drops FROM availability`
	)
	want := map[string]map[string]int{}
	for _, question := range []string{agents, first, quarters, modes, regions, together, repeats, repeatAgents, pops, seconds} {
		want[question] = map[string]int{}
	}
	type who struct{ day, number string }
	times, region, seen := map[who]int{}, map[who]string{}, map[who]map[string]bool{}
	for _, c := range s.calls {
		p := &c.pops[0]
		day := s.days[c.day].Format(time.DateOnly)
		at := p.At.In(s.zone)
		quarter := fmt.Sprintf("%02d:%02d", at.Hour(), at.Minute()-at.Minute()%15)
		mode := string(p.Mode())
		if mode == "" {
			mode = "unknown"
		}
		want[first][day+" "+p.Agent]++
		want[quarters][day+" "+quarter]++
		want[modes][day+" "+mode]++
		want[regions][day+" "+c.region()]++
		want[together][p.Agent+" "+quarter+" "+mode+" "+c.region()]++
		want[pops][day] += len(c.pops)
		had := map[string]bool{}
		for _, p := range c.pops {
			had[p.Agent] = true
		}
		for agent := range had {
			want[agents][day+" "+agent]++
		}
		if number := c.caller(); number != "" {
			w := who{day, number}
			times[w]++
			region[w] = c.region()
			if seen[w] == nil {
				seen[w] = map[string]bool{}
			}
			seen[w][p.Agent] = true
		}
	}
	for w, n := range times {
		if n > 1 {
			want[repeats][fmt.Sprintf("%s %d times", w.day, n)]++
			want[repeatAgents][w.day+" "+region[w]] += len(seen[w])
		}
	}
	for agent := range s.reached {
		for day, begins := range s.days {
			up, down, drops := s.availability(agent, day)
			of := begins.Format(time.DateOnly) + " " + agent
			want[seconds][of+" up"], want[seconds][of+" down"], want[seconds][of+" drops"] = up, down, drops
		}
	}
	return want
}

func checkAnswer(t *testing.T, db *sql.DB, question string, want map[string]int) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), question)
	if err != nil {
		t.Fatalf("%s: %v", question, err)
	}
	defer func() { _ = rows.Close() }()
	got := map[string]int{}
	for rows.Next() {
		var name string
		var n int
		if err := rows.Scan(&name, &n); err != nil {
			t.Fatal(err)
		}
		got[name] += n
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if len(want) < 2 {
		t.Errorf("%s: %d answers are wanted: too few to be a test", question, len(want))
	}
	if maps.Equal(got, want) {
		return
	}
	names := maps.Clone(want)
	maps.Copy(names, got)
	shown := 0
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if got[name] != want[name] && shown < 5 {
			shown++
			t.Errorf("%s: %s: got %d, want %d", question, name, got[name], want[name])
		}
	}
}

// checkPage looks for what the page of a day must say.
func (s *simulation) checkPage(t *testing.T, path string, day int) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	calls := 0
	for _, c := range s.calls {
		if c.day == day {
			calls++
		}
	}
	for _, want := range []string{
		fmt.Sprintf("<dd>%d<small>in %d pops", calls, len(s.pops[day])), "<h1>Calls on " + s.days[day].Format(time.DateOnly),
		"Jiangsu", "江苏", "呼入", "<svg", "09:00",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the page %s lacks %q", path, want)
		}
	}
	// The bars of a quarter say how many calls are in it.
	sum := 0
	for _, says := range regexp.MustCompile(`: (\d+) of \d+ calls are`).FindAllStringSubmatch(string(text), -1) {
		var n int
		_, _ = fmt.Sscan(says[1], &n)
		sum += n
	}
	if sum != calls {
		t.Errorf("the bars of %s say %d calls, want %d", path, sum, calls)
	}
	if outside := regexp.MustCompile(`(src|href)=|@import|url\(`).Find(text); outside != nil {
		t.Errorf("the page needs something from outside: %q", outside)
	}
}

// checkPrivacy looks for customers' numbers in what the program left.
func (s *simulation) checkPrivacy(t *testing.T, db, pages, said string) {
	t.Helper()
	numbers := map[string]bool{}
	for _, c := range s.calls {
		numbers[c.pops[0].Pop.Number] = true
		numbers[strings.TrimPrefix(c.caller(), "+")] = true
	}
	paths, err := filepath.Glob(pages + "/*")
	if err != nil || len(paths) != 2 {
		t.Fatalf("%d pages, want 2: %v", len(paths), err)
	}
	for _, path := range append(paths, db, db+"-wal") {
		text, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		said += string(text)
	}
	for _, digits := range regexp.MustCompile(`[0-9]{10,}`).FindAllString(said, -1) {
		if numbers[digits] {
			t.Fatal("a customer's number is in what the program wrote")
		}
	}
}
