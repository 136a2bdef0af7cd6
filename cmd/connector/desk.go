package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/roster"
	"github.com/callpop/connector/source/session"
)

// desk decides which agents' sessions are held here: what is configured, what
// files have, what was set by HTTP, and what belongs to other replicas.
type desk struct {
	store *roster.Store
	log   *slog.Logger

	// turn is held while anything changes what is held: a reload, an edit, a file.
	turn sync.Mutex

	mu sync.Mutex // guards what follows
	// split is what is held here of the rosters.
	split roster.Split
	// step is the daemon's, which timer calls.
	step   func()
	timer  *time.Timer
	closed bool
	// drainedSince is when an operator began to drain; zero while nothing is.
	drainedSince time.Time
	// problems are those of files, by source.
	problems map[string]string
}

// openDesk makes the desk and gives the sources their rosters.
func (d *daemon) openDesk() error {
	store, err := roster.Open(d.config.Spool.Dir)
	switch {
	case errors.Is(err, roster.ErrDamaged):
		d.log.Error("rosters that were set by HTTP are lost", "error", err)
	case err != nil:
		return err
	}
	d.desk = &desk{store: store, log: d.log.With("part", "roster"), problems: map[string]string{}}
	d.desk.step = d.step
	if err := d.desk.openSplit(d.config.Replicas); err != nil {
		return err
	}
	for _, name := range store.Edited() {
		if !slices.ContainsFunc(d.config.Sources, func(s config.Source) bool { return s.Name == name }) {
			d.desk.log.Warn("a roster was set by HTTP for a source that is not configured", "source", name)
		}
	}
	d.applyRosters(d.config, source.CauseRoster)
	return nil
}

// whole gives each session source's whole roster, whoever holds it: what is
// configured and what was set by HTTP. An agent of a server that was set for one
// source and is configured for another is the latter's.
func (k *desk) whole(c *config.Config) map[string]source.Roster {
	type key struct{ server, agent string }
	type holder struct {
		source     string
		configured bool
	}
	holders := map[key]holder{}
	held := sessionsOf(c)
	edited := make(map[string]source.Roster, len(held))
	for _, s := range held {
		configured := s.Configured()
		own := make(map[string]bool, len(configured))
		for _, a := range configured {
			own[a.ID] = true
		}
		edited[s.Name] = k.store.Edit(s.Name).Apply(configured)
		for _, a := range edited[s.Name] {
			at := key{s.Server, a.ID}
			if former, taken := holders[at]; !taken || own[a.ID] && !former.configured {
				holders[at] = holder{s.Name, own[a.ID]}
			}
		}
	}
	all := make(map[string]source.Roster, len(held))
	for _, s := range held {
		all[s.Name] = slices.DeleteFunc(slices.Clone(edited[s.Name]), func(a source.Agent) bool {
			return holders[key{s.Server, a.ID}].source != s.Name
		})
	}
	return all
}

// rosters are the parts of the whole ones that holds lets through.
func rosters(c *config.Config, whole map[string]source.Roster, holds func(server, agent string) bool) map[string]source.Roster {
	all := maps.Clone(whole)
	for _, s := range sessionsOf(c) {
		all[s.Name] = slices.DeleteFunc(slices.Clone(whole[s.Name]), func(a source.Agent) bool { return !holds(s.Server, a.ID) })
	}
	return all
}

// sessionsOf are the session sources of a configuration.
func sessionsOf(c *config.Config) (all []*session.Config) {
	for _, s := range c.Sources {
		if held, ok := s.Config.(*session.Config); ok {
			all = append(all, held)
		}
	}
	return all
}

// held are the running session sources, by name.
func (d *daemon) held() map[string]*session.Source {
	all := map[string]*session.Source{}
	for _, s := range d.openSources() {
		if held, ok := s.source.(*session.Source); ok {
			all[s.name] = held
		}
	}
	return all
}

// applyRosters gives the session sources the rosters that c and the desk have. The
// desk's turn is held, but for the start.
func (d *daemon) applyRosters(c *config.Config, cause string) (done source.Edit) {
	wanted := rosters(c, d.desk.whole(c), d.desk.holds())
	held := d.held()
	d.declareOverlaps(c, held)
	d.letGo(c, wanted, held, nil, cause)
	for _, s := range sessionsOf(c) {
		if running := held[s.Name]; running != nil {
			e := running.SetRoster(wanted[s.Name], cause)
			done.Opened, done.Closed = done.Opened+e.Opened, done.Closed+e.Closed
			done.Reopened, done.Kept = done.Reopened+e.Reopened, done.Kept+e.Kept
		}
	}
	return done
}

// readiness is the desk's part of /readyz.
func (k *desk) readiness() *web.Roster {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := &web.Roster{DrainedSince: k.drainedSince, GainsAt: k.split.GainsAt, LosesAt: k.split.LosesAt, Surplus: k.split.Index >= k.split.Count}
	for _, name := range slices.Sorted(maps.Keys(k.problems)) {
		r.FileProblems = append(r.FileProblems, fmt.Sprintf("source %s: agents_file: %s; the roster is as it was", name, k.problems[name]))
	}
	if k.split.Count > 1 || k.split.Index > 0 {
		r.Replica, r.Replicas = new(k.split.Index), new(k.split.Count)
	} else if len(r.FileProblems) == 0 && r.DrainedSince.IsZero() && k.split.Next().IsZero() {
		return nil
	}
	return r
}
