package web

import (
	"golang.org/x/net/netutil"

	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
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

// limits are what one peer may cost. The listener may stand open to a network,
// and the process's descriptors belong to the sessions.
type limits struct {
	connections   int
	headerBytes   int
	headerTimeout time.Duration
	readTimeout   time.Duration
	writeTimeout  time.Duration
	idleTimeout   time.Duration
	stopTimeout   time.Duration
}

func defaultLimits() limits {
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

// Health is the listener of /livez, /readyz and /metrics.
type Health struct {
	listener net.Listener // nil where it is switched off
	server   *http.Server
	limits   limits
	// closed is closed by Close.
	closed chan struct{}
	once   sync.Once
}

// Listen takes the address of http.health; connections wait until Serve. Where
// the address is empty it takes none, and Serve only waits. The error names key,
// address and cause, and wraps the cause.
func Listen(ctx context.Context, c Config, o Options) (*Health, error) {
	return listen(ctx, c, o, defaultLimits())
}

func listen(ctx context.Context, c Config, o Options, l limits) (*Health, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	h := &Health{limits: l, closed: make(chan struct{}), server: &http.Server{
		Handler:                      handler(o),
		ErrorLog:                     slog.NewLogLogger(o.Logger.Handler(), slog.LevelWarn),
		MaxHeaderBytes:               l.headerBytes,
		ReadHeaderTimeout:            l.headerTimeout,
		ReadTimeout:                  l.readTimeout,
		WriteTimeout:                 l.writeTimeout,
		IdleTimeout:                  l.idleTimeout,
		DisableGeneralOptionsHandler: true,
	}}
	if c.Health == "" {
		return h, nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", c.Health)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // the rest of it says the address again
		}
		return nil, fmt.Errorf("http.health: listen on %s: %w", c.Health, err)
	}
	h.listener = netutil.LimitListener(listener, l.connections)
	return h, nil
}

// Addr is the address that is listened on, with the port that the system chose
// for port 0; nil where there is none.
func (h *Health) Addr() net.Addr {
	if h.listener == nil {
		return nil
	}
	return h.listener.Addr()
}

// Serve answers until ctx is done or Close is called, lets requests under way
// finish for three seconds, and returns nil; or it returns why it cannot serve.
// It is called once.
func (h *Health) Serve(ctx context.Context) error {
	if h.listener == nil {
		select {
		case <-ctx.Done():
		case <-h.closed:
		}
		return nil
	}
	served := make(chan error, 1)
	go func() { served <- h.server.Serve(h.listener) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.limits.stopTimeout)
		defer cancel()
		if h.server.Shutdown(stop) != nil {
			_ = h.server.Close() // a peer that does not finish is cut off
		}
		err = <-served
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("http.health: serve on %s: %w", h.Addr(), err)
	}
	return nil
}

// Close gives the address back and ends Serve at once, cutting off requests under
// way. It is safe to call twice, and before Serve.
func (h *Health) Close() error {
	var err error
	h.once.Do(func() {
		close(h.closed)
		err = h.server.Close()
		if h.listener != nil {
			// The server closes only a listener that it was given, in Serve.
			err = errors.Join(err, h.listener.Close())
		}
	})
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("http.health: close: %w", err)
	}
	return nil
}

func handler(o Options) http.Handler {
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
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		mux.ServeHTTP(w, r)
	})
}

func serveReadiness(w http.ResponseWriter, r *http.Request, readiness func() Readiness) {
	full, err := wantsFull(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	body := readiness().derive(time.Now())
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
