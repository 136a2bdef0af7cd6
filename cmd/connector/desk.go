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
	// former are the replicas from before the last change, until gainsAt: what was
	// not this one's then is not opened yet. nil: there was no change.
	former  *source.Replicas
	gainsAt time.Time
	timer   *time.Timer
	// gain opens them.
	gain     func()
	closed   bool
	replicas source.Replicas
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
	d.desk.gain = func() {
		d.desk.turn.Lock()
		defer d.desk.turn.Unlock()
		if d.desk.gained() {
			done := d.applyRosters(d.running.Load(), source.CauseReplicas)
			d.desk.log.Info("sessions that were other replicas' are opened", "opened", done.Opened)
		}
	}
	former, known := store.Split()
	if !known {
		former = source.Replicas{Count: 1}
		if d.config.Replicas.Count > 1 {
			former.Index = -1 // nothing was held here; others may hold it
		}
	}
	if err := d.desk.split(former, d.config.Replicas); err != nil {
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

// begin starts the wait for what other replicas held.
func (k *desk) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.arm()
}

// arm has gain called when it is time. mu is held.
func (k *desk) arm() {
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
	if k.former != nil && !k.closed {
		k.timer = time.AfterFunc(time.Until(k.gainsAt), k.gain)
	}
}

// close ends the wait.
func (k *desk) close() {
	if k == nil {
		return
	}
	k.mu.Lock()
	k.closed = true
	k.arm()
	k.mu.Unlock()
	// One that runs already has its turn first.
	k.turn.Lock()
	defer k.turn.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.timer != nil {
		k.timer.Stop()
	}
}

// split puts other replicas in force after those that were.
func (k *desk) split(from, to source.Replicas) error {
	if err := k.store.SetSplit(to); err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.replicas = to
	if from.Count != to.Count || from.Index != to.Index {
		k.former, k.gainsAt = &from, time.Now().Add(to.GainDelay)
		k.log.Info("the rosters are split anew", "replica", to.Index, "of", to.Count, "was", from.Index, "was_of", from.Count, "gains_at", k.gainsAt)
	}
	if to.Surplus() {
		k.log.Warn("this replica holds no session: its number is beyond the count; its spool is delivered", "replicas.index", to.Index, "replicas.count", to.Count)
	}
	return nil
}

// gained reports whether the wait is over, and ends it.
func (k *desk) gained() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.former == nil || k.closed || time.Now().Before(k.gainsAt) {
		return false
	}
	k.former = nil
	return true
}

// holds gives the test whether an agent of a server is held here now.
func (k *desk) holds() func(server, agent string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, former := k.replicas, k.former
	if now.Count == 1 && now.Index == 0 && former == nil {
		return func(string, string) bool { return true }
	}
	return func(server, agent string) bool {
		return now.Holds(server, agent) && (former == nil || former.Holds(server, agent))
	}
}

// whole gives each session source's whole roster, whoever holds it: what is
// configured and what was set by HTTP. An agent of a server that was set for one
// source and is configured for another is the latter's.
func (k *desk) whole(c *config.Config) map[string]source.Roster {
	type key struct{ server, agent string }
	configured := map[key]string{}
	held := sessionsOf(c)
	for _, s := range held {
		for _, a := range k.store.Edit(s.Name).Apply(s.Configured()) {
			at := key{s.Server, a.ID}
			if _, taken := configured[at]; !taken || slices.ContainsFunc(s.Agents, func(own source.Agent) bool { return own.ID == a.ID }) {
				configured[at] = s.Name
			}
		}
	}
	all := make(map[string]source.Roster, len(held))
	for _, s := range held {
		r := k.store.Edit(s.Name).Apply(s.Configured())
		all[s.Name] = slices.DeleteFunc(slices.Clone(r), func(a source.Agent) bool { return configured[key{s.Server, a.ID}] != s.Name })
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
	d.letGo(c, wanted, held, cause)
	for _, s := range sessionsOf(c) {
		if running := held[s.Name]; running != nil {
			e := running.SetRoster(wanted[s.Name], cause)
			done.Opened, done.Closed = done.Opened+e.Opened, done.Closed+e.Closed
			done.Reopened, done.Kept = done.Reopened+e.Reopened, done.Kept+e.Kept
		}
	}
	return done
}

// letGoTime bounds the wait for sessions that move from one source to another.
const letGoTime = 5 * time.Second

// letGo closes the sessions of agents that move to another source of their server,
// and waits for their end: an agent must not be registered twice.
func (d *daemon) letGo(c *config.Config, wanted map[string]source.Roster, held map[string]*session.Source, cause string) {
	type key struct{ server, agent string }
	type move struct {
		from  *session.Source
		agent string
	}
	var moves []move
	moving, losing := map[key]bool{}, map[string]bool{}
	for _, from := range sessionsOf(c) {
		if held[from.Name] == nil {
			continue
		}
		stays := map[string]bool{}
		for _, a := range wanted[from.Name] {
			stays[a.ID] = true
		}
		for _, to := range sessionsOf(c) {
			if from.Name == to.Name || from.Server != to.Server {
				continue
			}
			for _, a := range wanted[to.Name] {
				if _, has := held[from.Name].Fleet().Agent(a.ID); has && !stays[a.ID] {
					moves = append(moves, move{held[from.Name], a.ID})
					moving[key{to.Server, a.ID}], losing[from.Name] = true, true
				}
			}
		}
	}
	for _, s := range sessionsOf(c) {
		if losing[s.Name] {
			held[s.Name].SetRoster(slices.DeleteFunc(slices.Clone(wanted[s.Name]), func(a source.Agent) bool {
				return moving[key{s.Server, a.ID}]
			}), cause)
		}
	}
	for deadline := time.Now().Add(letGoTime); len(moves) > 0 && time.Now().Before(deadline); {
		if _, there := moves[0].from.Fleet().Agent(moves[0].agent); !there {
			moves = moves[1:]
			continue
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// readiness is the desk's part of /readyz.
func (k *desk) readiness() *web.Roster {
	k.mu.Lock()
	defer k.mu.Unlock()
	r := &web.Roster{DrainedSince: k.drainedSince, Surplus: k.replicas.Surplus()}
	if k.former != nil {
		r.GainsAt = k.gainsAt
	}
	for _, name := range slices.Sorted(maps.Keys(k.problems)) {
		r.FileProblems = append(r.FileProblems, fmt.Sprintf("source %s: agents_file: %s; the roster is as it was", name, k.problems[name]))
	}
	if k.replicas.Count > 1 || k.replicas.Index > 0 {
		r.Replica, r.Replicas = new(k.replicas.Index), new(k.replicas.Count)
	} else if len(r.FileProblems) == 0 && r.DrainedSince.IsZero() && r.GainsAt.IsZero() {
		return nil
	}
	return r
}
