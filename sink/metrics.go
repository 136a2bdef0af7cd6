package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"

	"github.com/callpop/connector/schema"
)

// The metrics of a forwarder. Each has the attributes sink and type; those of
// OpenTelemetry's messaging conventions also have messaging.system and
// messaging.operation.name, and where an attempt failed error.type.
//
// messaging.client.sent.messages counts attempts to publish an event, and
// messaging.client.operation.duration is how long a call to the broker took.
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
	// MetricDeliveryDuration is the time from the socket to the broker's
	// acknowledgement, in seconds.
	MetricDeliveryDuration = "callpop.sink.delivery.duration"
	// MetricUndeliveredAge is the age of the oldest undelivered event, in
	// seconds; 0 while there is none.
	MetricUndeliveredAge = "callpop.sink.undelivered.age"
	// MetricBacklog is [Status.Backlog].
	MetricBacklog = "callpop.sink.backlog"
	// MetricState is 1 for the state that the line is in, 0 for the others; it has
	// the attribute state.
	MetricState = "callpop.sink.state"
)

type metrics struct {
	meter       metric.Meter
	system      string
	published   metric.Int64Counter
	retries     metric.Int64Counter
	duplicates  metric.Int64Counter
	deadLetters metric.Int64Counter
	lost        metric.Int64Counter
	delivery    metric.Float64Histogram
	attempts    metric.Int64Counter
	calls       metric.Float64Histogram
	age         metric.Float64ObservableGauge
	backlog     metric.Int64ObservableUpDownCounter
	state       metric.Int64ObservableUpDownCounter
}

func newMetrics(meter metric.Meter, system string) (*metrics, error) {
	if meter == nil {
		meter = noop.NewMeterProvider().Meter("")
	}
	m := &metrics{meter: meter, system: system}
	var errs []error
	for _, c := range []struct {
		counter           *metric.Int64Counter
		name, description string
	}{
		{&m.published, MetricPublished, "Events that the broker took."},
		{&m.retries, MetricRetries, "Attempts that failed and are made again."},
		{&m.duplicates, MetricDuplicates, "Events that the broker knew already and dropped."},
		{&m.deadLetters, MetricDeadLetters, "Events that the broker refused for good."},
		{&m.lost, MetricLost, "Events that the spool's limits or damage took before the broker had them."},
	} {
		var err error
		*c.counter, err = meter.Int64Counter(c.name, metric.WithUnit("{event}"), metric.WithDescription(c.description))
		errs = append(errs, err)
	}
	var err error
	m.delivery, err = meter.Float64Histogram(MetricDeliveryDuration, metric.WithUnit("s"),
		metric.WithDescription("Time from reading an event off its socket until the broker has acknowledged it."))
	errs = append(errs, err)
	attempts, err := messagingconv.NewClientSentMessages(meter)
	m.attempts, errs = attempts.Inst(), append(errs, err)
	calls, err := messagingconv.NewClientOperationDuration(meter)
	m.calls, errs = calls.Inst(), append(errs, err)
	m.age, err = meter.Float64ObservableGauge(MetricUndeliveredAge, metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest event that the broker has not acknowledged; 0 while there is none."))
	errs = append(errs, err)
	m.backlog, err = meter.Int64ObservableUpDownCounter(MetricBacklog, metric.WithUnit("{event}"),
		metric.WithDescription("Events of the spool that the broker has not acknowledged."))
	errs = append(errs, err)
	m.state, err = meter.Int64ObservableUpDownCounter(MetricState, metric.WithUnit("1"),
		metric.WithDescription("1 for the state that the sink is in: idle, publishing or retrying."))
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, fmt.Errorf("make metrics: %w", err)
	}
	return m, nil
}

// observeTimeout bounds what reading the metrics waits for the spool's counts;
// without them there is no backlog.
const observeTimeout = time.Second

// observe shows the lines' [Status] until the registration is ended.
func (m *metrics) observe(f *Forwarder) (metric.Registration, error) {
	r, err := m.meter.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		ctx, cancel := context.WithTimeout(ctx, observeTimeout)
		defer cancel()
		now := time.Now()
		for i, status := range f.Status(ctx) {
			labels := &f.lines[i].labels
			age := 0.0
			if !status.OldestUndelivered.IsZero() {
				age = max(0, now.Sub(status.OldestUndelivered).Seconds())
			}
			o.ObserveFloat64(m.age, age, labels.line)
			if status.Backlog != nil {
				o.ObserveInt64(m.backlog, int64(*status.Backlog), labels.line)
			}
			for state, option := range labels.states {
				is := int64(0)
				if state == status.State {
					is = 1
				}
				o.ObserveInt64(m.state, is, option)
			}
		}
		return nil
	}, m.age, m.backlog, m.state)
	if err != nil {
		return nil, fmt.Errorf("observe the metrics of a sink: %w", err)
	}
	return r, nil
}

// labels are a line's attributes, made once: they are on the hot path, where an
// option that is made for a call, alone in its list, would be an allocation.
type labels struct {
	line   metric.MeasurementOption
	count  []metric.AddOption
	record []metric.RecordOption
	states map[State]metric.MeasurementOption
	// common are the attributes of any attempt; attempts has the options of each
	// error type that has come up, the empty one for success.
	common   []attribute.KeyValue
	attempts map[string]*attempt
}

// attempt holds the options of an attempt with one outcome.
type attempt struct {
	count  []metric.AddOption
	record []metric.RecordOption
}

func newLabels(sinkName, system string, t schema.Type) labels {
	line := []attribute.KeyValue{attribute.String("sink", sinkName), attribute.String("type", string(t))}
	option := metric.WithAttributeSet(attribute.NewSet(line...))
	l := labels{
		line: option, count: []metric.AddOption{option}, record: []metric.RecordOption{option},
		states:   map[State]metric.MeasurementOption{},
		attempts: map[string]*attempt{},
		common: append(line, attribute.String("messaging.system", system),
			attribute.String("messaging.operation.name", "publish")),
	}
	for _, state := range []State{Idle, Publishing, Retrying} {
		l.states[state] = metric.WithAttributeSet(attribute.NewSet(
			line[0], line[1], attribute.String("state", string(state))))
	}
	return l
}

// attempt gives the options of attempts that ended with err.
func (l *labels) attempt(err error) *attempt {
	errorType := errorType(err)
	if known := l.attempts[errorType]; known != nil {
		return known
	}
	all := append([]attribute.KeyValue(nil), l.common...)
	if errorType != "" {
		all = append(all, attribute.String("error.type", errorType))
	}
	counted := metric.WithAttributeSet(attribute.NewSet(all...))
	timed := metric.WithAttributeSet(attribute.NewSet(append(all, attribute.String("messaging.operation.type", "send"))...))
	a := &attempt{count: []metric.AddOption{counted}, record: []metric.RecordOption{timed}}
	l.attempts[errorType] = a
	return a
}

// begin has the line's counters be there from the start: a counter that is only
// there once it is 1 shows no increase to an alert.
func (m *metrics) begin(l *labels) {
	ctx := context.Background()
	for _, counter := range []metric.Int64Counter{m.published, m.retries, m.duplicates, m.deadLetters, m.lost} {
		counter.Add(ctx, 0, l.count...)
	}
	m.attempts.Add(ctx, 0, l.attempt(nil).count...)
}
