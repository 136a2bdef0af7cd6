package main

import "net/http"

// adminHandler is what operators and their tools find on the admin address.
func (d *daemon) adminHandler() http.Handler {
	mux := http.NewServeMux()
	d.addConsole(mux)
	return mux
}
