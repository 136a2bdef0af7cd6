package main

import (
	"context"
	"net/http"
	"slices"

	"github.com/callpop/connector/internal/feed"
	"github.com/callpop/connector/internal/web"
)

// listenPublic makes the agent feed and takes its address, where there is one.
func (d *daemon) listenPublic(ctx context.Context) (err error) {
	c := d.config
	log := d.log.With("part", "feed")
	handler := http.NotFoundHandler()
	if c.HTTP.Public != "" {
		if d.feed, err = feed.New(ctx, feed.Options{
			Config: c.Feed, Spool: d.spool, KnownServer: d.knowsServer,
			Logger: log, Meter: d.telemetry.Meter("feed"),
		}); err != nil {
			return err
		}
		handler = d.feed.Handler()
	}
	if c.HTTP.PublicInClear() {
		log.Warn("http.public is on a network without TLS: tokens and customers' numbers pass in clear unless a proxy before it has TLS", "public", c.HTTP.Public)
	}
	d.public, err = web.ListenPublic(ctx, c.HTTP, handler, c.Feed.MaxConnections, log,
		web.On(d.takeover.listener("http.public", c.HTTP.Public)))
	return err
}

// knowsServer reports whether a source takes pops of a server of this name.
func (d *daemon) knowsServer(name string) bool {
	return slices.ContainsFunc(d.openSources(), func(s *supply) bool { return s.source.Status().Server == name })
}
