package source

import (
	"context"
	"fmt"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/callpop/connector/schema"
)

// MetricSessions is the number of sessions by server, source and state. What is
// connected is what /readyz calls up, and the sum of all states what it calls
// wanted.
const MetricSessions = "callpop.sessions"

// sessionStates are those that a session of a running source may be in.
var sessionStates = [...]schema.SessionState{
	schema.Connecting, schema.Connected, schema.Failed, schema.Expired, schema.Reconnecting,
}

// ObserveSessions shows the sessions of the sources that statuses gives whenever
// the metrics are read; it may be called at any time.
func ObserveSessions(meter metric.Meter, statuses func() []Status) error {
	_, err := meter.Int64ObservableUpDownCounter(MetricSessions,
		metric.WithDescription("Agents' sessions by state; connected means that the LQ server has been heard over it."),
		metric.WithUnit("{session}"),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			for _, s := range statuses() {
				if s.States == nil {
					continue
				}
				for _, state := range sessionStates {
					o.Observe(int64(s.States[state]), metric.WithAttributeSet(attribute.NewSet(
						attribute.String("server", s.Server), attribute.String("source", s.Name),
						attribute.String("state", string(state)))))
				}
			}
			return nil
		}))
	if err != nil {
		return fmt.Errorf("make metric %s: %w", MetricSessions, err)
	}
	return nil
}

// tally counts the sessions of a fleet by state. A closed session is none.
type tally struct {
	mu     sync.Mutex
	states map[schema.SessionState]int
}

func newTally() *tally { return &tally{states: map[schema.SessionState]int{}} }

// move notes that a session went from one state to another and returns how many
// are in that one now. from is empty for a session that is new.
func (t *tally) move(from, to schema.SessionState) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if from != "" && from != schema.Closed {
		t.states[from]--
	}
	if to != schema.Closed {
		t.states[to]++
	}
	return t.states[to]
}

func (t *tally) of(state schema.SessionState) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.states[state]
}

// all gives a copy of every count.
func (t *tally) all() map[schema.SessionState]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := make(map[schema.SessionState]int, len(t.states))
	for state, n := range t.states {
		counts[state] = n
	}
	return counts
}
