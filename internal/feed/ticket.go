package feed

import (
	"crypto/rand"
	"crypto/subtle"
	"net/http"
	"slices"
	"sync"
	"time"
)

const (
	// ticketTime is how long a ticket waits to be used.
	ticketTime = time.Minute
	// agentTickets bounds those of one agent: the oldest goes for a new one.
	agentTickets = 8
	// maxTickets bounds those of all agents.
	maxTickets = 100_000
)

// tickets open a stream once each. A URL is written into logs and histories, so
// what stands in one must be worth nothing afterwards.
type tickets struct {
	now func() time.Time
	mu  sync.Mutex
	// waiting is guarded by mu.
	waiting map[agentKey][]ticket
	count   int       // guarded by mu
	swept   time.Time // guarded by mu
}

type ticket struct {
	text   string
	ends   time.Time
	access access
}

func newTickets() *tickets {
	return &tickets{now: time.Now, waiting: map[agentKey][]ticket{}}
}

// issue makes a ticket for what a may read.
func (t *tickets) issue(a access) (string, error) {
	made := ticket{rand.Text(), t.now().Add(ticketTime), a}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count >= maxTickets || t.now().Sub(t.swept) > ticketTime {
		t.sweep()
	}
	if t.count >= maxTickets {
		return "", &refusal{http.StatusServiceUnavailable, "tickets", "too many tickets are waiting to be used"}
	}
	mine := t.waiting[a.agent]
	if len(mine) >= agentTickets {
		mine = slices.Delete(mine, 0, 1)
		t.count--
	}
	t.waiting[a.agent] = append(mine, made)
	t.count++
	return made.text, nil
}

// sweep forgets tickets that nobody used in time. The caller holds mu.
func (t *tickets) sweep() {
	now := t.now()
	t.swept = now
	for agent, all := range t.waiting {
		kept := slices.DeleteFunc(all, func(w ticket) bool { return now.After(w.ends) })
		t.count -= len(all) - len(kept)
		if len(kept) == 0 {
			delete(t.waiting, agent)
		} else {
			t.waiting[agent] = kept
		}
	}
}

// use takes a ticket, which is then gone.
func (t *tickets) use(text string, agent agentKey) (access, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	mine := t.waiting[agent]
	for i, w := range mine {
		if subtle.ConstantTimeCompare([]byte(w.text), []byte(text)) != 1 {
			continue
		}
		t.count--
		if mine = slices.Delete(mine, i, i+1); len(mine) == 0 {
			delete(t.waiting, agent)
		} else {
			t.waiting[agent] = mine
		}
		if t.now().After(w.ends) {
			break
		}
		return w.access, nil
	}
	return access{}, &refusal{http.StatusUnauthorized, "bad_ticket", "the ticket is not valid: it opens its agent's feed once, within a minute"}
}
