package main

import (
	"context"
	"slices"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/sink"
)

// statusTimeout bounds what a probe waits for the spool's counts; without them
// the body has none.
const statusTimeout = 500 * time.Millisecond

// readiness is the body of /readyz.
func (d *daemon) readiness() web.Readiness {
	state := web.Serving
	if d.stopping.Load() {
		state = web.Stopping
	}
	r := web.Readiness{
		State: state, Version: thisBuild().Version, StartedAt: d.started,
		Reload: d.lastReload.Load(), ConfigSHA256: d.running.Load().Digest, Roster: d.desk.readiness(),
		Spool: d.spoolReadiness(), Servers: d.serverReadiness(),
	}
	ctx, cancel := context.WithTimeout(context.Background(), statusTimeout)
	defer cancel()
	for _, s := range d.openSinks() {
		r.Sinks = append(r.Sinks, sinkReadiness(s, s.forwarder.Status(ctx)))
	}
	return r
}

func (d *daemon) spoolReadiness() *web.Spool {
	status := d.spool.Status()
	free := status.FreeBytes
	return &web.Spool{
		State: web.SpoolState(status.Phase), Since: status.Since, Detail: status.Detail, FreeBytes: &free,
		Lost: spoolLosses(d.spool.Losses()),
	}
}

// maxLosses bounds the losses in the body of /readyz; 'connector spool stat' has
// them all.
const maxLosses = 20

func spoolLosses(losses []spool.Loss) (all []web.Loss) {
	for _, l := range losses[max(0, len(losses)-maxLosses):] {
		all = append(all, web.Loss{
			Type: string(l.Type), Events: l.Lost, From: l.From, To: l.From + l.Lost - 1,
			StoredAfter: l.After, StoredBefore: l.Before, FoundAt: l.Found, Undelivered: l.Undelivered,
		})
	}
	return all
}

// serverReadiness adds up the sources by the server they take pops from.
func (d *daemon) serverReadiness() []web.Server {
	var servers []web.Server
	silent := d.intake.Silent()
	for _, status := range d.sourceStatuses() {
		i := slices.IndexFunc(servers, func(known web.Server) bool { return known.Name == status.Server })
		if i < 0 {
			i = len(servers)
			servers = append(servers, web.Server{
				Name: status.Server, SessionsUp: new(int), SessionsWanted: new(int), SessionsSilent: silent[status.Server],
			})
		}
		servers[i].Sources = append(servers[i].Sources, status.Name)
		*servers[i].SessionsUp += status.Up
		*servers[i].SessionsWanted += status.Wanted
	}
	return servers
}

func sinkReadiness(s *delivery, lines []sink.Status) web.Sink {
	r := web.Sink{Name: s.name, Type: s.kind}
	for _, l := range lines {
		r.Lines = append(r.Lines, web.Line{Type: string(l.Type), Lost: l.Lost, DeadLettered: l.DeadLettered, Delivery: web.Delivery{
			State: web.DeliveryState(l.State), Since: l.Since, OldestUndeliveredAt: l.OldestUndelivered,
			Backlog: l.Backlog, LastError: l.LastError, LastErrorAt: l.LastErrorAt, LastSuccessAt: l.LastSuccess,
		}})
	}
	return r
}
