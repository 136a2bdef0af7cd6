package web

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Options are what the health listener shows.
type Options struct {
	// Readiness gives the state of things. It is called for each request to
	// /readyz, and calls may overlap. A probe waits a second by default, so it
	// must answer in less: what does not come in time is left out.
	Readiness func() Readiness
	// Metrics serves /metrics; nil leaves it out.
	Metrics http.Handler
	// Logger takes what goes wrong in serving; nil drops it.
	Logger *slog.Logger
}

// healthLimits suit probes and scrapes.
func healthLimits() limits {
	return limits{
		connections:   256,
		headerBytes:   8 << 10,
		headerTimeout: 5 * time.Second,
		readTimeout:   10 * time.Second,
		writeTimeout:  30 * time.Second, // a scrape takes up to ten
		idleTimeout:   60 * time.Second, // Prometheus comes every 15 to 60
		stopTimeout:   3 * time.Second,
	}
}

// ListenHealth takes the address of http.health; connections wait until Serve.
// Where the address is empty it takes none, and Serve only waits. The error names
// key, address and cause, and wraps the cause.
func ListenHealth(ctx context.Context, c Config, o Options, options ...Option) (*Listener, error) {
	return listen(ctx, "http.health", c.Health, TLS{}, healthHandler(o), o.Logger, healthLimits(), options...)
}

func healthHandler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write([]byte("ok\n")) // a peer that left is no news
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		serveReadiness(w, r, o.Readiness)
	})
	if o.Metrics != nil {
		mux.Handle("GET /metrics", o.Metrics)
	}
	return private(mux)
}

func serveReadiness(w http.ResponseWriter, r *http.Request, readiness func() Readiness) {
	full, err := wantsFull(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body := readiness().Derive(time.Now())
	text, err := json.MarshalIndent(body, "", "  ")
	if err != nil {
		http.Error(w, "readiness cannot be written as JSON: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if !body.Ready || full && len(body.Problems) > 0 {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_, _ = w.Write(append(text, '\n'))
}

// wantsFull reads ?full, ?full=true, ?full=false.
func wantsFull(query url.Values) (bool, error) {
	value := query.Get("full")
	if value == "" {
		return query.Has("full"), nil
	}
	full, err := strconv.ParseBool(value)
	if err != nil {
		return false, fmt.Errorf("full: %q: expected true or false", value)
	}
	return full, nil
}
