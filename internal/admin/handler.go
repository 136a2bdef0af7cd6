package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
)

// Desk has the rosters. Its errors are [Error]s where the request is at fault.
type Desk interface {
	Servers() []Server
	Roster(server string) (Roster, error)
	Agent(server, id string) (Agent, error)
	// Put adds an agent, or changes the channel; an empty channel has the server
	// find it. source may be empty where there is no choice. added is false for an
	// agent that was there.
	Put(server, source, id, channel string) (a Agent, added bool, err error)
	Delete(server, source, id string) error
	// Replace makes entries, in the forms of the configuration's agents, the roster.
	Replace(server, source string, entries []any) (Changed, error)
	// Restore makes the configured roster the roster.
	Restore(server, source string) (Changed, error)
}

// Error is an answer that is an error.
type Error struct {
	// Status is that of HTTP.
	Status int
	// Text says what was wrong and what was expected.
	Text string
}

func (e *Error) Error() string { return e.Text }

// Errorf makes an [Error].
func Errorf(status int, format string, args ...any) error {
	return &Error{status, fmt.Sprintf(format, args...)}
}

// Options are what the API works with.
type Options struct {
	Desk Desk
	// Reload reads the configuration again; it returns the answer, and false where
	// nothing changed because something is wrong.
	Reload func(r *http.Request) (answer any, ok bool)
	Logger *slog.Logger
}

// The largest bodies: a whole roster, and one agent.
const (
	maxRoster = 4 << 20
	maxAgent  = 4 << 10
)

// Handler serves the API.
func Handler(o Options) http.Handler {
	a := &api{o}
	mux := http.NewServeMux()
	a.on(mux, "/v1/servers", map[string]answerer{"GET": a.servers})
	a.on(mux, "/v1/servers/{server}/agents", map[string]answerer{"GET": a.roster, "PUT": a.replace, "DELETE": a.restore})
	a.on(mux, "/v1/servers/{server}/agents/{id}", map[string]answerer{"GET": a.agent, "PUT": a.put, "DELETE": a.delete})
	a.on(mux, "/v1/reload", map[string]answerer{"POST": a.reload})
	mux.HandleFunc("/v1/", func(w http.ResponseWriter, r *http.Request) {
		a.fail(w, r, Errorf(http.StatusNotFound, "nothing is at %s", r.URL.Path))
	})
	return mux
}

type api struct{ Options }

// answerer answers a request: with a status and a value for JSON, nil for none.
type answerer func(w http.ResponseWriter, r *http.Request) (status int, answer any, err error)

// on serves the methods of a path, and refuses all others.
func (a *api) on(mux *http.ServeMux, path string, methods map[string]answerer) {
	var allowed []string
	for _, method := range []string{"GET", "PUT", "POST", "DELETE"} {
		if methods[method] != nil {
			allowed = append(allowed, method)
		}
	}
	allow := strings.Join(allowed, ", ")
	mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		answer := methods[method]
		if answer == nil {
			w.Header().Set("Allow", allow)
			a.fail(w, r, Errorf(http.StatusMethodNotAllowed, "%s is not possible here: expected %s", r.Method, allow))
			return
		}
		status, value, err := answer(w, r)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		write(w, status, value)
	})
}

// fail answers with an error. What is not an [Error] is trouble of our own, and is
// logged.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	status, text := http.StatusInternalServerError, err.Error()
	var said *Error
	if errors.As(err, &said) {
		status = said.Status
	} else if a.Logger != nil {
		a.Logger.Error("an operator's request failed", "method", r.Method, "path", r.URL.Path, "error", err)
	}
	write(w, status, map[string]string{"error": text})
}

func write(w http.ResponseWriter, status int, value any) {
	if value == nil {
		w.WriteHeader(status)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(value) // a peer that left is no news
}

func (a *api) servers(http.ResponseWriter, *http.Request) (int, any, error) {
	return http.StatusOK, map[string][]Server{"servers": a.Desk.Servers()}, nil
}

func (a *api) roster(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	roster, err := a.Desk.Roster(r.PathValue("server"))
	return http.StatusOK, roster, err
}

func (a *api) agent(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	agent, err := a.Desk.Agent(r.PathValue("server"), r.PathValue("id"))
	return http.StatusOK, agent, err
}

func (a *api) put(w http.ResponseWriter, r *http.Request) (int, any, error) {
	var body struct {
		Channel any `json:"channel"`
	}
	if err := read(w, r, maxAgent, &body, `nothing, or {"channel": "12"}`); err != nil {
		return 0, nil, err
	}
	channel := ""
	switch c := body.Channel.(type) {
	case nil:
	case string:
		channel = c
	case json.Number:
		channel = c.String()
	default:
		return 0, nil, Errorf(http.StatusBadRequest, `channel: expected text, such as {"channel": "12"}`)
	}
	agent, added, err := a.Desk.Put(r.PathValue("server"), r.URL.Query().Get("source"), r.PathValue("id"), channel)
	if added {
		return http.StatusCreated, agent, err
	}
	return http.StatusOK, agent, err
}

func (a *api) delete(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	return http.StatusNoContent, nil, a.Desk.Delete(r.PathValue("server"), r.URL.Query().Get("source"), r.PathValue("id"))
}

func (a *api) replace(w http.ResponseWriter, r *http.Request) (int, any, error) {
	const expected = `a list of agents, such as ["801", "810-829", {"id": "901", "channel": "12"}]`
	var entries []any
	if err := read(w, r, maxRoster, &entries, expected); err != nil {
		return 0, nil, err
	}
	if entries == nil {
		return 0, nil, Errorf(http.StatusBadRequest, "the body is empty: expected %s", expected)
	}
	for i := range entries {
		entries[i] = plain(entries[i])
	}
	changed, err := a.Desk.Replace(r.PathValue("server"), r.URL.Query().Get("source"), entries)
	return http.StatusOK, changed, err
}

func (a *api) restore(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	changed, err := a.Desk.Restore(r.PathValue("server"), r.URL.Query().Get("source"))
	return http.StatusOK, changed, err
}

func (a *api) reload(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	answer, ok := a.Reload(r)
	if !ok {
		return http.StatusUnprocessableEntity, answer, nil
	}
	return http.StatusOK, answer, nil
}

// plain gives numbers as they are written: agent 0801 is not 801.
func plain(in any) any {
	switch in := in.(type) {
	case json.Number:
		return in.String()
	case map[string]any:
		for key, value := range in {
			in[key] = plain(value)
		}
	}
	return in
}

// read reads a body of one JSON value, or none.
func read(w http.ResponseWriter, r *http.Request, limit int64, into any, expected string) error {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return Errorf(http.StatusRequestEntityTooLarge, "the body is larger than %d bytes", limit)
	}
	if err != nil {
		return Errorf(http.StatusBadRequest, "the body cannot be read: %v", err)
	}
	if len(bytes.TrimSpace(text)) == 0 {
		return nil
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return Errorf(http.StatusBadRequest, "the body is not what was expected: %v: expected %s", err, expected)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return Errorf(http.StatusBadRequest, "the body has more than one JSON value: expected %s", expected)
	}
	return nil
}
