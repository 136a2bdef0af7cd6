package web

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/callpop/connector/internal/secret"
)

// Addresses of the admin listener that a browser needs to log in. LoginPage and what
// is below LoginAssets are served to everyone, and so hold nothing of anybody.
const (
	// LoginPage asks for the token.
	LoginPage = "/console/login"
	// LoginAssets begins the addresses of scripts and styles.
	LoginAssets = "/console/assets/"
	// sessionPath takes the token by POST, gives up the log-in by DELETE, and says by
	// GET whether there is one.
	sessionPath = "/console/session"
	// pages begins the addresses that a browser is sent to LoginPage from.
	pages = "/console/"
)

const (
	// sessionTime is a shift and its overtime.
	sessionTime = 12 * time.Hour
	// maxSessions bounds the log-ins; the oldest goes for a new one.
	maxSessions = 64
	// maxFailures bounds the wrong tokens of one peer in failureTime, and
	// maxAllFailures those of all peers.
	maxFailures    = 10
	maxAllFailures = 1000
	failureTime    = time.Minute
	maxLogin       = 4 << 10
)

// sessions are the browsers that are logged in, in the memory of this process: its
// restart logs everybody out.
type sessions struct {
	now func() time.Time

	mu sync.Mutex // guards what follows
	// known is by the SHA-256 of the cookie, so that a look-up tells by its time
	// nothing of any cookie.
	known map[[sha256.Size]byte]*session
	// failed counts wrong tokens since counted.
	failed  map[netip.Prefix]int
	all     int
	counted time.Time
}

func newSessions() *sessions {
	return &sessions{now: time.Now, known: map[[sha256.Size]byte]*session{}, failed: map[netip.Prefix]int{}}
}

// begin makes a session and returns its cookie's value.
func (s *sessions) begin(token secret.Value) (value string, made *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep()
	if len(s.known) >= maxSessions {
		var oldest [sha256.Size]byte
		var ends time.Time
		for key, one := range s.known {
			if ends.IsZero() || one.ends.Before(ends) {
				oldest, ends = key, one.ends
			}
		}
		delete(s.known, oldest)
	}
	value, made = rand.Text()+rand.Text(), &session{token: token, ends: s.now().Add(sessionTime)}
	s.known[sha256.Sum256([]byte(value))] = made
	return value, made
}

// sweep forgets sessions that are over. The caller holds mu.
func (s *sessions) sweep() {
	now := s.now()
	maps.DeleteFunc(s.known, func(_ [sha256.Size]byte, one *session) bool { return !now.Before(one.ends) })
}

// of is the session of a request, begun with this token; nil without one.
func (s *sessions) of(r *http.Request, token secret.Value) *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range r.CookiesNamed(cookieName(r)) {
		if one := s.known[sha256.Sum256([]byte(c.Value))]; one != nil && s.now().Before(one.ends) && same(one.token.Reveal(), token) {
			return one
		}
	}
	return nil
}

// end forgets the session of a request.
func (s *sessions) end(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range r.CookiesNamed(cookieName(r)) {
		delete(s.known, sha256.Sum256([]byte(c.Value)))
	}
}

// mayTry says how long a peer has to wait before it may try a token; 0: not at all.
func (s *sessions) mayTry(peer netip.Prefix) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if past := s.now().Sub(s.counted); past < 0 || past >= failureTime {
		clear(s.failed)
		s.all, s.counted = 0, s.now()
	}
	if s.failed[peer] < maxFailures && s.all < maxAllFailures {
		// Counted before it is compared: tries at the same time count too.
		s.failed[peer]++
		s.all++
		return 0
	}
	return failureTime - s.now().Sub(s.counted)
}

// succeeded takes a try back.
func (s *sessions) succeeded(peer netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed[peer] > 0 {
		s.failed[peer]--
		s.all--
	}
}

// peerOf is the network that a request came from: an IPv4 address, or an IPv6
// network of 64 bits, of which one machine has all.
func peerOf(r *http.Request) netip.Prefix {
	at, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	ip := at.Addr().Unmap()
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	prefix, _ := ip.WithZone("").Prefix(bits)
	return prefix
}

// cookieName is of this address's own: browsers keep cookies for a machine, whatever
// the port, and two connectors on it must not log each other out.
func cookieName(r *http.Request) string {
	const name = "callpop-admin"
	if _, port, err := net.SplitHostPort(r.Host); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err == nil {
			return name + "-" + port
		}
	}
	return name
}

func cookie(r *http.Request, value string, life time.Duration) *http.Cookie {
	c := &http.Cookie{
		Name: cookieName(r), Value: value, Path: "/", MaxAge: int(life / time.Second),
		HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: r.TLS != nil,
	}
	if value == "" {
		c.MaxAge = -1
	}
	return c
}

// serveSession answers at sessionPath. The token is in the body, {"token": "…"}.
func (g *Guard) serveSession(w http.ResponseWriter, r *http.Request, token secret.Value) {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		sayJSON(w, http.StatusOK, map[string]bool{"log_in": !token.IsZero(), "logged_in": g.sessions.of(r, token) != nil})
	case http.MethodPost:
		g.logIn(w, r, token)
	case http.MethodDelete:
		g.sessions.end(r)
		http.SetCookie(w, cookie(r, "", 0))
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Allow", "GET, HEAD, POST, DELETE")
		http.Error(w, "expected GET, POST or DELETE", http.StatusMethodNotAllowed)
	}
}

func (g *Guard) logIn(w http.ResponseWriter, r *http.Request, token secret.Value) {
	refuse := func(status int, reason string) { sayJSON(w, status, map[string]string{"error": reason}) }
	if token.IsZero() {
		refuse(http.StatusForbidden, "no_token_set")
		return
	}
	var given struct {
		Token string `json:"token"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLogin))
	if err != nil || json.Unmarshal(body, &given) != nil {
		refuse(http.StatusBadRequest, "bad_request")
		return
	}
	peer := peerOf(r)
	if wait := g.sessions.mayTry(peer); wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(wait/time.Second)+1))
		refuse(http.StatusTooManyRequests, "too_many_tries")
		return
	}
	if !same(given.Token, token) {
		g.refused.Do(func() { g.log.Warn("http.admin: a log-in with a wrong token was refused", "peer", r.RemoteAddr) })
		refuse(http.StatusUnauthorized, "wrong_token")
		return
	}
	g.sessions.succeeded(peer)
	value, made := g.sessions.begin(token)
	g.log.Info("http.admin: logged in", "peer", r.RemoteAddr, "until", made.ends)
	http.SetCookie(w, cookie(r, value, sessionTime))
	w.WriteHeader(http.StatusNoContent)
}

func sayJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // a peer that left is no news
}
