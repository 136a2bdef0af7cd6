package source

import (
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// maxAbsence is how long an agent is remembered that nobody has heard of since.
const maxAbsence = 30 * 24 * time.Hour

// Absences knows since when each agent has had no session, also from before the
// connector started: an agent's gap begins when its last session was last heard,
// however many starts ago that was. Its methods may be called from any goroutine.
type Absences struct {
	// alive is when the connector last ran, before it started; zero where unknown.
	alive time.Time

	mu sync.Mutex // guards what follows
	// since is zero for an agent that has a session.
	since   map[string]time.Time
	changed bool
}

// NewAbsences begins where saved, from [Absences.Save], ended; alive is when the
// connector that saved it last ran, until which those with a session then had one.
// With no saved state every absence begins at alive. The error says that saved
// cannot be read; the Absences are as good as without it.
func NewAbsences(saved []byte, alive time.Time) (*Absences, error) {
	a := &Absences{alive: alive, since: map[string]time.Time{}, changed: true}
	if len(saved) == 0 {
		return a, nil
	}
	known := map[string]time.Time{}
	if err := json.Unmarshal(saved, &known); err != nil {
		return a, fmt.Errorf("read since when agents have had no session: %w", err)
	}
	for name, since := range known {
		if since.IsZero() || since.After(alive) {
			since = alive
		}
		if !since.IsZero() && time.Since(since) < maxAbsence {
			a.since[name] = since
		}
	}
	return a, nil
}

// NoAbsences knows of no time before now.
func NoAbsences() *Absences { return &Absences{since: map[string]time.Time{}} }

func absent(o *Origin) string { return o.Name + "/" + o.Agent }

// Since is since when o's agent has had no session; zero where that is not known,
// or where it has one.
func (a *Absences) Since(o *Origin) time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	since, known := a.since[absent(o)]
	if !known {
		return a.alive
	}
	return since
}

// Begin notes that o's agent has had no session since then.
func (a *Absences) Begin(o *Origin, since time.Time) {
	if since.IsZero() {
		since = time.Now() // zero would say that it has one
	}
	a.set(o, since)
}

// End notes that o's agent has a session.
func (a *Absences) End(o *Origin) { a.set(o, time.Time{}) }

func (a *Absences) set(o *Origin, since time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.since[absent(o)] = since.UTC()
	a.changed = true
}

// Forget forgets o's agent: what is not known of it must not grow without end.
func (a *Absences) Forget(o *Origin) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.since, absent(o))
	a.changed = true
}

// Unsaved says that what [Absences.Save] returned was not kept.
func (a *Absences) Unsaved() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.changed = true
}

// Save returns the state as JSON, nil where nothing has changed since the last one.
func (a *Absences) Save() ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.changed {
		return nil, nil
	}
	text, err := json.Marshal(a.since)
	if err != nil {
		return nil, fmt.Errorf("encode since when agents have had no session: %w", err)
	}
	a.changed = false
	return text, nil
}
