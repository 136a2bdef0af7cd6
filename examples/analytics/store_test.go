package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/examples/internal/exampletest"
	"github.com/callpop/connector/schema"
)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// popAt is a pop of one call at a time.
func popAt(t *testing.T, at time.Time, agent string) schema.Event {
	t.Helper()
	p := exampletest.Simulate(t, exampletest.Options{Agents: []string{"801"}, Pops: 1, Seed: 1, Start: at})[0].CallPop
	p.ID, p.ReceivedAt, p.Agent.ID = schema.NewID(at), at, agent
	return p.Event()
}

// began tells the calls' first agents and how many pops each has.
func began(t *testing.T, s *store) (all []string) {
	t.Helper()
	rows, err := s.db.QueryContext(t.Context(), `SELECT day || ' ' || quarter || ' ' || agent || ' ' || pops FROM calls ORDER BY began`)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = rows.Close() }()
	for rows.Next() {
		var one string
		if err := rows.Scan(&one); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}

func TestALatePopJoinsTwoCallsOfWhichEachIsOne(t *testing.T) {
	at := time.Date(2026, 11, 23, 22, 59, 59, 0, time.UTC)
	s := open(t, storeOptions{})
	first, last, middle := popAt(t, at, "801"), popAt(t, at.Add(3*time.Hour), "802"), popAt(t, at.Add(90*time.Minute), "803")
	take(t, s, []schema.Event{last, first, last})
	if got, want := began(t, s), []string{"2026-11-23 22:45 801 1", "2026-11-24 01:45 802 1"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if pages := plot(t, s); len(pages) != 2 {
		t.Errorf("%d pages are plotted, want 2", len(pages))
	}
	take(t, s, []schema.Event{middle})
	if got, want := began(t, s), []string{"2026-11-23 22:45 801 3"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	pages := plot(t, s)
	if len(pages) != 2 {
		t.Fatalf("%d pages are plotted, want 2: both days have changed", len(pages))
	}
	if text := read(t, pages[1]); !strings.Contains(text, "<dd>0<small>in 0 pops") || strings.Contains(text, "NaN") {
		t.Error("the second day has calls")
	}
	take(t, s, []schema.Event{middle, first})
	if pages := plot(t, s); pages != nil {
		t.Errorf("%q are plotted, and nothing has changed", pages)
	}
}

func TestWhatIsOldIsDeleted(t *testing.T) {
	s := open(t, storeOptions{keep: 48 * time.Hour})
	now := time.Now()
	take(t, s, []schema.Event{
		popAt(t, now.Add(-72*time.Hour), "801"), popAt(t, now.Add(-24*time.Hour), "801"), popAt(t, now.Add(-47*time.Hour), "801"),
		exampletest.Session("801", now.Add(-47*time.Hour), schema.Connecting), exampletest.Session("801", now.Add(-46*time.Hour), schema.Connected),
		exampletest.Session("802", now.Add(-46*time.Hour), schema.Connected),
	})
	if n := len(began(t, s)); n != 2 {
		t.Errorf("%d calls are kept, want 2: one was older than is kept", n)
	}
	if err := s.deleteBefore(t.Context(), now.Add(-36*time.Hour)); err != nil {
		t.Fatal(err)
	}
	var pops, sessions int
	if err := s.db.QueryRowContext(t.Context(), `SELECT (SELECT count(*) FROM pops), (SELECT count(*) FROM sessions)`).Scan(&pops, &sessions); err != nil {
		t.Fatal(err)
	}
	if calls := len(began(t, s)); pops != 1 || calls != 1 || sessions != 2 {
		t.Errorf("%d pops, %d calls and %d sessions are left, want 1, 1 and each agent's last session", pops, calls, sessions)
	}
}

func TestADatabaseIsOfOneTimezone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "analytics.db")
	o := storeOptions{zone: time.UTC, idle: time.Hour}
	for range 2 {
		s, err := openStore(t.Context(), path, o)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.close(); err != nil {
			t.Fatal(err)
		}
	}
	o.zone = time.FixedZone("Mars", 60)
	if _, err := openStore(t.Context(), path, o); err == nil || !strings.Contains(err.Error(), "it was made with -timezone UTC: expected the same, not Mars") {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsWrongWithTheCommandLineIsSaid(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"calls"}, `argument "calls": expected flags alone`},
		{[]string{"-timezone", "Mars"}, `-timezone is "Mars": expected a name such as Asia/Shanghai or UTC`},
		{[]string{"-timezone", ""}, `-timezone is "": expected a name`},
		{[]string{"-every", "0s"}, "-every is 0s: expected more than nothing"},
		{[]string{"-idle", "-1s"}, "-idle is -1s: expected more than nothing"},
		{[]string{"-keep", "1h"}, "-keep is 1h0m0s: expected 0, or a day"},
		{[]string{"-pages", "/dev/null/x"}, "make the pages' directory"},
		{[]string{"-pages", os.TempDir(), "-db", os.TempDir()}, "open database " + os.TempDir()},
		{[]string{"-nats", "nats://127.0.0.1:1"}, "connect to NATS at nats://127.0.0.1:1"},
	} {
		dir := t.TempDir()
		args := append([]string{"-db", filepath.Join(dir, "a.db"), "-pages", filepath.Join(dir, "pages")}, test.args...)
		err := run(t.Context(), args, io.Discard, io.Discard)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %s", test.args, err, test.want)
		}
	}
}

func TestAPageThatCannotBeWrittenIsPlottedLater(t *testing.T) {
	s := open(t, storeOptions{})
	take(t, s, []schema.Event{popAt(t, time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC), "801")})
	p := &plotter{store: s, dir: filepath.Join(t.TempDir(), "gone"), now: time.Now, written: func(string) { t.Error("a page is said to be written") }}
	if err := p.plot(context.Background()); err == nil {
		t.Fatal("no error where the directory is gone")
	}
	if pages := plot(t, s); len(pages) != 1 {
		t.Errorf("%d pages are plotted, want 1", len(pages))
	}
}

func TestADayThatHasEndedIsPlottedAsAWhole(t *testing.T) {
	s := open(t, storeOptions{})
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	take(t, s, []schema.Event{exampletest.Session("801", at, schema.Connected)})
	for _, step := range []struct {
		now   time.Time
		pages int
		up    float64 // hours
	}{
		{at.Add(time.Hour), 1, 1}, {at.Add(2 * time.Hour), 0, 1}, {at.Add(15*time.Hour - 1), 0, 1}, {at.Add(15 * time.Hour), 1, 15}, {at.Add(20 * time.Hour), 0, 15},
	} {
		pages := plotAt(t, s, step.now)
		if len(pages) != step.pages {
			t.Fatalf("at %v: %d pages are plotted, want %d", step.now, len(pages), step.pages)
		}
		var up float64
		if err := s.db.QueryRowContext(t.Context(), `SELECT up / 3600 FROM availability`).Scan(&up); err != nil || up != step.up {
			t.Errorf("at %v: up for %g hours, want %g: %v", step.now, up, step.up, err)
		}
		if refreshes := len(pages) == 1 && strings.Contains(read(t, pages[0]), `http-equiv="refresh"`); refreshes != (step.pages == 1 && step.up < 15) {
			t.Errorf("at %v: the page loads itself again: %t", step.now, refreshes)
		}
	}
}

func TestAGapThatReachesBackChangesTheDaysBefore(t *testing.T) {
	s := open(t, storeOptions{})
	at := time.Date(2026, 11, 23, 20, 0, 0, 0, time.UTC)
	take(t, s, []schema.Event{exampletest.Session("801", at.Add(-10*time.Hour), schema.Connected), popAt(t, at.Add(24*time.Hour), "801")})
	if pages := plot(t, s); len(pages) != 2 {
		t.Fatalf("%d pages are plotted, want 2", len(pages))
	}
	back := schema.SessionChanged{
		ID: schema.NewID(at), Version: schema.Version, Server: exampletest.Server, Agent: "801", State: schema.Connected,
		OCXCode: schema.Connected.OCXCode(), At: at.Add(48 * time.Hour), Gap: &schema.Gap{From: at, To: at.Add(48 * time.Hour)},
		Source: schema.Source{Type: "session", Name: exampletest.Server},
	}
	take(t, s, []schema.Event{back.Event()})
	if pages := plot(t, s); len(pages) != 3 {
		t.Errorf("%d pages are plotted, want 3", len(pages))
	}
	checkAnswer(t, s.db, `SELECT day, cast(down / 3600 AS INTEGER) FROM availability`, map[string]int{"2026-11-23": 4, "2026-11-24": 24, "2026-11-25": 20})
}

func TestAvailabilityIsUpOutsideGaps(t *testing.T) {
	at := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	hour := func(h int) time.Time { return at.Add(time.Duration(h) * time.Hour) }
	gap := func(from, to int) *schema.Gap { return &schema.Gap{From: hour(from), To: hour(to)} }
	for name, test := range map[string]struct {
		changes []change
		want    string
	}{
		"nothing is known":                   {nil, "off 0-24"},
		"up since the day before":            {[]change{{hour(-5), schema.Connected, nil}}, "up 0-24"},
		"closed":                             {[]change{{hour(-5), schema.Connected, nil}, {hour(18), schema.Closed, nil}}, "up 0-18 off 18-24"},
		"the first session":                  {[]change{{hour(8), schema.Connecting, nil}, {hour(9), schema.Connected, gap(8, 9)}}, "off 0-8 down 8-9 up 9-24"},
		"found out late":                     {[]change{{hour(1), schema.Connected, nil}, {hour(6), schema.Expired, nil}, {hour(7), schema.Connected, gap(5, 7)}}, "off 0-1 up 1-5 down 5-7 up 7-24"},
		"an overflow":                        {[]change{{hour(1), schema.Connected, nil}, {hour(7), schema.Connected, gap(5, 6)}}, "off 0-1 up 1-5 down 5-6 up 6-24"},
		"a gap over both midnights":          {[]change{{hour(-3), schema.Connected, nil}, {hour(30), schema.Connected, gap(-2, 30)}}, "down 0-24"},
		"a gap that began before the report": {[]change{{hour(2), schema.Connected, gap(-2, 2)}}, "down 0-2 up 2-24"},
		"two at once":                        {[]change{{hour(2), schema.Connecting, nil}, {hour(2), schema.Connected, gap(2, 2)}}, "off 0-2 up 2-24"},
		"after the report":                   {[]change{{hour(25), schema.Connecting, nil}}, "off 0-24"},
	} {
		var got []string
		for _, s := range follow(test.changes, at, hour(24)) {
			got = append(got, fmt.Sprintf("%s %g-%g", s.Reach, s.From.Sub(at).Hours(), s.To.Sub(at).Hours()))
		}
		if text := strings.Join(got, " "); text != test.want {
			t.Errorf("%s: got %s, want %s", name, text, test.want)
		}
	}
}

func TestARegionIsAProvinceOrACountry(t *testing.T) {
	for number, want := range map[string]string{
		"": "unknown", "+": "unknown", "10086": "unknown", "+999999999999999999": "unknown",
		"+862586307627": "Jiangsu", "+861086307627": "Beijing", "+8613812345678": "Jiangsu", "+864001234567": "China, other",
		"+865512345678": "Anhui", "+8647112345678": "Inner Mongolia", "+14155552671": "United States", "+85221234567": "Hong Kong SAR China",
	} {
		if got := regionOf(number); got != want {
			t.Errorf("%q: got %q, want %q", number, got, want)
		}
	}
}

func TestACallerIsKnownAgainAndNotByTheNumber(t *testing.T) {
	one := newCaller([]byte("secret"), schema.Customer{Number: "013812345678", E164: "+8613812345678"})
	two := newCaller([]byte("secret"), schema.Customer{Number: "13812345678", E164: "+8613812345678"})
	other := newCaller([]byte("another"), schema.Customer{Number: "13812345678", E164: "+8613812345678"})
	if one != two || one.id == other.id || one.shown != "+861****5678" {
		t.Errorf("got %+v, %+v and %+v", one, two, other)
	}
	for _, withheld := range []string{"", "anonymous"} {
		if got := newCaller(nil, schema.Customer{Number: withheld}); got != (caller{region: "unknown"}) {
			t.Errorf("%q: got %+v", withheld, got)
		}
	}
}
