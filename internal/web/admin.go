package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/callpop/connector/internal/secret"
)

// adminLimits suit a few people and tools. Profiles are taken for half a minute.
func adminLimits() limits {
	l := healthLimits()
	l.writeTimeout = 2 * time.Minute
	return l
}

// ListenAdmin takes the address of http.admin for handler; connections wait until
// Serve. Where the address is empty it takes none, and Serve only waits. The error
// names key, address and cause, and wraps the cause.
//
// handler gets only requests that may be made: see [Guard].
func ListenAdmin(ctx context.Context, c Config, handler http.Handler, log *slog.Logger, options ...Option) (*Listener, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	mux := http.NewServeMux()
	mux.Handle("/", handler)
	if c.Pprof {
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	guard := NewGuard(c, mux, log)
	l, err := listen(ctx, "http.admin", c.Admin, c.AdminTLS, private(guard), log, adminLimits(), options...)
	if err != nil {
		return nil, err
	}
	l.guard = guard
	return l, nil
}

// Guard lets through what an operator may do: with a token configured, requests
// that carry it as "Authorization: Bearer"; without one, reading, and only by
// the names of this machine, so that no foreign page gets there by a name of its
// own. Requests that another site's page makes a browser send are refused either
// way.
type Guard struct {
	token   atomic.Pointer[secret.Value]
	next    http.Handler
	refused rate.Sometimes
	log     *slog.Logger
}

// NewGuard makes a Guard before next.
func NewGuard(c Config, next http.Handler, log *slog.Logger) *Guard {
	g := &Guard{
		log: log, refused: rate.Sometimes{Interval: time.Minute},
		next: http.NewCrossOriginProtection().Handler(next),
	}
	g.SetToken(c.AdminToken)
	return g
}

// SetToken changes the token; none lets everyone on this machine read.
func (g *Guard) SetToken(token secret.Value) { g.token.Store(&token) }

// ServeHTTP answers 401 or 403, or hands the request on.
func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token := *g.token.Load()
	switch {
	case token.IsZero() && !isThisMachine(r.Host):
		http.Error(w, "expected a request to localhost or a loopback address: http.admin_token is not set", http.StatusForbidden)
	case token.IsZero() && r.Method != http.MethodGet && r.Method != http.MethodHead:
		http.Error(w, "nothing can be changed here: http.admin_token is not set", http.StatusForbidden)
	case !token.IsZero() && !bears(r, token):
		g.refused.Do(func() {
			g.log.Warn("http.admin: requests without the token are refused", "peer", r.RemoteAddr)
		})
		w.Header().Set("WWW-Authenticate", `Bearer realm="connector"`)
		http.Error(w, "expected the header Authorization: Bearer with http.admin_token", http.StatusUnauthorized)
	default:
		g.next.ServeHTTP(w, r)
	}
}

// bears reports whether a request carries the token. How long it takes says
// nothing of how much of it was right.
func bears(r *http.Request, token secret.Value) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(token.Reveal()))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

func isThisMachine(hostport string) bool {
	name, _, err := net.SplitHostPort(hostport)
	if err != nil {
		name = strings.Trim(hostport, "[]")
	}
	return isLoopback(name)
}
