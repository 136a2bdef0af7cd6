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

// emitBuckets are seconds: an emit takes a tenth of a millisecond, or with
// sync: always a few, or as long as the log holds back.
var emitBuckets = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 60}

// stateTimeout bounds what one collection of metrics waits for a stream's state.
const stateTimeout = time.Second

// metrics are the spool's instruments. Their attributes name streams, never
// agents or numbers.
type metrics struct {
	duration metric.Float64Histogram
	events   metric.Int64Counter
	restarts metric.Int64Counter
	// lost are events that damage took, undelivered those of them that a sink had
	// not had.
	lost, undelivered metric.Int64Counter
	observer          metric.Registration
	ok                [len(streams)]metric.MeasurementOption // made once
}

func newMetrics(s *Spool, meter metric.Meter) (*metrics, error) {
	if meter == nil {
		meter = noop.NewMeterProvider().Meter("")
	}
	m := &metrics{}
	for i, st := range streams {
		m.ok[i] = metric.WithAttributeSet(attribute.NewSet(attribute.String("stream", st.name)))
	}
	var errs [8]error
	m.duration, errs[0] = meter.Float64Histogram("callpop.spool.emit.duration", metric.WithUnit("s"),
		metric.WithDescription("Time an emit took, waiting for disk space or a restart included."),
		metric.WithExplicitBucketBoundaries(emitBuckets...))
	m.events, errs[1] = meter.Int64Counter("callpop.spool.events", metric.WithUnit("{event}"),
		metric.WithDescription("Events put into the spool."))
	m.restarts, errs[2] = meter.Int64Counter("callpop.spool.restarts", metric.WithUnit("{restart}"),
		metric.WithDescription("Restarts of the embedded server."))
	bytes, err := meter.Int64ObservableGauge("callpop.spool.bytes", metric.WithUnit("By"),
		metric.WithDescription("Bytes that a stream of the spool holds."))
	errs[3] = err
	free, err := meter.Int64ObservableGauge("callpop.spool.free_bytes", metric.WithUnit("By"),
		metric.WithDescription("Free space of the spool's file system."))
	errs[4] = err
	m.observer, errs[5] = meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		o.ObserveInt64(free, int64(min(s.Status().FreeBytes, 1<<62)))
		e := s.current()
		if e == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, stateTimeout)
		defer cancel()
		for i, st := range streams {
			state, err := streamState(ctx, e, st)
			if err != nil {
				return err
			}
			o.ObserveInt64(bytes, int64(state.Bytes), m.ok[i])
		}
		return nil
	}, bytes, free)
	m.lost, errs[6] = meter.Int64Counter("callpop.spool.lost", metric.WithUnit("{event}"),
		metric.WithDescription("Events that damage took from the spool."))
	m.undelivered, errs[7] = meter.Int64Counter("callpop.spool.lost.undelivered", metric.WithUnit("{event}"),
		metric.WithDescription("Events that damage took from the spool before the sink had them."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("make the spool's instruments: %w", err)
	}
	return m, nil
}

// emitted records one emit. It counts also where ctx is done.
func (m *metrics) emitted(ctx context.Context, st stream, d time.Duration, err error) {
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		m.duration.Record(ctx, d.Seconds(), metric.WithAttributes(
			attribute.String("stream", st.name), attribute.String("error.type", errorType(err))))
		return
	}
	m.duration.Record(ctx, d.Seconds(), m.ok[st.index])
	m.events.Add(ctx, 1, m.ok[st.index])
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
