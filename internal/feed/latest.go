package feed

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
)

// maxLatest bounds the pops of one answer: the newest of a busy shift.
const maxLatest = 200

// latestAnswer is what a page that was just opened wants to know.
type latestAnswer struct {
	// Position is where a stream goes on from here, as its Last-Event-ID.
	Position string `json:"position"`
	// Session is the newest SessionChanged event, absent where none is known.
	Session json.RawMessage `json:"session,omitempty"`
	// Pops are the newest, the newest first.
	Pops []latestPop `json:"pops"`
}

type latestPop struct {
	ID   string          `json:"id"`
	Late bool            `json:"late,omitempty"`
	Pop  json.RawMessage `json:"pop"`
}

// serveLatest answers with the newest pop, or with since the newest ones from then
// on, and with the agent's session.
func (f *Feed) serveLatest(w http.ResponseWriter, r *http.Request) {
	_, err := f.admit(r, false)
	if err != nil {
		f.refuse(w, r, err)
		return
	}
	since, err := parseSince(r.URL.Query().Get("since"), time.Now(), f.config.MaxSince)
	if err != nil {
		f.refuse(w, r, err)
		return
	}
	answer, err := f.latest(r.Context(), agentOf(r), since)
	if err != nil {
		f.refuse(w, r, err)
		return
	}
	writeJSON(w, http.StatusOK, answer)
}

func (f *Feed) latest(ctx context.Context, agent agentKey, since time.Time) (latestAnswer, error) {
	select {
	case f.reads <- struct{}{}:
		defer func() { <-f.reads }()
	case <-ctx.Done():
		return latestAnswer{}, ctx.Err()
	}
	// The position comes first: what enters after it is in the stream.
	state, err := f.spool.State(ctx, schema.TypeCallPop)
	if err != nil {
		return latestAnswer{}, err
	}
	answer := latestAnswer{Position: position{f.spool.ID(), state.Last}.String(), Pops: []latestPop{}}
	session, ok, err := f.spool.LatestOfAgent(ctx, spool.AgentLine{Type: schema.TypeSessionChanged, Server: agent.server, Agent: agent.agent})
	if err != nil {
		return latestAnswer{}, err
	}
	if ok {
		answer.Session = session.Body
	}
	line := spool.AgentLine{Type: schema.TypeCallPop, Server: agent.server, Agent: agent.agent}
	var records []spool.Record
	if since.IsZero() {
		newest, ok, err := f.spool.LatestOfAgent(ctx, line)
		if err != nil {
			return latestAnswer{}, err
		}
		if ok {
			records = append(records, newest)
		}
	} else if records, err = f.newest(ctx, line, since); err != nil {
		return latestAnswer{}, err
	}
	now := time.Now()
	for i := len(records) - 1; i >= 0; i-- {
		r := records[i]
		answer.Pops = append(answer.Pops, latestPop{r.SpoolSequence, isLate(now.Sub(r.Time), f.config), r.Body})
	}
	return answer, nil
}

// newest reads an agent's pops from a time on and keeps the newest.
func (f *Feed) newest(ctx context.Context, line spool.AgentLine, since time.Time) ([]spool.Record, error) {
	var kept []spool.Record
	records, err := f.spool.AgentEventsSince(ctx, line, since)
	for err == nil && len(records) > 0 {
		kept = append(kept, records...)
		kept = kept[max(0, len(kept)-maxLatest):]
		records, err = f.spool.AgentEvents(ctx, line, kept[len(kept)-1].Sequence)
	}
	return kept, err
}
