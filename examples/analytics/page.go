package main

import (
	"cmp"
	_ "embed"
	"fmt"
	"html/template"
	"slices"
	"strings"
	"time"
)

//go:embed page.html
var pageHTML string

func pageTemplate() *template.Template {
	return template.Must(template.New("page").Funcs(template.FuncMap{
		"chinese": chinese,
		"words":   func(name string) string { return strings.ReplaceAll(name, "_", " ") },
		"clock":   func(at time.Time) string { return at.Format("15:04") },
		"percent": func(share float64) string { return fmt.Sprintf("%.1f %%", 100*share) },
	}).Parse(pageHTML))
}

// How much of each a page shows.
const (
	shownCallers = 20
	shownAgents  = 20
	shownRegions = 15
	shownPeople  = 40 // in the plot of availability
)

// page is what the template gets of a report.
type page struct {
	Day, Zone, Servers   string
	Until                string // empty for a whole day
	Calls, Pops          int
	Callers, Again       int
	Available            float64
	Quarters             quarterChart
	Presence             presenceChart
	Agents               []bar
	Modes, Regions       []bar
	Repeats              []repeatCaller
	OtherAgents, OtherUp int
}

// bar is a line of a table: of First and Rest, its bar shows the shares in percent.
type bar struct {
	Name        string
	Calls       int
	First, Rest int
	FirstShare  float64
	RestShare   float64
	Class       string // its colour, where there is a legend
}

func newPage(r *report) *page {
	p := &page{
		Day: r.day, Zone: r.from.Location().String(), Servers: strings.Join(r.servers, ", "),
		Calls: r.calls, Pops: r.pops, Callers: r.callers, Again: r.again, Repeats: r.repeats,
	}
	if !r.over() {
		p.Until = r.to.In(r.from.Location()).Format("15:04")
	}
	colours := newColours(r.modes)
	p.Quarters = newQuarterChart(r, colours)
	p.Presence = newPresenceChart(r)
	p.OtherUp = max(0, len(r.presences)-shownPeople)
	p.Available = available(r.presences)
	p.Agents, p.OtherAgents = agentBars(r)
	p.Modes = bars(r.modes, len(r.modes))
	for i := range p.Modes {
		p.Modes[i].Class = colours.of(p.Modes[i].Name)
	}
	p.Regions = bars(r.regions, shownRegions)
	return p
}

// available is the share of all agents' time together.
func available(all []presence) float64 {
	var reached, known float64
	for _, p := range all {
		reached += p.seconds(up)
		known += p.seconds(up) + p.seconds(down)
	}
	return reached / cmp.Or(known, 1)
}

// bars are the first of the counts, and the others in one.
func bars(all []count, limit int) []bar {
	greatest := 1
	for _, c := range all {
		greatest = max(greatest, c.Calls)
	}
	var of []bar
	others := bar{Name: fmt.Sprintf("%d others", len(all)-limit)}
	for i, c := range all {
		if i >= limit {
			others.Calls += c.Calls
			continue
		}
		of = append(of, bar{Name: c.Name, Calls: c.Calls, First: c.Calls, FirstShare: 100 * float64(c.Calls) / float64(greatest)})
	}
	if others.Calls > 0 {
		others.First, others.FirstShare = others.Calls, 100*min(1, float64(others.Calls)/float64(greatest))
		of = append(of, others)
	}
	return of
}

// agentBars are the agents with most calls, and how many others there are.
func agentBars(r *report) (of []bar, others int) {
	for i, a := range r.agents {
		if i == shownAgents {
			return of, len(r.agents) - i
		}
		greatest := float64(r.agents[0].calls)
		of = append(of, bar{
			Name: r.name(a.agent), Calls: a.calls, First: a.first, Rest: a.calls - a.first,
			FirstShare: 100 * float64(a.first) / greatest, RestShare: 100 * float64(a.calls-a.first) / greatest,
		})
	}
	return of, 0
}

// name is the agent's, with the server's where there are several.
func (r *report) name(a agent) string {
	if len(r.servers) > 1 {
		return a.server + "/" + a.id
	}
	return a.id
}

// colours are the classes of the modes, the commonest first; the last is for all
// others.
type colours []string

const colourCount = 6

func newColours(modes []count) colours {
	var c colours
	for _, m := range modes {
		if len(c) < colourCount-1 && m.Name != unknown {
			c = append(c, m.Name)
		}
	}
	return c
}

func (c colours) of(mode string) string {
	i := slices.Index(c, mode)
	if i < 0 {
		i = colourCount - 1
	}
	return fmt.Sprintf("c%d", i+1)
}
