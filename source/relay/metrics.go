package relay

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// metrics of one source. No label holds an agent, an address or a number. Dials,
// ends and empty pops are those of package session.
type metrics struct {
	clients   metric.Int64UpDownCounter
	refused   metric.Int64Counter
	dials     metric.Int64Counter
	ends      metric.Int64Counter
	beats     metric.Int64Counter
	empties   metric.Int64Counter
	tapLost   metric.Int64Counter
	tapPanics metric.Int64Counter

	// source names the source, made once.
	source metric.MeasurementOption
}

func newMetrics(meter metric.Meter, c *Config) (*metrics, error) {
	if meter == nil {
		meter = noop.Meter{}
	}
	labels := attribute.NewSet(attribute.String("server", c.Server), attribute.String("source", c.Name))
	m := &metrics{source: metric.WithAttributeSet(labels)}
	var errs [8]error
	m.clients, errs[0] = meter.Int64UpDownCounter("callpop.relay.clients",
		metric.WithDescription("Desktops connected to the relay."), metric.WithUnit("{client}"))
	m.refused, errs[1] = meter.Int64Counter("callpop.relay.refused",
		metric.WithDescription("Desktops turned away, by reason: max_clients, max_clients_per_address, allow."), metric.WithUnit("{client}"))
	m.dials, errs[2] = meter.Int64Counter("callpop.session.dials",
		metric.WithDescription("Attempts to open a session."), metric.WithUnit("{attempt}"))
	m.ends, errs[3] = meter.Int64Counter("callpop.session.ends",
		metric.WithDescription("Attempts and sessions that ended, by reason."), metric.WithUnit("{session}"))
	m.beats, errs[4] = meter.Int64Counter("callpop.relay.heartbeats",
		metric.WithDescription("Heartbeats passed on to desktops."), metric.WithUnit("{heartbeat}"))
	m.empties, errs[5] = meter.Int64Counter("callpop.session.empty_pops",
		metric.WithDescription("Pops of no bytes, which carry nothing."), metric.WithUnit("{pop}"))
	m.tapLost, errs[6] = meter.Int64Counter("callpop.relay.tap_dropped_bytes",
		metric.WithDescription("Bytes that were passed on but that the tap could not take."), metric.WithUnit("By"))
	m.tapPanics, errs[7] = meter.Int64Counter("callpop.relay.tap_panics",
		metric.WithDescription("Bugs in the tap that were caught; the desktops' streams were not touched."), metric.WithUnit("{panic}"))
	for _, counter := range []metric.Int64Counter{m.dials, m.beats, m.empties, m.tapLost, m.tapPanics} {
		m.add(counter, 0) // from the start, for rates
	}
	m.client(0)
	for _, reason := range []string{refusedByAllow, refusedByMax, refusedByPerAddress} {
		m.refused.Add(context.Background(), 0, m.source, metric.WithAttributes(attribute.String("reason", reason)))
	}
	return m, errors.Join(errs[:]...)
}

func (m *metrics) add(counter metric.Int64Counter, n int64) {
	counter.Add(context.Background(), n, m.source)
}

func (m *metrics) addFor(counter metric.Int64Counter, reason string) {
	counter.Add(context.Background(), 1, m.source, metric.WithAttributes(attribute.String("reason", reason)))
}

func (m *metrics) client(delta int64) { m.clients.Add(context.Background(), delta, m.source) }
