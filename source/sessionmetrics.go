package source

import (
	"context"
	"fmt"

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
