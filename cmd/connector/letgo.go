package main

import (
	"slices"
	"time"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/session"
)

// letGoTime bounds the wait for sessions that move from one source to another.
const letGoTime = 5 * time.Second

// letGo closes the sessions of agents that move to another source of their server,
// and waits for their end: an agent must not be registered twice. held are the
// sources of c, dismissed those that it has not any more.
func (d *daemon) letGo(c *config.Config, wanted map[string]source.Roster, held map[string]*session.Source, dismissed []*session.Source, cause string) {
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
	for _, from := range dismissed {
		for _, to := range sessionsOf(c) {
			if from.Status().Server != to.Server {
				continue
			}
			for _, a := range wanted[to.Name] {
				if _, has := from.Fleet().Agent(a.ID); has {
					moves = append(moves, move{from, a.ID})
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
