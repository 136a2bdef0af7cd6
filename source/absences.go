package source

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// maxAbsence is how long an agent is remembered that nobody has heard of since.
const maxAbsence = 30 * 24 * time.Hour

// Absences knows since when each agent has had no session, also from before the
// connector started: an agent's gap begins when its last session was last heard,
// however many starts ago that was. Its methods may be called from any goroutine.
type Absences struct {
	// alive is when the connector last ran, before it started; zero where unknown.
	alive time.Time
	known *absent
}

// absent is what all that are made of one Absences have together.
type absent struct {
	mu sync.Mutex // guards what follows
	// since is 0 for an agent that has a session.
	since   map[absentKey]instant
	changed bool
}

// absentKey names an agent of a source, as it is saved.
type absentKey string

func keyOf(source, agent string) absentKey { return absentKey(source + "/" + agent) }

// NewAbsences begins where saved, from [Absences.Save], ended; alive is when the
// connector that saved it last ran, until which those with a session then had one.
// With no saved state every absence begins at alive. The error says that saved
// cannot be read; the Absences are as good as without it.
func NewAbsences(saved []byte, alive time.Time) (*Absences, error) {
	a := &Absences{alive: alive, known: &absent{since: map[absentKey]instant{}, changed: true}}
	if len(saved) == 0 {
		return a, nil
	}
	known := map[absentKey]time.Time{}
	if err := json.Unmarshal(saved, &known); err != nil {
		return a, fmt.Errorf("read since when agents have had no session: %w", err)
	}
	for name, since := range known {
		if since.IsZero() || since.After(alive) {
			since = alive
		}
		if !since.IsZero() && time.Since(since) < maxAbsence {
			a.known.since[name] = instantOf(since)
		}
	}
	return a, nil
}

// NoAbsences knows of no time before now.
func NoAbsences() *Absences { return &Absences{known: &absent{since: map[absentKey]instant{}}} }

// WithoutPast is the same for a source that is new: an agent that nobody knows
// begins now, and not when the connector last ran.
func (a *Absences) WithoutPast() *Absences { return &Absences{known: a.known} }

// Since is since when the agent of a source has had no session; zero where that is
// not known, or where it has one.
func (a *Absences) Since(source, agent string) time.Time {
	a.known.mu.Lock()
	defer a.known.mu.Unlock()
	since, known := a.known.since[keyOf(source, agent)]
	if !known {
		return a.alive
	}
	return since.time().UTC()
}

// Begin notes that the agent of a source has had no session since then.
func (a *Absences) Begin(source, agent string, since time.Time) {
	if since.IsZero() {
		since = time.Now() // zero would say that it has one
	}
	a.set(source, agent, since)
}

// End notes that the agent of a source has a session.
func (a *Absences) End(source, agent string) { a.set(source, agent, time.Time{}) }

func (a *Absences) set(source, agent string, since time.Time) {
	a.known.mu.Lock()
	defer a.known.mu.Unlock()
	a.known.since[keyOf(source, agent)] = instantOf(since)
	a.known.changed = true
}

// Forget forgets the agent of a source: what is known of agents that are no more
// must not grow without end.
func (a *Absences) Forget(source, agent string) {
	a.known.mu.Lock()
	defer a.known.mu.Unlock()
	delete(a.known.since, keyOf(source, agent))
	a.known.changed = true
}

// Unsaved says that what [Absences.Save] returned was not kept.
func (a *Absences) Unsaved() {
	a.known.mu.Lock()
	defer a.known.mu.Unlock()
	a.known.changed = true
}

// Save returns the state as JSON, nil where nothing has changed since the last one.
func (a *Absences) Save() []byte {
	a.known.mu.Lock()
	defer a.known.mu.Unlock()
	if !a.known.changed {
		return nil
	}
	a.known.changed = false
	return a.known.appendJSON(nil)
}

// appendJSON appends the times by name, as package json would. While thousands come
// and go that is done every second, and package json allocates five times for each
// entry: small garbage amid what the sessions keep, whose memory can then not be
// given back.
func (a *absent) appendJSON(dst []byte) []byte {
	const entry = len(`"source/agent":"2006-01-02T15:04:05.999999999Z",`)
	dst = append(slices.Grow(dst, len(a.since)*entry), '{')
	for name, since := range a.since {
		if dst[len(dst)-1] != '{' {
			dst = append(dst, ',')
		}
		dst = append(appendQuoted(dst, string(name)), ':', '"')
		dst = append(since.time().UTC().AppendFormat(dst, time.RFC3339Nano), '"')
	}
	return append(dst, '}')
}

// appendQuoted appends name as a JSON string.
func appendQuoted(dst []byte, name string) []byte {
	if strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r >= utf8.RuneSelf || r == '"' || r == '\\' }) {
		quoted, _ := json.Marshal(name) // which has no error for a string
		return append(dst, quoted...)
	}
	dst = append(append(dst, '"'), name...)
	return append(dst, '"')
}
