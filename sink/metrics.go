package sink

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/callpop/connector/schema"
)

// The metrics of a forwarder. Each has the attributes sink and type, and no
// others.
const (
	// MetricPublished counts events that the broker took.
	MetricPublished = "callpop.sink.published"
	// MetricRetries counts attempts that failed and will be made again.
	MetricRetries = "callpop.sink.retries"
	// MetricDuplicates counts events that the broker knew already and dropped.
	MetricDuplicates = "callpop.sink.duplicates"
	// MetricDeadLetters counts events that the broker refused for good.
	MetricDeadLetters = "callpop.sink.dead_letters"
	// MetricLost counts events that the spool's limits or damage took before the
	// broker had them.
	MetricLost = "callpop.sink.lost"
	// MetricPublishDuration is how long a call to the broker took, in seconds.
	MetricPublishDuration = "callpop.sink.publish.duration"
	// MetricUndeliveredAge is the age of the oldest undelivered event, in
	// seconds; 0 while there is none.
	MetricUndeliveredAge = "callpop.sink.undelivered.age"
)

type metrics struct {
	meter       metric.Meter
	published   metric.Int64Counter
	retries     metric.Int64Counter
	duplicates  metric.Int64Counter
	deadLetters metric.Int64Counter
	lost        metric.Int64Counter
	duration    metric.Float64Histogram
	age         metric.Float64ObservableGauge
}

func newMetrics(meter metric.Meter) (*metrics, error) {
	if meter == nil {
		meter = noop.NewMeterProvider().Meter("")
	}
	m := &metrics{meter: meter}
	for _, c := range []struct {
		counter           *metric.Int64Counter
		name, description string
	}{
		{&m.published, MetricPublished, "Events that the broker took."},
		{&m.retries, MetricRetries, "Attempts that failed and will be made again."},
		{&m.duplicates, MetricDuplicates, "Events that the broker knew already and dropped."},
		{&m.deadLetters, MetricDeadLetters, "Events that the broker refused for good."},
		{&m.lost, MetricLost, "Events that the spool's limits or damage took before the broker had them."},
	} {
		var err error
		if *c.counter, err = meter.Int64Counter(c.name, metric.WithUnit("{event}"), metric.WithDescription(c.description)); err != nil {
			return nil, fmt.Errorf("make metric %s: %w", c.name, err)
		}
	}
	var err error
	m.duration, err = meter.Float64Histogram(MetricPublishDuration, metric.WithUnit("s"),
		metric.WithDescription("How long a call to the broker took."),
		metric.WithExplicitBucketBoundaries(.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10))
	if err != nil {
		return nil, fmt.Errorf("make metric %s: %w", MetricPublishDuration, err)
	}
	m.age, err = meter.Float64ObservableGauge(MetricUndeliveredAge, metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest undelivered event."))
	if err != nil {
		return nil, fmt.Errorf("make metric %s: %w", MetricUndeliveredAge, err)
	}
	return m, nil
}

// observeAges reports the lines' ages until the registration is ended.
func (m *metrics) observeAges(lines []*line) (metric.Registration, error) {
	r, err := m.meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		now := time.Now()
		for _, l := range lines {
			status, _ := l.condition.snapshot()
			age := 0.0
			if !status.OldestUndelivered.IsZero() {
				age = max(0, now.Sub(status.OldestUndelivered).Seconds())
			}
			o.ObserveFloat64(m.age, age, l.attributes)
		}
		return nil
	}, m.age)
	if err != nil {
		return nil, fmt.Errorf("observe metric %s: %w", MetricUndeliveredAge, err)
	}
	return r, nil
}

// lineAttributes are made once for each line: they are on the hot path.
func lineAttributes(sinkName string, t schema.Type) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(
		attribute.String("sink", sinkName),
		attribute.String("type", string(t)),
	))
}
