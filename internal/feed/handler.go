package feed

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/rs/cors"
)

const linePath = "/v1/servers/{server}/agents/{agent}/pops"

func (f *Feed) routes() (http.Handler, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+linePath, f.serveStream)
	mux.HandleFunc("GET "+linePath+"/latest", f.serveLatest)
	mux.HandleFunc("POST "+linePath+"/ticket", f.serveTicket)
	if err := addPages(mux, f.config); err != nil {
		return nil, err
	}
	return cors.New(cors.Options{
		// An empty list would mean every origin to this library.
		AllowOriginFunc: func(origin string) bool { return f.allowed(origin) },
		AllowedMethods:  []string{http.MethodGet, http.MethodHead, http.MethodPost},
		AllowedHeaders:  []string{"Authorization", "Last-Event-ID", "Cache-Control"},
		ExposedHeaders:  []string{"Retry-After"},
		// A CRM on the internet may be allowed to read a connector in the office.
		AllowPrivateNetwork: true,
		MaxAge:              600,
	}).Handler(mux), nil
}

func (f *Feed) allowed(origin string) bool {
	for _, o := range f.config.AllowOrigins {
		if o == origin {
			return true
		}
	}
	return false
}

// agentOf is the agent whose line a request asks for.
func agentOf(r *http.Request) agentKey { return agentKey{r.PathValue("server"), r.PathValue("agent")} }

// maxName bounds the names in a path, in bytes: a server's is 64 at most.
const maxName = 128

// admit says what a request may read, by its token or, where a ticket will do, by
// its ticket.
func (f *Feed) admit(r *http.Request, ticketToo bool) (access, error) {
	agent := agentOf(r)
	if len(agent.server) > maxName || len(agent.agent) > maxName {
		return access{}, &refusal{http.StatusBadRequest, "bad_name", "the server's or agent's name is too long"}
	}
	query := r.URL.Query()
	for _, name := range []string{"token", "access_token"} {
		if query.Has(name) {
			return access{}, &refusal{http.StatusBadRequest, "token_in_url", name + ": a token does not belong into an address, which is written into logs: send the header Authorization: Bearer, or a ticket"}
		}
	}
	var a access
	var err error
	if ticketToo && query.Has("ticket") && r.Method == http.MethodGet {
		a, err = f.tickets.use(query.Get("ticket"), agent)
	} else {
		a, err = f.keys.admit(r, agent)
	}
	if err != nil {
		return access{}, err
	}
	if !f.known(agent.server) {
		return access{}, &refusal{http.StatusNotFound, "no_server", "no source takes pops of a server of this name"}
	}
	return a, nil
}

// refuse answers with what is wrong.
func (f *Feed) refuse(w http.ResponseWriter, r *http.Request, err error) {
	refused := &refusal{http.StatusServiceUnavailable, "spool", "the pops cannot be read at present"}
	if !errors.As(err, &refused) && r.Context().Err() == nil {
		f.log.Warn("the agent feed cannot read the spool", "error", err)
	}
	f.metrics.refuse(r.Context(), refused.reason)
	switch refused.status {
	case http.StatusUnauthorized:
		f.refused.Do(func() {
			f.log.Warn("http.public: requests without a valid token are refused", "peer", r.RemoteAddr, "reason", refused.reason)
		})
		w.Header().Set("WWW-Authenticate", `Bearer realm="connector"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "5")
	}
	http.Error(w, refused.message, refused.status)
}

// serveTicket makes a ticket for one who has a token.
func (f *Feed) serveTicket(w http.ResponseWriter, r *http.Request) {
	a, err := f.admit(r, false)
	if err != nil {
		f.refuse(w, r, err)
		return
	}
	text, err := f.tickets.issue(a)
	if err != nil {
		f.refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusCreated, struct {
		Ticket           string `json:"ticket"`
		ExpiresInSeconds int    `json:"expires_in_seconds"`
	}{text, int(ticketTime / time.Second)})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(v) // a peer that left is no news
}
