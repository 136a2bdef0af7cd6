package spool

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// stateTimeout bounds what one collection of metrics waits for a stream's state.
const stateTimeout = time.Second

// The spool's instruments. Where they tell events apart it is by type, as in
// callpop.v1, never by agent or number.
const (
	// MetricStored counts events put into the spool, by type.
	MetricStored = "callpop.spool.stored"
	// MetricEvents and MetricBytes are what the spool holds, by type; MetricLimit
	// is how many bytes of each type it may.
	MetricEvents = "callpop.spool.events"
	MetricBytes  = "callpop.spool.bytes"
	MetricLimit  = "callpop.spool.limit"
	// MetricMaxAge is how long it holds an event, in seconds.
	MetricMaxAge = "callpop.spool.max_age"
	// MetricFree is the free space of the file system, MetricMinFree what must stay
	// free.
	MetricFree    = "callpop.spool.free"
	MetricMinFree = "callpop.spool.min_free"
	// MetricState is 1 for the state that the spool is in, 0 for the others.
	MetricState = "callpop.spool.state"
	// MetricRestarts counts restarts of the embedded server.
	MetricRestarts = "callpop.spool.restarts"
	// MetricLost counts events that damage took, by type; MetricLostUndelivered those
	// of them that a sink had not had, by type and sink.
	MetricLost            = "callpop.spool.lost"
	MetricLostUndelivered = "callpop.spool.lost.undelivered"
	// MetricEmitDuration is how long an emit took, in seconds, by type; failures
	// carry error.type.
	MetricEmitDuration = "callpop.spool.emit.duration"
)

// metrics are the spool's instruments.
type metrics struct {
	duration metric.Float64Histogram
	stored   metric.Int64Counter
	restarts metric.Int64Counter
	// lost are events that damage took, undelivered those of them that a sink had
	// not had.
	lost, undelivered metric.Int64Counter
	observer          metric.Registration
	// Made once: the attributes of a type, as each kind of call wants them.
	types    [len(streams)]metric.MeasurementOption
	counted  [len(streams)][]metric.AddOption
	recorded [len(streams)][]metric.RecordOption
}

func newMetrics(s *Spool, meter metric.Meter) (*metrics, error) {
	if meter == nil {
		meter = noop.NewMeterProvider().Meter("")
	}
	m := &metrics{}
	for i, st := range streams {
		m.types[i] = metric.WithAttributeSet(attribute.NewSet(attribute.String("type", string(st.typ))))
		m.counted[i], m.recorded[i] = []metric.AddOption{m.types[i]}, []metric.RecordOption{m.types[i]}
	}
	var errs [6]error
	m.duration, errs[0] = meter.Float64Histogram(MetricEmitDuration, metric.WithUnit("s"),
		metric.WithDescription("Time to store an event, waiting for disk space or a restart included."))
	m.stored, errs[1] = meter.Int64Counter(MetricStored, metric.WithUnit("{event}"),
		metric.WithDescription("Events put into the spool."))
	m.restarts, errs[2] = meter.Int64Counter(MetricRestarts, metric.WithUnit("{restart}"),
		metric.WithDescription("Restarts of the embedded server after a write had failed."))
	m.lost, errs[3] = meter.Int64Counter(MetricLost, metric.WithUnit("{event}"),
		metric.WithDescription("Events that damage took from the spool, counted when it is opened."))
	m.undelivered, errs[4] = meter.Int64Counter(MetricLostUndelivered, metric.WithUnit("{event}"),
		metric.WithDescription("Events that damage took from the spool before the sink had them, counted when it is opened."))
	errs[5] = m.observe(s, meter)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make the spool's instruments: %w", err)
	}
	// A counter that is there only once it is 1 shows no increase to an alert.
	m.restarts.Add(context.Background(), 0)
	for i := range streams {
		m.stored.Add(context.Background(), 0, m.counted[i]...)
		m.lost.Add(context.Background(), 0, m.counted[i]...)
	}
	return m, nil
}

// lacking counts events of a stream that damage took before a sink had them. It is
// called for each sink that has a cursor, with 0 too.
func (m *metrics) lacking(st stream, sink string, n uint64) {
	m.undelivered.Add(context.Background(), int64(n), metric.WithAttributes( //nolint:gosec // a count
		attribute.String("type", string(st.typ)), attribute.String("sink", sink)))
}

// phases are the values of state while the spool is open.
var phases = [...]Phase{Serving, LowSpace, Restarting, Failed}

// observe shows what the spool is like when somebody asks.
func (m *metrics) observe(s *Spool, meter metric.Meter) error {
	var errs []error
	gauge := func(name, unit, description string) metric.Int64ObservableUpDownCounter {
		g, err := meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return g
	}
	events := gauge(MetricEvents, "{event}", "Events that the spool holds, delivered ones included.")
	bytes := gauge(MetricBytes, "By", "Bytes that the spool holds, delivered events included.")
	limit := gauge(MetricLimit, "By", "Bytes that the spool may hold of each type (spool.max_bytes); beyond it the oldest go.")
	maxAge := gauge(MetricMaxAge, "s", "Age at which an event leaves the spool (spool.max_age), delivered or not.")
	free := gauge(MetricFree, "By", "Free space of the spool's file system.")
	minFree := gauge(MetricMinFree, "By", "Free space below which the spool takes nothing (spool.min_free).")
	state := gauge(MetricState, "1", "1 for the state that the spool is in: serving, low_space, restarting or failed.")
	if err := errors.Join(errs...); err != nil {
		return err
	}
	var err error
	m.observer, err = meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		status := s.Status()
		o.ObserveInt64(free, int64(min(status.FreeBytes, 1<<62)))
		o.ObserveInt64(minFree, int64(s.config.MinFree))
		o.ObserveInt64(maxAge, int64(s.config.MaxAge/time.Second))
		for _, phase := range phases {
			o.ObserveInt64(state, oneIf(status.Phase == phase), metric.WithAttributes(attribute.String("state", string(phase))))
		}
		for i := range streams {
			o.ObserveInt64(limit, int64(s.config.MaxBytes), m.types[i])
		}
		e := s.current()
		if e == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, stateTimeout)
		defer cancel()
		for i, st := range streams {
			held, err := streamState(ctx, e, st)
			if err != nil {
				return err
			}
			o.ObserveInt64(events, int64(held.Messages), m.types[i])
			o.ObserveInt64(bytes, int64(held.Bytes), m.types[i])
		}
		return nil
	}, events, bytes, limit, maxAge, free, minFree, state)
	return err
}

func oneIf(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

// emitted records one emit. It counts also where ctx is done.
func (m *metrics) emitted(ctx context.Context, st stream, d time.Duration, err error) {
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		m.duration.Record(ctx, d.Seconds(), metric.WithAttributes(
			attribute.String("type", string(st.typ)), attribute.String("error.type", errorType(err))))
		return
	}
	m.duration.Record(ctx, d.Seconds(), m.recorded[st.index]...)
	m.stored.Add(ctx, 1, m.counted[st.index]...)
}

// errorType is one of few words for err.
func errorType(err error) string {
	switch {
	case errors.Is(err, ErrTooLarge):
		return "too_large"
	case errors.Is(err, ErrRestarted), errors.Is(err, ErrClosed):
		return "stopped"
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "cancelled"
	case isFault(err):
		return "write_failed"
	default:
		return "_OTHER"
	}
}
