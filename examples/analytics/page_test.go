package main

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/examples/internal/exampletest"
	"github.com/callpop/connector/internal/browsertest"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/schema/consume"
)

// open makes an empty database.
func open(t *testing.T, o storeOptions) *store {
	t.Helper()
	if o.zone == nil {
		o.zone = time.UTC
	}
	o.idle = max(o.idle, 2*time.Hour)
	s, err := openStore(t.Context(), filepath.Join(t.TempDir(), "analytics.db"), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.close() })
	return s
}

// take has the store take events.
func take(t *testing.T, s *store, all []schema.Event) {
	t.Helper()
	var deliveries []*consume.Delivery
	for _, e := range all {
		header := map[string][]string{}
		for name, value := range e.NATSHeaders() {
			header[name] = []string{value}
		}
		d, err := consume.FromNATS(header, e.Body)
		if err != nil {
			t.Fatal(err)
		}
		deliveries = append(deliveries, &d)
	}
	if err := s.add(t.Context(), deliveries); err != nil {
		t.Fatal(err)
	}
}

// plot plots what has changed, when all days are over, and returns the pages' paths.
func plot(t *testing.T, s *store) (paths []string) {
	t.Helper()
	return plotAt(t, s, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC))
}

func plotAt(t *testing.T, s *store, now time.Time) (paths []string) {
	t.Helper()
	p := &plotter{store: s, dir: t.TempDir(), now: func() time.Time { return now }, written: func(path string) { paths = append(paths, path) }}
	if err := p.plot(t.Context()); err != nil {
		t.Fatal(err)
	}
	return paths
}

func TestADayLooksRightInABrowser(t *testing.T) {
	browser := browsertest.Start(t)
	simulated := simulate(t)
	s := open(t, storeOptions{zone: simulated.zone})
	take(t, s, exampletest.Events(simulated.pops[1]))
	take(t, s, simulated.sessions)
	paths := plot(t, s)
	path := paths[len(paths)-1]
	for _, look := range []struct {
		name string
		browsertest.Look
	}{
		{"light", browsertest.Look{Width: 1280, Height: 2700}},
		{"dark", browsertest.Look{Width: 1280, Height: 2700, Dark: true, Language: "zh-CN"}},
		{"phone", browsertest.Look{Width: 390, Height: 3400}},
	} {
		p := browser.Open("file://"+path, look.Look)
		p.Picture(look.name)
		if said := p.Errors(); said != nil {
			t.Errorf("%s: the page's console: %q", look.name, said)
		}
		if wide := browsertest.Get[int](p, "document.documentElement.scrollWidth"); wide > int(look.Width) {
			t.Errorf("%s: the page is %d wide, the window %d", look.name, wide, look.Width)
		}
		for element, want := range map[string]int{
			"svg": 2, "h2": 6, "tr": 4, "svg rect.up": 12, "svg rect.down": 12, "svg rect.c1": 2, "svg title": 12,
		} {
			if n := browsertest.Get[int](p, "document.querySelectorAll('"+element+"').length"); n < want {
				t.Errorf("%s: %d elements are %s, want %d or more", look.name, n, element, want)
			}
		}
		if cut := browsertest.Get[string](p, `[...document.querySelectorAll('svg')].flatMap(svg => {
			const all = svg.getBoundingClientRect()
			return [...svg.querySelectorAll('text, rect')].filter(e => {
				const r = e.getBoundingClientRect()
				return r.left < all.left - 1 || r.right > all.right + 1 || r.top < all.top - 1 || r.bottom > all.bottom + 1
			}).map(e => e.textContent)
		}).join()`); cut != "" {
			t.Errorf("%s: beyond the drawing's edge: %s", look.name, cut)
		}
	}
}

func TestWhatIsWrittenOnAPageIsText(t *testing.T) {
	s := open(t, storeOptions{})
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	for i, agent := range []string{`<script>alert("1")</script>`, `"><b>`} {
		e := exampletest.Session(agent, at, schema.Connected)
		take(t, s, []schema.Event{e})
		p := exampletest.Simulate(t, exampletest.Options{Agents: []string{"801"}, Pops: 20, Seed: 1, Start: at})[i].CallPop
		p.Agent.ID, p.Server = agent, agent
		take(t, s, []schema.Event{p.Event()})
	}
	text := read(t, plot(t, s)[0])
	for _, bad := range []string{"<script", "<b>", "ZgotmplZ", "NaN", "Inf"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if !strings.Contains(text, "&lt;script&gt;") {
		t.Error("the page lacks the agent")
	}
}
