package feed

import (
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/callpop/connector/internal/secret"
)

// forge makes a token by hand.
func forge(t *testing.T, method jwt.SigningMethod, key any, c jwt.MapClaims) string {
	t.Helper()
	token, err := jwt.NewWithClaims(method, c).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestATokenOpensItsAgentAndNothingElse(t *testing.T) {
	r := serve(t, t.TempDir(), nil)
	r.pop("801", 0)
	hour := time.Now().Add(time.Hour).Unix()
	key := []byte(signingKey.Reveal())
	claimed := func(server, agent any, exp int64) jwt.MapClaims {
		return jwt.MapClaims{"server": server, "agent": agent, "exp": exp}
	}
	none := forge(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, claimed("hq", "801", hour))
	for _, c := range []struct {
		name, header string
		want         int
		says         string
	}{
		{"its own", "Bearer " + forge(t, jwt.SigningMethodHS256, key, claimed("hq", "801", hour)), 200, ""},
		{"its own, scheme in lower case", "bearer " + r.token("801"), 200, ""},
		{"a back end's", "Bearer " + backToken, 200, ""},
		{"none", "", 401, "expected the header Authorization: Bearer"},
		{"an empty one", "Bearer ", 401, "expected the header"},
		{"another scheme", "Basic " + backToken, 401, "expected the header"},
		{"half a back end's", "Bearer " + backToken[:12], 401, "not valid"},
		{"another agent's", "Bearer " + r.token("802"), 403, `this token is for agent "802" of server "hq"`},
		{"another server's", "Bearer " + forge(t, jwt.SigningMethodHS256, key, claimed("hq2", "801", hour)), 403, "hq2"},
		{"one without an agent", "Bearer " + forge(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"server": "hq", "exp": hour}), 403, "agent"},
		{"an expired one", "Bearer " + forge(t, jwt.SigningMethodHS256, key, claimed("hq", "801", time.Now().Add(-time.Hour).Unix())), 401, "the token expired at 20"},
		{"one for ever", "Bearer " + forge(t, jwt.SigningMethodHS256, key, jwt.MapClaims{"server": "hq", "agent": "801"}), 401, "not valid"},
		{"one of another key", "Bearer " + forge(t, jwt.SigningMethodHS256, []byte("another key"), claimed("hq", "801", hour)), 401, "not valid"},
		{"an expired one of another key", "Bearer " + forge(t, jwt.SigningMethodHS256, []byte("another key"), claimed("hq", "801", 1)), 401, "not valid"},
		{"one of another algorithm", "Bearer " + forge(t, jwt.SigningMethodHS512, key, claimed("hq", "801", hour)), 401, "not valid"},
		{"an unsigned one", "Bearer " + none, 401, "not valid"},
		{"one of numbers", "Bearer " + forge(t, jwt.SigningMethodHS256, key, claimed("hq", 801, hour)), 401, "not valid"},
		{"a long one", "Bearer " + strings.Repeat("a", 10_000), 401, "not valid"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, body := r.answer(http.MethodGet, r.line("801")+"/latest", "Authorization", c.header)
			if status != c.want || !strings.Contains(body, c.says) || (c.want != 200) == strings.Contains(body, "13812345678") {
				t.Errorf("got %d %s, want %d %s", status, body, c.want, c.says)
			}
			if c.want == 200 {
				return
			}
			for _, ask := range []struct{ method, what string }{{"GET", ""}, {"GET", "?since=1h"}, {"HEAD", ""}, {"POST", "/ticket"}} {
				if status, body := r.answer(ask.method, r.line("801")+ask.what, "Authorization", c.header); status != c.want || strings.Contains(body, "138") {
					t.Errorf("%s %s: got %d %s", ask.method, ask.what, status, body)
				}
			}
		})
	}
	if strings.Contains(r.log.String(), backToken[:12]) || strings.Contains(r.log.String(), "138") {
		t.Errorf("the log has %s", r.log)
	}
}

func TestBadRequestsAreAnsweredWithWhatWasExpected(t *testing.T) {
	r := serve(t, t.TempDir(), nil)
	base := r.http.URL + "/v1/servers/"
	for _, c := range []struct {
		name, method, url, last string
		want                    int
		says                    string
	}{
		{"garbage for a place", "GET", r.line("801"), "17", 400, `Last-Event-ID: "17": expected the id of an event`},
		{"garbage in a place", "GET", r.line("801"), strings.Repeat("0", 20) + "-1x", 400, "expected the id of an event"},
		{"a huge place", "GET", r.line("801"), strings.Repeat("0", 20) + "-" + strings.Repeat("9", 20), 400, "expected the id of an event"},
		{"a long place", "GET", r.line("801"), strings.Repeat("f", 5000), 400, "expected the id of an event"},
		{"garbage for since", "GET", r.line("801") + "?since=yesterday", "", 400, `since: "yesterday": expected a time`},
		{"a negative since", "GET", r.line("801") + "?since=-5m", "", 400, "since"},
		{"garbage for latest's since", "GET", r.line("801") + "/latest?since=x", "", 400, "since"},
		{"an unknown server", "GET", base + "hp/agents/801/pops", "", 404, "no source takes pops of a server of this name"},
		{"a long agent", "GET", base + "hq/agents/" + strings.Repeat("8", 500) + "/pops", "", 400, "too long"},
		{"a token in the address", "GET", r.line("801") + "?token=" + backToken, "", 400, "does not belong into an address"},
		{"a wrong ticket", "GET", r.line("801") + "?ticket=x", "", 401, "the ticket is not valid"},
		{"a ticket for latest", "GET", r.line("801") + "/latest?ticket=x", "", 200, "pops"},
		{"another method", "PUT", r.line("801"), "", 405, ""},
		{"another path", "GET", r.http.URL + "/v1", "", 404, ""},
	} {
		header := []string{"Authorization", "Bearer " + backToken}
		if c.last != "" {
			header = append(header, "Last-Event-ID", c.last)
		}
		status, body := r.answer(c.method, c.url, header...)
		if status != c.want || !strings.Contains(body, c.says) || len(body) > 300 {
			t.Errorf("%s: got %d %s, want %d %s", c.name, status, body, c.want, c.says)
		}
	}
	if status, _ := r.answer("HEAD", r.line("801"), "Authorization", "Bearer "+backToken); status != 200 {
		t.Errorf("HEAD: %d", status)
	}
}

func TestNamesInThePathAreEscaped(t *testing.T) {
	r := serve(t, t.TempDir(), nil)
	token, err := Sign(signingKey, "分机/2", "8 0/1", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	_, ready := r.openURL(r.http.URL+"/v1/servers/%E5%88%86%E6%9C%BA%2F2/agents/8%200%2F1/pops", "Authorization", "Bearer "+token)
	if got := resumeOf(t, ready); got.Server != "分机/2" || got.Agent != "8 0/1" {
		t.Errorf("ready is %+v", got)
	}
}

func TestATicketOpensItsAgentOnce(t *testing.T) {
	r := serve(t, t.TempDir(), nil)
	ticket := func() string {
		t.Helper()
		status, body := r.answer(http.MethodPost, r.line("801")+"/ticket", "Authorization", "Bearer "+r.token("801"))
		_, rest, ok := strings.Cut(body, `{"ticket":"`)
		text, rest, _ := strings.Cut(rest, `"`)
		if status != http.StatusCreated || !ok || rest != `,"expires_in_seconds":60}` {
			t.Fatalf("%d %s", status, body)
		}
		return text
	}
	one := ticket()
	if status, body := r.answer("GET", r.line("802")+"?ticket="+one); status != 401 {
		t.Errorf("another agent: %d %s", status, body)
	}
	s, _ := r.openURL(r.line("801") + "?ticket=" + one)
	want := r.pop("801", 0)
	if got := s.pops(1); got[0] != want {
		t.Errorf("got %q", got)
	}
	if status, _ := r.answer("GET", r.line("801")+"?ticket="+one); status != 401 {
		t.Errorf("a second time: %d", status)
	}
	// Nine wait for one agent: the oldest has gone.
	first := ticket()
	for range agentTickets {
		ticket()
	}
	if status, _ := r.answer("GET", r.line("801")+"?ticket="+first); status != 401 {
		t.Errorf("the oldest of many: %d", status)
	}
}

func TestATicketIsGoodForAMinuteAndForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tickets := newTickets()
		issue := func(agent string) string {
			t.Helper()
			text, err := tickets.issue(access{agent: agentKey{"hq", agent}})
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		a := issue("801")
		time.Sleep(ticketTime - time.Second)
		if _, err := tickets.use(a, agentKey{"hq", "801"}); err != nil {
			t.Error(err)
		}
		b := issue("801")
		time.Sleep(ticketTime + time.Second)
		if _, err := tickets.use(b, agentKey{"hq", "801"}); err == nil {
			t.Error("used after more than a minute")
		}
		for i := range 5000 {
			issue(fmt.Sprint(i))
		}
		time.Sleep(ticketTime + time.Second)
		issue("801")
		if tickets.count != 1 || len(tickets.waiting) != 1 {
			t.Errorf("%d tickets of %d agents are kept", tickets.count, len(tickets.waiting))
		}
		for i := range maxTickets - 1 {
			issue(fmt.Sprint("x", i))
		}
		if _, err := tickets.issue(access{agent: agentKey{"hq", "802"}}); err == nil {
			t.Errorf("%d tickets wait at once", tickets.count)
		}
	})
}

func TestAFeedEndsWithItsToken(t *testing.T) {
	r := serve(t, t.TempDir(), nil)
	// The leeway for clocks is part of a token's time.
	token, err := Sign(signingKey, "hq", "801", time.Now().Add(-leeway+2*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	s, _ := r.openURL(r.line("801"), "Authorization", "Bearer "+token)
	if _, err := s.read(); err == nil {
		t.Error("the stream goes on")
	}
	if status, body := r.answer("GET", r.line("801"), "Authorization", "Bearer "+token); status != 401 || !strings.Contains(body, "expired") {
		t.Errorf("%d %s", status, body)
	}
}

func TestOpenFeedsAreBoundedAndGivenBack(t *testing.T) {
	r := serve(t, t.TempDir(), func(c *Config) { c.MaxConnections, c.MaxPerAgent = 3, 2 })
	first, _ := r.open("801")
	r.open("801")
	status := func(agent string) (int, string) {
		response := r.request("GET", r.line(agent), "Authorization", "Bearer "+r.token(agent))
		_ = response.Body.Close()
		return response.StatusCode, response.Header.Get("Retry-After")
	}
	if got, after := status("801"); got != http.StatusTooManyRequests || after == "" {
		t.Errorf("a third feed of one agent: %d, after %q", got, after)
	}
	r.open("802")
	if got, after := status("803"); got != http.StatusServiceUnavailable || after == "" {
		t.Errorf("a fourth feed: %d, after %q", got, after)
	}
	_ = first.body.Close()
	eventually(t, "the feed that was closed gives its place back", func() bool {
		got, _ := status("803")
		return got == http.StatusOK
	})
}

func TestABadTokenCostsNothingLasting(t *testing.T) {
	r := serve(t, t.TempDir(), nil)
	requests := 100_000
	if testing.Short() {
		requests = 5_000
	}
	try := func(n int) {
		for i := range n {
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.line("801"), nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Authorization", "Bearer "+[]string{r.token("802"), fmt.Sprint("nonsense-", i), ""}[i%3])
			w := &discard{}
			r.feed.Handler().ServeHTTP(w, request)
			if w.status != http.StatusUnauthorized && w.status != http.StatusForbidden {
				t.Fatalf("answered %d", w.status)
			}
		}
	}
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	try(1000) // what is made once
	before, goroutines := heap(), runtime.NumGoroutine()
	try(requests)
	if grown := int64(heap()) - int64(before); grown > 1<<20 {
		t.Errorf("%d bad tokens left %d bytes behind", requests, grown)
	}
	if n := runtime.NumGoroutine(); n > goroutines+5 {
		t.Errorf("%d goroutines, %d before", n, goroutines)
	}
	if lines := strings.Count(r.log.String(), "\n"); lines < 1 || lines > 5 {
		t.Errorf("the log has %d lines: %.500s", lines, r.log)
	}
	if strings.Contains(r.log.String(), "nonsense") {
		t.Errorf("the log shows what was sent: %.500s", r.log)
	}
}

// discard takes an answer and keeps its status.
type discard struct {
	header http.Header
	status int
}

func (d *discard) Header() http.Header {
	if d.header == nil {
		d.header = http.Header{}
	}
	return d.header
}
func (d *discard) WriteHeader(status int)      { d.status = status }
func (d *discard) Write(p []byte) (int, error) { return len(p), nil }

func TestOnlyAllowedOriginsMayRead(t *testing.T) {
	r := serve(t, t.TempDir(), func(c *Config) { c.AllowOrigins = []string{"https://crm.example"} })
	for _, c := range []struct {
		origin string
		want   string
	}{{"https://crm.example", "https://crm.example"}, {"https://evil.example", ""}, {"http://crm.example", ""}, {"null", ""}, {"https://crm.example.evil.example", ""}} {
		response := r.request("OPTIONS", r.line("801"), "Origin", c.origin, "Access-Control-Request-Method", "GET",
			"Access-Control-Request-Headers", "authorization,last-event-id")
		if got := response.Header.Get("Access-Control-Allow-Origin"); got != c.want {
			t.Errorf("preflight from %s: allowed %q, want %q", c.origin, got, c.want)
		}
		response = r.request("GET", r.line("801")+"/latest", "Origin", c.origin, "Authorization", "Bearer "+backToken)
		if got := response.Header.Get("Access-Control-Allow-Origin"); got != c.want || response.Header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("from %s: allowed %q, want %q", c.origin, got, c.want)
		}
	}
	nobody := serve(t, t.TempDir(), nil)
	response := nobody.request("GET", nobody.line("801")+"/latest", "Origin", "https://crm.example", "Authorization", "Bearer "+backToken)
	if got := response.Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("without a list %q is allowed", got)
	}
}

func TestATokenNeedsAKeyAndNames(t *testing.T) {
	for _, c := range []struct {
		key           secret.Value
		server, agent string
	}{{secret.New("short"), "hq", "801"}, {signingKey, "", "801"}, {signingKey, "hq", ""}} {
		if token, err := Sign(c.key, c.server, c.agent, time.Now()); err == nil {
			t.Errorf("%q %q: signed %s", c.server, c.agent, token)
		}
	}
}
