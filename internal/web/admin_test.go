package web

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"crypto/tls"

	"github.com/callpop/connector/internal/certfile/certtest"
	"github.com/callpop/connector/internal/secret"
)

const adminToken = "correct-horse-battery"

// startAdmin serves an admin address that answers "reached" until the test ends.
func startAdmin(t *testing.T, c Config) *Listener {
	t.Helper()
	c.Admin = "127.0.0.1:0"
	l, err := ListenAdmin(t.Context(), c, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "reached")
	}), nil)
	if err != nil {
		t.Fatal(err)
	}
	return served(t, l)
}

// served serves a listener until the test ends.
func served(t *testing.T, l *Listener) *Listener {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- l.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return l
}

func TestTheGuardLetsThroughWhatAnOperatorMayDo(t *testing.T) {
	open := startAdmin(t, Config{}).Addr().String()
	locked := startAdmin(t, Config{AdminToken: secret.New(adminToken)}).Addr().String()
	client := newClient(t)
	for _, c := range []struct {
		name, address, method string
		host                  string
		header                map[string]string
		want                  int
	}{
		{"reading on this machine", open, "GET", "", nil, 200},
		{"reading by a name of this machine", open, "GET", "localhost:1", nil, 200},
		{"reading by IPv6", open, "GET", "[::1]", nil, 200},
		{"reading by a foreign name that leads here", open, "GET", "evil.example", nil, 403},
		{"reading by a number that is not loopback", open, "GET", "10.0.0.1:8090", nil, 403},
		{"changing without a token set", open, "PUT", "", nil, 403},
		{"changing with a token where none is set", open, "DELETE", "", map[string]string{"Authorization": "Bearer "}, 403},
		{"the token", locked, "GET", "", map[string]string{"Authorization": "Bearer " + adminToken}, 200},
		{"the token, from anywhere", locked, "PUT", "pop.example", map[string]string{"Authorization": "bearer " + adminToken}, 200},
		{"no token", locked, "GET", "", nil, 401},
		{"an empty token", locked, "GET", "", map[string]string{"Authorization": "Bearer "}, 401},
		{"half of the token", locked, "GET", "", map[string]string{"Authorization": "Bearer " + adminToken[:10]}, 401},
		{"more than the token", locked, "GET", "", map[string]string{"Authorization": "Bearer " + adminToken + "x"}, 401},
		{"another scheme", locked, "GET", "", map[string]string{"Authorization": "Basic " + adminToken}, 401},
		{"a foreign page's form", locked, "POST", "", map[string]string{"Authorization": "Bearer " + adminToken, "Sec-Fetch-Site": "cross-site"}, 403},
		{"a foreign page by its origin", locked, "PUT", "", map[string]string{"Authorization": "Bearer " + adminToken, "Origin": "http://evil.example"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), c.method, "http://"+c.address+"/v1/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = c.host
			for key, value := range c.header {
				r.Header.Set(key, value)
			}
			response, err := client.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = response.Body.Close() }()
			body, _ := io.ReadAll(response.Body)
			if response.StatusCode != c.want || (string(body) == "reached") != (c.want == 200) {
				t.Errorf("got %d %s, want %d", response.StatusCode, body, c.want)
			}
			if strings.Contains(string(body), adminToken) || response.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("answered %v %s", response.Header, body)
			}
			if c.want == 401 && response.Header.Get("WWW-Authenticate") == "" {
				t.Error("401 without WWW-Authenticate")
			}
		})
	}
}

func TestProfilesAreServedOnlyWhereTheyAreSwitchedOn(t *testing.T) {
	client := newClient(t)
	for _, c := range []struct {
		on   bool
		want string
	}{{true, "goroutine profile"}, {false, "reached"}} {
		l := startAdmin(t, Config{Pprof: c.on})
		status, _, body := do(t, client, http.MethodGet, l.URL()+"/debug/pprof/goroutine?debug=1")
		if status != http.StatusOK || !strings.Contains(body, c.want) {
			t.Errorf("pprof %v: got %d %.80s, want %s", c.on, status, body, c.want)
		}
	}
}

func TestAdminServesHTTPS(t *testing.T) {
	dir := t.TempDir()
	files := TLS{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	if _, err := ListenAdmin(t.Context(), Config{Admin: "127.0.0.1:0", AdminTLS: files}, http.NotFoundHandler(), nil); err == nil ||
		!strings.HasPrefix(err.Error(), "http.admin_tls: ") || !strings.Contains(err.Error(), files.CertFile) {
		t.Errorf("without the files: %v", err)
	}
	certtest.Write(t, files.CertFile, files.KeyFile, 7)
	l := startAdmin(t, Config{AdminTLS: files})
	client := newClient(t)
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the certificate signs itself
	if !strings.HasPrefix(l.URL(), "https://") {
		t.Errorf("URL() = %s", l.URL())
	}
	if status, _, body := do(t, client, http.MethodGet, l.URL()); status != http.StatusOK || body != "reached" {
		t.Errorf("got %d %s", status, body)
	}
}

func TestAnAdminAddressThatIsOffTakesNoPort(t *testing.T) {
	l, err := ListenAdmin(t.Context(), Config{}, http.NotFoundHandler(), nil)
	if err != nil || l.Addr() != nil || l.URL() != "" {
		t.Errorf("got %v, %v", l, err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if err := l.Serve(t.Context()); err != nil { // returns: it is closed
		t.Error(err)
	}
}
