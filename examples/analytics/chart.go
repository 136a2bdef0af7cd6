package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"
)

// The plots' measures, in units of the drawing.
const (
	plotWidth   = 1000.0
	plotLeft    = 60.0
	barsRight   = 30.0 // room for half of the last hour's name
	lanesRight  = 110.0
	barsHeight  = 240.0
	barsTop     = 28.0
	laneHeight  = 20.0
	axisHeight  = 44.0
	fewestHours = 3
)

// timeAxis is a part of a day, in whole hours.
type timeAxis struct {
	from, to time.Time
	end      float64 // where it ends in the drawing
	Ticks    []tick
}

// span is the time from the first to the last of what is seen.
type span struct{ first, last time.Time }

func (s *span) see(from, to time.Time) {
	if s.first.IsZero() {
		s.first, s.last = from, to
	}
	s.first, s.last = earlier(s.first, from), later(s.last, to)
}

// tick is a place on an axis.
type tick struct {
	At    float64
	Label string
}

// newTimeAxis makes the axis of what is seen of a report's day.
func newTimeAxis(r *report, seen span, right float64) timeAxis {
	end := r.from.AddDate(0, 0, 1)
	if seen.first.IsZero() {
		seen = span{r.from, end}
	}
	a := timeAxis{from: seen.first.Truncate(time.Hour), to: later(seen.last, seen.first.Add(time.Hour*fewestHours)), end: plotWidth - right}
	if whole := a.to.Truncate(time.Hour); whole.Before(a.to) {
		a.to = whole.Add(time.Hour)
	}
	a.to = earlier(a.to, end)
	a.from = later(earlier(a.from, a.to.Add(-time.Hour*fewestHours)), r.from)
	hours := int(a.to.Sub(a.from).Hours())
	for h := 0; h <= hours; h++ {
		if step := 1 + hours/14; h%step == 0 || h == hours {
			at := a.from.Add(time.Duration(h) * time.Hour)
			label := at.In(r.from.Location()).Format("15:04")
			if at.Equal(end) {
				label = "24:00"
			}
			a.Ticks = append(a.Ticks, tick{a.x(at), label})
		}
	}
	return a
}

// clock is a time of the report's day.
func (r *report) clock(quarter string) time.Time {
	at, err := time.ParseInLocation(time.DateOnly+" 15:04", r.day+" "+quarter, r.from.Location())
	if err != nil {
		return r.from
	}
	return at
}

// x is where a time is in the drawing.
func (a *timeAxis) x(at time.Time) float64 {
	share := at.Sub(a.from).Seconds() / a.to.Sub(a.from).Seconds()
	return round(plotLeft + (a.end-plotLeft)*min(1, max(0, share)))
}

// round to what a drawing can show.
func round(v float64) float64 { return math.Round(v*100) / 100 }

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// rect is a rectangle that says what it stands for.
type rect struct {
	X, Y, Width, Height float64
	Class, Says         string
}

// quarterChart is the plot of calls by quarter of an hour, their modes stacked.
type quarterChart struct {
	Width, Height, Left, Right, Bottom float64
	Ticks                              []tick // of the calls
	Hours                              []tick
	Bars                               []rect
	Legend                             []legend
}

type legend struct{ Class, Name string }

func newQuarterChart(r *report, of colours) quarterChart {
	var seen span
	for _, q := range r.quarters {
		seen.see(r.clock(q.quarter), r.clock(q.quarter).Add(15*time.Minute))
	}
	x := newTimeAxis(r, seen, barsRight)
	c := quarterChart{
		Width: plotWidth, Height: barsTop + barsHeight + axisHeight, Left: plotLeft, Right: x.end,
		Bottom: barsTop + barsHeight, Hours: x.Ticks,
	}
	sums := map[string]int{}
	most := 1
	for _, q := range r.quarters {
		sums[q.quarter] += q.calls
		most = max(most, sums[q.quarter])
	}
	step := niceStep(most)
	top := (most + step - 1) / step * step
	y := func(calls int) float64 { return round(c.Bottom - barsHeight*float64(calls)/float64(top)) }
	for calls := 0; calls <= top; calls += step {
		c.Ticks = append(c.Ticks, tick{y(calls), fmt.Sprint(calls)})
	}
	order := slices.Clone(r.quarters)
	slices.SortStableFunc(order, func(a, b quarterCount) int {
		return cmp.Or(cmp.Compare(a.quarter, b.quarter), cmp.Compare(of.of(a.mode), of.of(b.mode)))
	})
	stacked := map[string]int{}
	for _, q := range order {
		from := r.clock(q.quarter)
		to := from.Add(15 * time.Minute)
		below := stacked[q.quarter]
		stacked[q.quarter] += q.calls
		const gap = 0.08 // of a bar's width, on either side
		left, right := x.x(from), x.x(to)
		c.Bars = append(c.Bars, rect{
			X: round(left + gap*(right-left)), Width: round((1 - 2*gap) * (right - left)),
			Y: y(below + q.calls), Height: round(y(below) - y(below+q.calls)), Class: of.of(q.mode),
			Says: fmt.Sprintf("%s–%s: %d of %d calls are %s", q.quarter, to.Format("15:04"), q.calls, sums[q.quarter], q.mode),
		})
	}
	others := false
	for _, m := range r.modes {
		if class := of.of(m.Name); !slices.Contains(of, m.Name) {
			others = true
		} else {
			c.Legend = append(c.Legend, legend{class, m.Name})
		}
	}
	if others {
		name := unknown
		if len(r.modes) > len(of)+1 {
			name = "others"
		}
		c.Legend = append(c.Legend, legend{of.of(unknown), name})
	}
	return c
}

// niceStep is 1, 2 or 5 and zeros, for about five steps.
func niceStep(most int) int {
	for unit := 1; ; unit *= 10 {
		for _, n := range []int{1, 2, 5} {
			if step := n * unit; most <= 5*step {
				return step
			}
		}
	}
}

// presenceChart is the plot of when agents could be reached.
type presenceChart struct {
	Width, Height, Left, Right, Top, Bottom float64
	Hours                                   []tick
	Lanes                                   []lane
}

// lane is one agent's day.
type lane struct {
	Name      string
	Y, Middle float64
	Share     float64
	Drops     int
	Parts     []rect
}

func newPresenceChart(r *report) presenceChart {
	var seen span
	for _, p := range r.presences {
		for _, s := range p.stretches {
			if s.Reach != off {
				seen.see(s.From, s.To)
			}
		}
	}
	x := newTimeAxis(r, seen, lanesRight)
	c := presenceChart{Width: plotWidth, Left: plotLeft, Right: x.end, Top: barsTop, Hours: x.Ticks}
	all := slices.Clone(r.presences)
	slices.SortStableFunc(all, func(a, b presence) int { return cmp.Compare(a.share(), b.share()) })
	for i, p := range all[:min(len(all), shownPeople)] {
		l := lane{Name: r.name(p.agent), Y: barsTop + float64(i)*laneHeight, Share: p.share(), Drops: p.drops()}
		l.Middle = l.Y + laneHeight/2
		for _, s := range p.stretches {
			if s.Reach == off {
				continue
			}
			left, right := x.x(s.From), x.x(s.To)
			l.Parts = append(l.Parts, rect{
				// However short it was, it can be seen.
				X: left, Width: round(max(right-left, 1)), Y: l.Y + 3, Height: laneHeight - 6, Class: string(s.Reach),
				Says: fmt.Sprintf("%s: %s %s–%s", l.Name, s.Reach, s.From.In(r.from.Location()).Format(time.TimeOnly), s.To.In(r.from.Location()).Format(time.TimeOnly)),
			})
		}
		// A short break is drawn over what was up after it.
		slices.SortStableFunc(l.Parts, func(a, b rect) int { return -cmp.Compare(a.Class, b.Class) })
		c.Lanes = append(c.Lanes, l)
	}
	c.Bottom = barsTop + float64(len(c.Lanes))*laneHeight
	c.Height = c.Bottom + axisHeight
	return c
}

// Span is how wide the plot is between its ends.
func (c presenceChart) Span() float64 { return c.Right - c.Left }
