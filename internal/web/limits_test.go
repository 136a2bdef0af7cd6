package web

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// blocking answers a request after release is closed, and says when one began.
func blocking() (handler http.Handler, began <-chan struct{}, release chan struct{}) {
	begin := make(chan struct{}, 1)
	release = make(chan struct{})
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		begin <- struct{}{}
		<-release
		_, _ = io.WriteString(w, "late\n")
	}), begin, release
}

func TestAStopLetsARequestUnderWayFinish(t *testing.T) {
	handler, began, release := blocking()
	l := healthLimits()
	l.stopTimeout = patience
	h, err := listenHealth(t.Context(), Options{Readiness: serving, Metrics: handler}, l)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx) }()
	conn := request(t, h.Addr().String(), "/metrics")
	<-began
	stop()
	close(release)
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasSuffix(string(answer), "late\n") {
		t.Errorf("got %q, %v", answer, err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

func TestAStopIsBounded(t *testing.T) {
	handler, began, release := blocking()
	l := healthLimits()
	l.stopTimeout = 10 * time.Millisecond
	h, err := listenHealth(t.Context(), Options{Readiness: serving, Metrics: handler}, l)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- h.Serve(ctx) }()
	conn := request(t, h.Addr().String(), "/metrics")
	<-began
	stop()
	if err := <-served; err != nil { // returns though the request has not ended
		t.Errorf("Serve: %v", err)
	}
	close(release)
	if answer, _ := io.ReadAll(conn); strings.Contains(string(answer), "late") {
		t.Errorf("the request was not cut off: %q", answer)
	}
}

func TestAHeaderThatIsTooLongIsRefused(t *testing.T) {
	address := start(t, Options{Readiness: serving}, healthLimits())
	conn := dial(t, address)
	// The server may answer and hang up before all is written.
	_, _ = fmt.Fprintf(conn, "GET /livez HTTP/1.1\r\nHost: x\r\nX: %s\r\n\r\n", strings.Repeat("x", 64<<10))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil || !strings.Contains(line, "431") {
		t.Errorf("got %q, %v, want status 431", line, err)
	}
}

func TestAPeerThatDoesNotFinishItsRequestIsCutOff(t *testing.T) {
	l := healthLimits()
	l.headerTimeout = 10 * time.Millisecond
	address := start(t, Options{Readiness: serving}, l)
	conn := dial(t, address)
	if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost:"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(conn); err != nil {
		t.Errorf("the connection is not closed: %v", err)
	}
}

func TestAnIdleConnectionIsClosed(t *testing.T) {
	l := healthLimits()
	l.idleTimeout, l.readTimeout = 10*time.Millisecond, time.Hour
	address := start(t, Options{Readiness: serving}, l)
	answer, err := io.ReadAll(request(t, address, "/livez"))
	if err != nil || !strings.HasSuffix(string(answer), "ok\n") {
		t.Errorf("got %q, %v, want an answer and the end", answer, err)
	}
}

func TestConnectionsBeyondTheLimitWaitTheirTurn(t *testing.T) {
	l := healthLimits()
	l.connections = 2
	address := start(t, Options{Readiness: serving}, l)
	answered := func(conn net.Conn) error {
		_, err := bufio.NewReader(conn).ReadString('\n')
		return err
	}
	first, second := request(t, address, "/livez"), request(t, address, "/livez")
	for _, conn := range []net.Conn{first, second} {
		if err := answered(conn); err != nil {
			t.Fatal(err)
		}
	}
	third := request(t, address, "/livez")
	if err := third.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if err := answered(third); !isTimeout(err) {
		t.Fatalf("the third connection: got %v, want no answer while two are open", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := third.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if err := answered(third); err != nil {
		t.Errorf("the third connection, after the first closed: %v", err)
	}
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}
