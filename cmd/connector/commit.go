package main

import (
	"context"
	"slices"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/telemetry"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/callback"
	"github.com/callpop/connector/source/relay"
	"github.com/callpop/connector/source/session"
)

// commitSettings puts in force what belongs to no source and no sink.
func (d *daemon) commitSettings(next *config.Config) {
	telemetry.SetLevel(d.level, next.Log)
	d.admin.SetToken(next.HTTP.AdminToken)
	d.intake.SetBuffer(next.Intake.BufferBytes)
}

// commitSources dismisses the sources that next has not, changes those that it
// has, and starts the ones that are new.
func (d *daemon) commitSources(next *config.Config, made []*supply, cause string) {
	d.mu.Lock()
	var stay, leave []*supply
	for _, s := range d.sources {
		if slices.ContainsFunc(next.Sources, func(c config.Source) bool { return c.Name == s.name }) {
			stay = append(stay, s)
		} else {
			leave = append(leave, s)
		}
	}
	d.sources = slices.Concat(stay, made)
	d.mu.Unlock()
	var dismissed []*session.Source
	for _, s := range leave {
		d.reloading.sources.dismiss(s.name, &s.task, func() {})
		if held, ok := s.source.(*session.Source); ok {
			dismissed = append(dismissed, held)
		}
	}
	d.changeSources(next, dismissed, cause)
	// An agent of a source that goes may be one of a source that comes.
	before := d.reloading.sources.departing()
	for _, s := range made {
		if held, ok := s.source.(*session.Source); ok && !d.desk.drained().IsZero() {
			held.Fleet().Drain()
		}
		d.reloading.sources.start(s.name, &s.task, s.source.Run, before...)
	}
}

// changeSources gives each running source what next has for it.
func (d *daemon) changeSources(next *config.Config, dismissed []*session.Source, cause string) {
	d.setDialRates(next)
	wanted, held := rosters(next, d.desk.whole(next), d.desk.holds()), d.held()
	d.declareOverlaps(next, held)
	d.letGo(next, wanted, held, dismissed, cause)
	for _, s := range d.openSources() {
		i := slices.IndexFunc(next.Sources, func(c config.Source) bool { return c.Name == s.name })
		var err error
		switch c := next.Sources[i].Config.(type) {
		case *session.Config:
			_, err = held[s.name].Update(*c, wanted[s.name], cause)
		case *relay.Config:
			if running, ok := s.source.(*relay.Source); ok {
				err = running.Update(*c)
			}
		case *callback.Config:
			if running, ok := s.source.(*callback.Source); ok {
				err = running.Update(*c)
			}
		}
		if err != nil {
			// The configuration was checked, so this is a defect; the others go on.
			d.log.Error("a source keeps its settings", "source", s.name, "error", err)
		}
	}
}

// setDialRates changes the pace of each address: the first source on it says.
func (d *daemon) setDialRates(next *config.Config) {
	set := map[string]bool{}
	for _, s := range sessionsOf(next) {
		if limiter := d.sharing.rates[s.Address]; limiter != nil && !set[s.Address] {
			source.SetDialRate(limiter, s.DialRate)
			set[s.Address] = true
		}
	}
}

// commitSinks dismisses the sinks that next has not or that have a successor, and
// starts those that were made.
func (d *daemon) commitSinks(next *config.Config, made []*delivery) {
	d.mu.Lock()
	var stay, leave []*delivery
	for _, s := range d.sinks {
		configured := slices.ContainsFunc(next.Sinks, func(c config.Sink) bool { return c.Name == s.name })
		if configured && !slices.ContainsFunc(made, func(m *delivery) bool { return m.name == s.name }) {
			stay = append(stay, s)
		} else {
			leave = append(leave, s)
		}
	}
	d.sinks = slices.Concat(stay, made)
	d.mu.Unlock()
	for _, s := range leave {
		d.reloading.sinks.dismiss(s.name, &s.task, func() { d.closeSink(s) })
	}
	for _, s := range made {
		d.reloading.sinks.start(s.name, &s.task, s.forwarder.Run)
	}
}

// closeSink closes a sink that nothing uses any more.
func (d *daemon) closeSink(s *delivery) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTime)
	defer cancel()
	if err := s.sink.Close(ctx); err != nil {
		d.log.Warn("closing sink "+s.name, "error", err)
	}
}
