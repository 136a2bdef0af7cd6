package feed

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// delayBuckets are seconds from the socket to the stream.
var delayBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// metrics are the feed's instruments. Their attributes name kinds and reasons,
// never agents or peers.
type metrics struct {
	streams metric.Int64UpDownCounter
	events  metric.Int64Counter
	refused metric.Int64Counter
	behind  metric.Int64Counter
	delay   metric.Float64Histogram
}

func newMetrics(meter metric.Meter) (*metrics, error) {
	if meter == nil {
		meter = noop.NewMeterProvider().Meter("")
	}
	m := &metrics{}
	var errs [5]error
	m.streams, errs[0] = meter.Int64UpDownCounter("callpop.feed.streams", metric.WithUnit("{stream}"),
		metric.WithDescription("Agent feeds that are open."))
	m.events, errs[1] = meter.Int64Counter("callpop.feed.events", metric.WithUnit("{event}"),
		metric.WithDescription("Pops written to agent feeds, by whether they were late."))
	m.refused, errs[2] = meter.Int64Counter("callpop.feed.refused", metric.WithUnit("{request}"),
		metric.WithDescription("Requests for agent feeds that were refused, by reason."))
	m.behind, errs[3] = meter.Int64Counter("callpop.feed.behind", metric.WithUnit("{time}"),
		metric.WithDescription("Times that a peer read so slowly that its feed went on from the spool."))
	m.delay, errs[4] = meter.Float64Histogram("callpop.feed.delay", metric.WithUnit("s"),
		metric.WithDescription("Time from the receipt of a pop to its writing to a feed, of pops that are not late."),
		metric.WithExplicitBucketBoundaries(delayBuckets...))
	return m, errors.Join(errs[:]...)
}

func (m *metrics) open(ctx context.Context, change int64) { m.streams.Add(ctx, change) }

func (m *metrics) fellBehind(ctx context.Context) { m.behind.Add(ctx, 1) }

func (m *metrics) refuse(ctx context.Context, reason string) {
	m.refused.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", reason)))
}

func (m *metrics) sent(ctx context.Context, name string, age time.Duration) {
	m.events.Add(ctx, 1, metric.WithAttributes(attribute.String("event", name)))
	if name == "pop" {
		m.delay.Record(ctx, age.Seconds())
	}
}
