package callback

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/callpop/connector/internal/certfile/certtest"
)

func TestAPortInUseIsOneClearError(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	c := testConfig(func(c *Config) { c.Listen = taken.Addr().String() })
	_, err = New(c, Options{Logger: slog.New(slog.DiscardHandler)})
	if want := "listen on " + c.Listen + ": "; !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), c.Listen) != 1 {
		t.Errorf("got %v, want %q and the cause", err, want)
	}
}

// freePort returns an address that was free a moment ago, for tests that need the
// same one twice.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestSourcesShareAListenerWithPathsOfTheirOwn(t *testing.T) {
	st, servers, at := newStore(), NewServers(), freePort(t)
	options := Options{Intake: startIntake(t, st.emit, &logged{}), Servers: servers, Logger: slog.New(slog.DiscardHandler)}
	newSource := func(name, path string) (*Source, error) {
		return New(testConfig(func(c *Config) { c.Name, c.Server, c.Path, c.Listen = name, name, path, at }), options)
	}
	hq, err := newSource("hq", "/hq")
	if err != nil {
		t.Fatal(err)
	}
	branch, err := newSource("branch", "/branch")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := newSource("other", "/hq"); err == nil || !strings.Contains(err.Error(), `path is "/hq", which source hq has`) {
		t.Errorf("a path twice: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := [2]chan error{}
	ended[0], ended[1] = begin(ctx, hq), begin(t.Context(), branch)

	get(t, "http://"+at+"/hq?"+manualsExample)
	get(t, "http://"+at+"/branch?"+manualsExample)
	servedBy := map[string]bool{}
	for _, e := range st.await(t, 2) {
		servedBy[decodePop(t, e).Server] = true
	}
	if !servedBy["hq"] || !servedBy["branch"] {
		t.Errorf("events of %v", servedBy)
	}

	// One goes, the other stays.
	cancel()
	if err := <-ended[0]; err != nil {
		t.Errorf("Run: %v", err)
	}
	if got := get(t, "http://"+at+"/hq?"+manualsExample).StatusCode; got != http.StatusNotFound {
		t.Errorf("the one that ended answers %d", got)
	}
	if got := get(t, "http://"+at+"/branch?"+manualsExample).StatusCode; got != http.StatusNoContent {
		t.Errorf("the one that stays answers %d", got)
	}
	// It comes back, and both end.
	if hq, err = newSource("hq", "/hq"); err != nil {
		t.Fatal(err)
	}
	ended[0] = begin(t.Context(), hq)
	if got := get(t, "http://"+at+"/hq?"+manualsExample).StatusCode; got != http.StatusNoContent {
		t.Errorf("the one that came back answers %d", got)
	}
	for i, s := range []*Source{hq, branch} {
		if err := errors.Join(s.Close(), s.Close(), <-ended[i]); err != nil {
			t.Errorf("close: %v", err)
		}
	}
	// The address is free again.
	again, err := newSource("hq", "/hq")
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close() // never run
}

func begin(ctx context.Context, s *Source) chan error {
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	return ended
}

func TestASlowClientDoesNotHoldUpTheEnd(t *testing.T) {
	s, err := New(testConfig(nil), Options{Logger: slog.New(slog.DiscardHandler), Intake: startIntake(t, newStore().emit, &logged{})})
	if err != nil {
		t.Fatal(err)
	}
	ended := begin(t.Context(), s)
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := conn.Write([]byte("POST /pop HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nphone=1")); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("Run: %v", err)
		}
	case <-time.After(waiting):
		t.Error("Run did not end")
	}
	if status := s.Status(); status.Type != "callback" || status.Wanted != 0 || status.Up != 0 || status.Server != "hq" {
		t.Errorf("status %+v", status)
	}
}

func TestHTTPSServesTheCertificateOfTheFiles(t *testing.T) {
	dir := t.TempDir()
	files := TLS{CertFile: filepath.Join(dir, "cert.pem"), KeyFile: filepath.Join(dir, "key.pem")}
	options := Options{Logger: slog.New(slog.DiscardHandler)}
	st := newStore()
	options.Intake = startIntake(t, st.emit, &logged{})
	if _, err := New(testConfig(func(c *Config) { c.TLS = files }), options); err == nil || !strings.Contains(err.Error(), "cert.pem") {
		t.Fatalf("without the files: %v", err)
	}
	certtest.Write(t, files.CertFile, files.KeyFile, 1)
	s, err := New(testConfig(func(c *Config) { c.TLS = files }), options)
	if err != nil {
		t.Fatal(err)
	}
	run(t, s)
	c := client()
	c.Transport = &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // the certificate signs itself
	}
	response, err := c.Get("https://" + s.Addr().String() + "/pop?" + manualsExample)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusNoContent || response.TLS.PeerCertificates[0].SerialNumber.Int64() != 1 {
		t.Errorf("answered %s with certificate %v", response.Status, response.TLS.PeerCertificates[0].SerialNumber)
	}
	st.await(t, 1)
}
