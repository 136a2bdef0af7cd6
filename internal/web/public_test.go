package web

import (
	"io"
	"net/http"
	"path/filepath"
	"testing"

	"crypto/tls"

	"github.com/callpop/connector/internal/certfile/certtest"
)

// startPublic serves a public address until the test ends.
func startPublic(t *testing.T, c Config, handler http.HandlerFunc) *Listener {
	t.Helper()
	c.Public = "127.0.0.1:0"
	l, err := ListenPublic(t.Context(), c, handler, 10, nil)
	if err != nil {
		t.Fatal(err)
	}
	return served(t, l)
}

func TestThePublicAddressServesItsHandler(t *testing.T) {
	hello := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }
	l := startPublic(t, Config{}, hello)
	status, header, body := do(t, newClient(t), http.MethodGet, l.URL())
	if status != http.StatusOK || body != "hello" || header.Get("Cache-Control") != "no-store" || header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s: got %d %v %s", l.URL(), status, header, body)
	}

	dir := t.TempDir()
	files := TLS{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	certtest.Write(t, files.CertFile, files.KeyFile, 7)
	secure := startPublic(t, Config{PublicTLS: files}, hello)
	client := newClient(t)
	client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the certificate signs itself
	if status, _, body := do(t, client, http.MethodGet, secure.URL()); status != http.StatusOK || body != "hello" {
		t.Errorf("%s: got %d %s", secure.URL(), status, body)
	}
}

func TestAListenersURLStaysTheSameWhileItServes(t *testing.T) {
	l := startPublic(t, Config{}, http.NotFound)
	want := "http://" + l.Addr().String()
	for range 3 {
		do(t, newClient(t), http.MethodGet, want)
		if got := l.URL(); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
}

func TestAPublicAddressInClearIsKnown(t *testing.T) {
	for _, c := range []struct {
		config Config
		want   bool
	}{
		{Config{}, false}, {Config{Public: "127.0.0.1:80"}, false}, {Config{Public: "localhost:80"}, false},
		{Config{Public: ":80"}, true}, {Config{Public: "10.0.0.1:80"}, true},
		{Config{Public: ":443", PublicTLS: TLS{CertFile: "c", KeyFile: "k"}}, false},
	} {
		if got := c.config.PublicInClear(); got != c.want {
			t.Errorf("%+v: got %v", c.config, got)
		}
	}
}
