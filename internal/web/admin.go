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
// that carry it as "Authorization: Bearer", or the cookie of a browser that logged in
// with it; without one, reading, and only by the names of this machine, so that no
// foreign page gets there by a name of its own. Requests that another site's page
// makes a browser send are refused either way. [ViewerOf] tells what it lets through
// who is asking.
//
// A browser logs in at [LoginPage].
type Guard struct {
	token    atomic.Pointer[secret.Value]
	next     http.Handler
	origins  *http.CrossOriginProtection
	sessions *sessions
	refused  rate.Sometimes
	log      *slog.Logger
}

// NewGuard makes a Guard before next.
func NewGuard(c Config, next http.Handler, log *slog.Logger) *Guard {
	g := &Guard{
		log: log, refused: rate.Sometimes{Interval: time.Minute},
		next: next, origins: http.NewCrossOriginProtection(), sessions: newSessions(),
	}
	g.SetToken(c.AdminToken)
	return g
}

// SetToken changes the token, and so ends the log-ins that were made with another;
// none lets everyone on this machine read.
func (g *Guard) SetToken(token secret.Value) { g.token.Store(&token) }

// ServeHTTP answers 401 or 403, sends a browser to the log-in, or hands the request
// on.
func (g *Guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	token := *g.token.Load()
	reading := r.Method == http.MethodGet || r.Method == http.MethodHead
	v, known := g.viewer(r, token)
	switch {
	case token.IsZero() && !isThisMachine(r.Host):
		http.Error(w, "expected a request to localhost or a loopback address: http.admin_token is not set", http.StatusForbidden)
	case g.origins.Check(r) != nil:
		http.Error(w, "a page of another site asked for this", http.StatusForbidden)
	case r.URL.Path == sessionPath:
		g.serveSession(w, r, token)
	case token.IsZero() && !reading:
		http.Error(w, "nothing can be changed here: http.admin_token is not set", http.StatusForbidden)
	case known, reading && isOpen(r.URL.Path):
		g.next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), viewerKey{}, v)))
	case reading && isPage(r):
		http.Redirect(w, r, LoginPage, http.StatusSeeOther)
	default:
		g.refused.Do(func() {
			g.log.Warn("http.admin: requests without the token are refused", "peer", r.RemoteAddr)
		})
		w.Header().Set("WWW-Authenticate", `Bearer realm="connector"`)
		http.Error(w, "expected the header Authorization: Bearer with http.admin_token", http.StatusUnauthorized)
	}
}

// viewer is who makes a request; false for who has to say first.
func (g *Guard) viewer(r *http.Request, token secret.Value) (Viewer, bool) {
	if token.IsZero() {
		return Viewer{}, true
	}
	v := Viewer{LogIn: true, MayChange: true}
	if bears(r, token) {
		return v, true
	}
	if v.session = g.sessions.of(r, token); v.session != nil {
		return v, true
	}
	return Viewer{LogIn: true}, false
}

// isOpen reports whether everyone may have what is at a path.
func isOpen(path string) bool {
	return path == LoginPage || strings.HasPrefix(path, LoginAssets) && !strings.Contains(path, "..")
}

// isPage reports whether a person asks for a page, rather than a program for data.
func isPage(r *http.Request) bool {
	return (r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, pages)) && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// bears reports whether a request carries the token. How long it takes says
// nothing of how much of it was right.
func bears(r *http.Request, token secret.Value) bool {
	scheme, given, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return false
	}
	return same(given, token)
}

func same(given string, token secret.Value) bool {
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
