package main

import (
	"net/http"

	"github.com/callpop/connector/internal/admin"
	"github.com/callpop/connector/internal/control"
)

// adminHandler is what operators and their tools find on the admin address.
func (d *daemon) adminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/v1/", admin.Handler(admin.Options{
		Desk: rosterDesk{d}, Logger: d.log.With("part", "admin"),
		Reload: func(r *http.Request) (any, bool) {
			done := d.reload(r.Context(), "POST /v1/reload")
			return done, done.Outcome != control.Refused
		},
	}))
	d.addConsole(mux)
	return mux
}
