package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/schema"
)

const api = "/console/api/"

func (c *Console) routes() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+api+"state", c.serveState)
	mux.HandleFunc("GET "+api+"events/{type}/{sequence}", c.serveEvent)
	mux.HandleFunc("GET "+api+"agents/{server}/{agent}", c.serveAgent)
	mux.HandleFunc("GET "+api+"dead-letters", c.serveLetters)
	mux.HandleFunc("POST "+api+"dead-letters/retry", c.serveRetry)
	mux.HandleFunc("POST "+api+"numbers", c.serveNumbers)
	return mux, addPages(mux)
}

// serveEvent explains one event.
func (c *Console) serveEvent(w http.ResponseWriter, r *http.Request) {
	t := schema.Type(r.PathValue("type"))
	sequence, err := strconv.ParseUint(r.PathValue("sequence"), 10, 64)
	if err != nil || sequence == 0 || !slices.Contains(schema.Types[:], t) {
		refuse(w, http.StatusBadRequest, "expected an event type and a sequence")
		return
	}
	leave, err := c.enter(r.Context())
	if err != nil {
		c.fail(w, err)
		return
	}
	defer leave()
	entry, err := control.CallOne(r.Context(), c.client, control.Read, control.ReadRequest{
		Filter: control.Filter{Types: []schema.Type{t}, After: sequence - 1, Through: sequence}, Limit: 1,
	})
	switch {
	case err != nil:
		c.fail(w, err)
		return
	case entry.Event.ID == "":
		refuse(w, http.StatusNotFound, "the spool no longer has this event")
		return
	}
	x, err := explain(&entry, web.ViewerOf(r.Context()).SeesNumbers())
	if err != nil {
		c.fail(w, err)
		return
	}
	answer(w, http.StatusOK, x)
}

const (
	// agentTime is how far back an agent's events are looked for, maxOfAgent how many
	// of a kind are shown, agentReads how many times the spool is asked for them.
	agentTime  = 8 * time.Hour
	maxOfAgent = 50
	agentReads = 64
	// maxName bounds the names in a path, in bytes.
	maxName = 128
)

// serveAgent answers with what happened to one agent, the newest first.
func (c *Console) serveAgent(w http.ResponseWriter, r *http.Request) {
	server, agent := r.PathValue("server"), r.PathValue("agent")
	if len(server) > maxName || len(agent) > maxName {
		refuse(w, http.StatusBadRequest, "the server's or agent's name is too long")
		return
	}
	leave, err := c.enter(r.Context())
	if err != nil {
		c.fail(w, err)
		return
	}
	defer leave()
	numbers := web.ViewerOf(r.Context()).SeesNumbers()
	events := []eventView{}
	for _, t := range []schema.Type{schema.TypeCallPop, schema.TypeSessionChanged} {
		line := spool.AgentLine{Type: t, Server: server, Agent: agent}
		var kept []spool.Record
		records, err := c.host.Spool.AgentEventsSince(r.Context(), line, time.Now().Add(-agentTime))
		for n := 1; err == nil && len(records) > 0; n++ {
			kept = append(kept, records...)
			kept = kept[max(0, len(kept)-maxOfAgent):]
			if n == agentReads {
				break
			}
			records, err = c.host.Spool.AgentEvents(r.Context(), line, kept[len(kept)-1].Sequence)
		}
		if err != nil {
			c.fail(w, err)
			return
		}
		for _, record := range kept {
			events = append(events, viewOf(&record.Event, record.Sequence, numbers))
		}
	}
	slices.SortStableFunc(events, func(a, b eventView) int { return b.At.Compare(a.At) })
	answer(w, http.StatusOK, struct {
		Events []eventView `json:"events"`
	}{events})
}

// serveNumbers shows or hides customers' numbers, for who logged in.
func (c *Console) serveNumbers(w http.ResponseWriter, r *http.Request) {
	var request struct {
		Show bool `json:"show"`
	}
	if err := read(w, r, &request); err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	if !web.ViewerOf(r.Context()).ShowNumbers(request.Show) {
		refuse(w, http.StatusForbidden, "numbers are shown to a browser that logged in")
		return
	}
	c.log.Info("customers' numbers in the console", "shown", request.Show, "peer", r.RemoteAddr)
	w.WriteHeader(http.StatusNoContent)
}

// maxRequest bounds a request's body.
const maxRequest = 32 << 10

func read(w http.ResponseWriter, r *http.Request, into any) error {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRequest))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("read the request: more than one JSON value")
	}
	return nil
}

// fail answers to what went wrong in the connector.
func (c *Console) fail(w http.ResponseWriter, err error) {
	status := http.StatusInternalServerError
	if errors.Is(err, errStopping) || errors.Is(err, spool.ErrClosed) {
		status = http.StatusServiceUnavailable
	}
	refuse(w, status, err.Error())
}

func refuse(w http.ResponseWriter, status int, message string) {
	answer(w, status, map[string]string{"error": message})
}

func answer(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(true)
	_ = e.Encode(body) // a peer that left is no news
}
