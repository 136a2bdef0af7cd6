package main

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/net/netutil"
)

// The limits of a request.
const (
	maxConnections = 64
	maxKey         = 512 // bytes, as below
	maxNumber      = 64
	maxLimit       = 1000
	defaultLimit   = 100
	answerTimeout  = 20 * time.Second
)

// api answers GET /calls.
type api struct {
	store *store
	token string // empty: anybody on this machine
	log   *slog.Logger
}

// serve answers on a listener until ctx is done.
func serve(ctx context.Context, listener net.Listener, a *api) error {
	server := &http.Server{
		Handler:           a,
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: answerTimeout + 10*time.Second,
		IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10,
		ErrorLog: slog.NewLogLogger(a.log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(netutil.LimitListener(listener, maxConnections)) }()
	select {
	case err := <-ended:
		return fmt.Errorf("answer on %s: %w", listener.Addr(), err)
	case <-ctx.Done():
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if server.Shutdown(last) != nil {
		_ = server.Close()
	}
	if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("answer on %s: %w", listener.Addr(), err)
	}
	return nil
}

// problem is what is wrong with a request. It does not hold the customer's number.
type problem struct {
	status   int
	Name     string `json:"name"`
	Value    string `json:"value"`
	Expected string `json:"expected"`
}

// ServeHTTP implements [http.Handler].
func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
	defer cancel()
	q, wrong := a.read(r)
	if wrong != nil {
		answer(w, wrong.status, map[string]*problem{"error": wrong})
		return
	}
	calls, next, err := a.store.find(ctx, q)
	switch {
	case errors.Is(err, errNoEvent):
		answer(w, http.StatusBadRequest, map[string]*problem{"error": {
			Name: "before", Value: quote(q.before), Expected: "the next of an answer; it may have been deleted since",
		}})
	case err != nil:
		a.log.Error("calls could not be read", "error", err)
		answer(w, http.StatusInternalServerError, map[string]*problem{"error": {
			Name: "database", Value: "not readable", Expected: "to be tried again; the program's log says why",
		}})
	default:
		if calls == nil {
			calls = []call{}
		}
		answer(w, http.StatusOK, struct {
			Calls []call `json:"calls"`
			// Next is the before of the next request, where there are more.
			Next string `json:"next,omitempty"`
		}{calls, next})
	}
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	switch status {
	case http.StatusMethodNotAllowed:
		w.Header().Set("Allow", "GET, HEAD")
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body) // an error means that nobody is there
}

// read checks a request.
func (a *api) read(r *http.Request) (*query, *problem) {
	if wrong := a.admit(r); wrong != nil {
		return nil, wrong
	}
	if r.URL.Path != "/calls" {
		return nil, &problem{http.StatusNotFound, "path", quote(r.URL.Path), "/calls"}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return nil, &problem{http.StatusMethodNotAllowed, "method", quote(r.Method), "GET or HEAD"}
	}
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, bad("query", "not URL-encoded", "key=… or number=…, with limit=… and before=… if you like")
	}
	return parseQuery(values)
}

// admit checks who asks.
func (a *api) admit(r *http.Request) *problem {
	if a.token == "" {
		// A page of another site can have its name point here.
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		if !loopback(strings.Trim(host, "[]")) {
			return &problem{http.StatusForbidden, "Host", quote(host), "a loopback address"}
		}
		return nil
	}
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if subtle.ConstantTimeCompare([]byte(token), []byte(a.token)) != 1 {
		return &problem{http.StatusUnauthorized, "Authorization", "not shown", "Bearer and the token of " + tokenVariable}
	}
	return nil
}

func bad(name, value, expected string) *problem {
	return &problem{http.StatusBadRequest, name, value, expected}
}

func parseQuery(values url.Values) (*query, *problem) {
	for name, all := range values {
		switch name {
		case "key", "number", "limit", "before":
		default:
			return nil, bad("parameter", quote(name), "key, number, limit or before")
		}
		if len(all) > 1 {
			return nil, bad(name, fmt.Sprintf("%d of them", len(all)), "one")
		}
	}
	q := &query{key: values.Get("key"), before: values.Get("before"), limit: defaultLimit}
	number := values.Get("number")
	switch {
	case values.Has("key") == values.Has("number"):
		given := "neither"
		if values.Has("key") {
			given = "both"
		}
		return nil, bad("key, number", given, "one of the two")
	case values.Has("key") && (q.key == "" || len(q.key) > maxKey || !utf8.ValidString(q.key)):
		return nil, bad("key", fmt.Sprintf("%d bytes", len(q.key)), fmt.Sprintf("1 to %d bytes of UTF-8: an event's key, such as hq/1234", maxKey))
	case values.Has("number"):
		if q.number = plain(number); q.number == "" || len(number) > maxNumber || !utf8.ValidString(number) {
			return nil, bad("number", fmt.Sprintf("%d bytes", len(number)), fmt.Sprintf("1 to %d bytes: a number as the telephone system writes it, or as +862586307627 (%%2B862586307627)", maxNumber))
		}
	}
	if values.Has("limit") {
		n, err := strconv.Atoi(values.Get("limit"))
		if err != nil || n < 1 || n > maxLimit {
			return nil, bad("limit", quote(values.Get("limit")), fmt.Sprintf("1 to %d", maxLimit))
		}
		q.limit = n
	}
	return q, nil
}

// plain is a number without what people write between its digits. A + that was not
// encoded came as a space.
func plain(number string) string {
	return strings.NewReplacer(" ", "", "-", "", "(", "", ")", "").Replace(number)
}

// quote shows the beginning of what somebody sent.
func quote(text string) string {
	const most = 64
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "\uFFFD")
}
