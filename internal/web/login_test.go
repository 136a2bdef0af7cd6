package web

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"crypto/tls"

	"github.com/callpop/connector/internal/secret"
)

// guarded is a guard before a handler that says who is asking.
type guarded struct {
	*Guard
	log strings.Builder
}

func newGuarded(token string) *guarded {
	g := &guarded{}
	g.Guard = NewGuard(Config{AdminToken: secret.New(token)}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "reader"
		if ViewerOf(r.Context()).MayChange {
			who = "operator"
		}
		if !ViewerOf(r.Context()).Ends().IsZero() {
			who += " by session"
		}
		_, _ = io.WriteString(w, who)
	}), slog.New(slog.NewTextHandler(&g.log, nil)))
	return g
}

// ask makes a request as a browser on this machine does.
func (g *guarded) ask(method, path, body string, tweak ...func(*http.Request)) reply {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "127.0.0.1:8090"
	for _, t := range tweak {
		t(r)
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	result := w.Result()
	_ = result.Body.Close()
	return reply{result.StatusCode, result.Status, result.Header, result.Cookies(), w.Body.String()}
}

// reply is an answer that was read.
type reply struct {
	code    int
	status  string
	header  http.Header
	cookies []*http.Cookie
	body    string
}

func with(c *http.Cookie) func(*http.Request) { return func(r *http.Request) { r.AddCookie(c) } }

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

const logInBody = `{"token":"` + adminToken + `"}`

// login logs in and returns the cookie.
func (g *guarded) login(t *testing.T, tweak ...func(*http.Request)) *http.Cookie {
	t.Helper()
	r := g.ask("POST", sessionPath, logInBody, tweak...)
	if r.code != http.StatusNoContent || len(r.cookies) != 1 {
		t.Fatalf("log in: %s %s", r.status, r.body)
	}
	return r.cookies[0]
}

func TestABrowserLogsInAndOut(t *testing.T) {
	g := newGuarded(adminToken)
	c := g.login(t)
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure || c.Path != "/" || c.MaxAge != int(sessionTime.Seconds()) {
		t.Errorf("the cookie is %v", c)
	}
	if strings.Contains(c.Value, adminToken) || len(c.Value) < 40 {
		t.Errorf("the cookie's value is %q", c.Value)
	}
	for _, method := range []string{"GET", "POST"} {
		if got := g.ask(method, "/v1/x", "", with(c)).body; got != "operator by session" {
			t.Errorf("%s: who logged in is %q", method, got)
		}
	}
	if got := g.ask("GET", sessionPath, "", with(c)).body; got != `{"log_in":true,"logged_in":true}`+"\n" {
		t.Errorf("the session says %s", got)
	}
	if r := g.ask("POST", "/v1/x", "", with(c), header("Sec-Fetch-Site", "cross-site")); r.code != http.StatusForbidden {
		t.Errorf("a foreign page with the cookie: %s", r.status)
	}
	if r := g.ask("DELETE", sessionPath, "", with(c)); r.code != http.StatusNoContent || r.cookies[0].MaxAge >= 0 {
		t.Errorf("log out: %s %v", r.status, r.cookies)
	}
	if r := g.ask("GET", "/v1/x", "", with(c)); r.code != http.StatusUnauthorized {
		t.Errorf("the cookie after the log-out: %s", r.status)
	}
	if said := g.log.String(); strings.Contains(said, adminToken) || strings.Contains(said, c.Value) {
		t.Errorf("the log has a secret: %s", said)
	}
}

func TestTheCookieIsSecureUnderTLSAndOfItsPort(t *testing.T) {
	g := newGuarded(adminToken)
	c := g.login(t, func(r *http.Request) { r.TLS = &tls.ConnectionState{} })
	if !c.Secure || c.Name != "callpop-admin-8090" {
		t.Errorf("got %v", c)
	}
	other := func(r *http.Request) { r.Host = "127.0.0.1:8091" }
	if d := g.login(t, other); d.Name == c.Name {
		t.Errorf("two connectors on one machine share the cookie %s", d.Name)
	}
	if r := g.ask("GET", "/v1/x", "", with(c), other); r.code != http.StatusUnauthorized {
		t.Errorf("the other address's cookie: %s", r.status)
	}
}

func TestStrangersGetTheLogInAndNothingElse(t *testing.T) {
	g := newGuarded(adminToken)
	html := header("Accept", "text/html,*/*")
	for _, c := range []struct {
		method, path string
		tweak        func(*http.Request)
		want         int
	}{
		{"GET", LoginPage, html, 200},
		{"GET", LoginAssets + "console.js", header("Accept", "*/*"), 200},
		{"GET", "/", html, 303},
		{"GET", "/console/", html, 303},
		{"GET", "/console/", header("Accept", "*/*"), 401},
		{"GET", "/console/api/state", header("Accept", "application/json"), 401},
		{"GET", "/v1/servers", html, 401},
		{"GET", LoginAssets + "../api/state", header("Accept", "*/*"), 401},
		{"GET", LoginAssets + "%2e%2e/api/state", header("Accept", "*/*"), 401},
		{"POST", LoginPage, html, 401},
		{"POST", LoginAssets + "console.js", html, 401},
		{"PUT", sessionPath, html, 405},
		{"GET", "/v1/x", with(&http.Cookie{Name: "callpop-admin-8090", Value: ""}), 401},
		{"GET", "/v1/x", with(&http.Cookie{Name: "callpop-admin-8090", Value: adminToken}), 401},
	} {
		r := g.ask(c.method, c.path, "", c.tweak)
		if r.code != c.want || c.want == 303 && r.header.Get("Location") != LoginPage {
			t.Errorf("%s %s: %s to %q, want %d", c.method, c.path, r.status, r.header.Get("Location"), c.want)
		}
		if c.want == 200 && r.body != "reader" {
			t.Errorf("%s: a stranger is %q", c.path, r.body)
		}
	}
	for body, want := range map[string]int{
		`{"token":"wrong-wrong-wrong-wrong"}`: 401, `{"token":""}`: 401, `{}`: 401, `junk`: 400, strings.Repeat("x", 2*maxLogin): 400,
	} {
		if r := g.ask("POST", sessionPath, body); r.code != want || len(r.cookies) != 0 {
			t.Errorf("%.30s: %s %v, want %d", body, r.status, r.cookies, want)
		}
	}
	if r := g.ask("POST", sessionPath, logInBody, header("Origin", "http://evil.example")); r.code != http.StatusForbidden {
		t.Errorf("a foreign page logs in: %s", r.status)
	}
}

func TestWithoutATokenThereIsNoLogIn(t *testing.T) {
	g := newGuarded("")
	if r := g.ask("POST", sessionPath, `{"token":""}`); r.code != http.StatusForbidden || len(r.cookies) != 0 {
		t.Errorf("log in: %s %v", r.status, r.cookies)
	}
	if got := g.ask("GET", "/console/", "").body; got != "reader" {
		t.Errorf("reading: %s", got)
	}
	if got := g.ask("GET", sessionPath, "").body; got != `{"log_in":false,"logged_in":false}`+"\n" {
		t.Errorf("the session says %s", got)
	}
	if r := g.ask("GET", sessionPath, "", func(r *http.Request) { r.Host = "evil.example" }); r.code != http.StatusForbidden {
		t.Errorf("by a foreign name: %s", r.status)
	}
}

func TestWrongTokensAreBoundedForEachPeer(t *testing.T) {
	g := newGuarded(adminToken)
	now := time.Now()
	g.sessions.now = func() time.Time { return now }
	from := func(address string) func(*http.Request) {
		return func(r *http.Request) { r.RemoteAddr = address }
	}
	const wrong = `{"token":"wrong-wrong-wrong-wrong"}`
	for range maxFailures {
		g.login(t, from("10.0.0.1:1")) // a good one costs nothing
		if r := g.ask("POST", sessionPath, wrong, from("10.0.0.1:1")); r.code != http.StatusUnauthorized {
			t.Fatalf("a wrong token: %s", r.status)
		}
	}
	for _, body := range []string{wrong, logInBody} {
		if r := g.ask("POST", sessionPath, body, from("10.0.0.1:2")); r.code != http.StatusTooManyRequests || r.header.Get("Retry-After") == "" {
			t.Errorf("one too many: %s", r.status)
		}
	}
	g.login(t, from("10.0.0.2:1"))
	for range maxFailures {
		g.ask("POST", sessionPath, wrong, from("[2001:db8::1]:1"))
	}
	if r := g.ask("POST", sessionPath, logInBody, from("[2001:db8::2]:1")); r.code != http.StatusTooManyRequests {
		t.Errorf("a neighbour in one network of 64 bits: %s", r.status)
	}
	// A flood from everywhere keeps a bounded number of peers.
	for i := range 3 * maxAllFailures {
		g.ask("POST", sessionPath, wrong, from(netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)}), 1).String()))
	}
	if n := len(g.sessions.failed); n > maxAllFailures {
		t.Errorf("%d peers are remembered", n)
	}
	now = now.Add(failureTime)
	g.login(t, from("10.0.0.1:3"))
	if n := len(g.sessions.failed); n > 1 {
		t.Errorf("%d peers are remembered after the time", n)
	}
}

func TestLogInsEndAndAreBounded(t *testing.T) {
	g := newGuarded(adminToken)
	now := time.Now()
	g.sessions.now = func() time.Time { return now }
	first := g.login(t)
	now = now.Add(time.Minute)
	second := g.login(t)
	if got := g.ask("GET", "/v1/x", "", with(first)).body; got != "operator by session" {
		t.Errorf("the first of two: %q", got)
	}
	for range maxSessions - 1 {
		now = now.Add(time.Second)
		g.login(t)
	}
	if r := g.ask("GET", "/v1/x", "", with(first)); r.code != http.StatusUnauthorized {
		t.Errorf("the oldest of too many: %s", r.status)
	}
	if got := g.ask("GET", "/v1/x", "", with(second)).body; got != "operator by session" {
		t.Errorf("the second: %q", got)
	}
	if n := len(g.sessions.known); n != maxSessions {
		t.Errorf("%d sessions", n)
	}
	now = now.Add(sessionTime)
	if r := g.ask("GET", "/v1/x", "", with(second)); r.code != http.StatusUnauthorized {
		t.Errorf("after its time: %s", r.status)
	}
	g.login(t)
	if n := len(g.sessions.known); n != 1 {
		t.Errorf("%d sessions after their time", n)
	}
}

func TestAnotherTokenEndsTheLogIns(t *testing.T) {
	g := newGuarded(adminToken)
	c := g.login(t)
	g.SetToken(secret.New("another-token-of-the-tests"))
	if r := g.ask("GET", "/v1/x", "", with(c)); r.code != http.StatusUnauthorized {
		t.Errorf("a log-in with the token of before: %s", r.status)
	}
	g.SetToken(secret.New(adminToken))
	if got := g.ask("GET", "/v1/x", "", with(c)).body; got != "operator by session" {
		t.Errorf("with the token back: %q", got)
	}
	g.SetToken(secret.Value{})
	if got := g.ask("GET", "/v1/x", "", with(c)).body; got != "reader" {
		t.Errorf("without a token: %q", got)
	}
}

func TestNumbersAreForWhoLoggedIn(t *testing.T) {
	for _, v := range []Viewer{{}, {MayChange: true}} {
		if v.ShowNumbers(true) || v.SeesNumbers() {
			t.Errorf("%+v sees numbers", v)
		}
	}
	v := Viewer{MayChange: true, session: &session{}}
	if v.SeesNumbers() || !v.ShowNumbers(true) || !v.SeesNumbers() || !v.ShowNumbers(false) || v.SeesNumbers() {
		t.Error("who logged in does not see what was asked for")
	}
}
