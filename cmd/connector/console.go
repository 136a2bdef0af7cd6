package main

import (
	"context"
	"net/http"

	"github.com/callpop/connector/internal/console"
	"github.com/callpop/connector/internal/web"
)

// listenAdmin makes the console and takes its address, where there is one.
func (d *daemon) listenAdmin(ctx context.Context) (err error) {
	c := d.config
	log := d.log.With("part", "admin")
	if c.HTTP.Admin != "" {
		if d.console, err = console.New(ctx, console.Options{
			Host: controlHost(d.running.Load, d.spool, d.controlTarget), Readiness: d.readiness,
			Logger: d.log.With("part", "console"),
		}); err != nil {
			return err
		}
	}
	if c.HTTP.AdminInClear() {
		log.Warn("http.admin is on a network without TLS: the token and customers' numbers pass in clear unless a proxy before it has TLS", "admin", c.HTTP.Admin)
	}
	d.admin, err = web.ListenAdmin(ctx, c.HTTP, d.adminHandler(), log,
		web.On(d.takeover.listener("http.admin", c.HTTP.Admin)))
	return err
}

// addConsole puts the console into the admin listener.
func (d *daemon) addConsole(mux *http.ServeMux) {
	if d.console == nil {
		return
	}
	mux.Handle("/console/", d.console.Handler())
	mux.Handle("GET /{$}", http.RedirectHandler("/console/", http.StatusFound))
}
