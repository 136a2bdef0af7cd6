package feed

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
)

// queueBytes bounds what waits for one stream; one event may go beyond it.
const queueBytes = 16 << 10

// hub hands what enters the spool to the streams of its agent.
type hub struct {
	spool *spool.Spool
	log   *slog.Logger

	mu sync.Mutex
	// queues are guarded by mu, as is all in them.
	queues map[agentKey][]*queue
	// open counts the queues; guarded by mu.
	open int
	// pops is the sequence of the newest pop that was handed out; guarded by mu.
	pops uint64
}

// queue is what waits for one stream.
type queue struct {
	agent   agentKey
	records []spool.Record
	bytes   int
	// behind is set where something did not fit: the stream has to read the spool.
	behind bool
	// ready has one element when there is something to take.
	ready chan struct{}
}

// follow hands out the events of type t that come after sequence until ctx is done.
func (h *hub) follow(ctx context.Context, t schema.Type, after uint64) {
	warn := rate.Sometimes{Interval: time.Minute}
	h.spool.Follow(ctx, t, after, h.hand, func(err error) {
		warn.Do(func() { h.log.Warn("the agent feed cannot read the spool; it tries again", "error", err) })
	})
}

// hand puts a record into the queues of its agent.
func (h *hub) hand(r spool.Record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.Type == schema.TypeCallPop {
		h.pops = r.Sequence
	}
	for _, q := range h.queues[agentKey{r.Server, r.Agent}] {
		switch {
		case q.behind:
		case len(q.records) > 0 && q.bytes+len(r.Body) > queueBytes:
			q.records, q.bytes, q.behind = nil, 0, true
		default:
			q.records, q.bytes = append(q.records, r), q.bytes+len(r.Body)
		}
		select {
		case q.ready <- struct{}{}:
		default:
		}
	}
}

// join makes a queue for an agent's events, from the one after the returned
// sequence on, within the limits of all and of one agent.
func (h *hub) join(agent agentKey, most, mostOfAgent int) (*queue, uint64, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.open >= most:
		return nil, 0, &refusal{http.StatusServiceUnavailable, "connections", "too many feeds are open (feed.max_connections)"}
	case len(h.queues[agent]) >= mostOfAgent:
		return nil, 0, &refusal{http.StatusTooManyRequests, "agent_connections", "too many feeds of this agent are open (feed.max_per_agent)"}
	}
	q := &queue{agent: agent, ready: make(chan struct{}, 1)}
	h.queues[agent] = append(h.queues[agent], q)
	h.open++
	return q, h.pops, nil
}

func (h *hub) leave(q *queue) {
	h.mu.Lock()
	defer h.mu.Unlock()
	left := slices.DeleteFunc(h.queues[q.agent], func(other *queue) bool { return other == q })
	if len(left) == 0 {
		delete(h.queues, q.agent)
	} else {
		h.queues[q.agent] = left
	}
	h.open--
}

// take empties a queue. Where behind is true, what is missing is in the spool, and
// what enters it from now on is queued.
func (h *hub) take(q *queue) (records []spool.Record, behind bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	records, behind = q.records, q.behind
	q.records, q.bytes, q.behind = nil, 0, false
	return records, behind
}
