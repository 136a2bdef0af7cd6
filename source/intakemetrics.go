package source

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// intakeMetrics counts what was received. No label holds an agent or a number.
type intakeMetrics struct {
	pops        metric.Int64Counter
	deadLetters metric.Int64Counter
	dropped     metric.Int64Counter
	spooled     metric.Float64Histogram
}

func newIntakeMetrics(meter metric.Meter) (*intakeMetrics, error) {
	if meter == nil {
		meter = noop.Meter{}
	}
	var m intakeMetrics
	var errs [4]error
	m.pops, errs[0] = meter.Int64Counter("callpop.pops",
		metric.WithDescription("Screen-pops received and stored."), metric.WithUnit("{pop}"))
	m.deadLetters, errs[1] = meter.Int64Counter("callpop.decode.errors",
		metric.WithDescription("Received bytes that became dead letters."), metric.WithUnit("{event}"))
	m.dropped, errs[2] = meter.Int64Counter("callpop.source.dropped",
		metric.WithDescription("What memory could not hold while the log was stuck."), metric.WithUnit("{event}"))
	m.spooled, errs[3] = meter.Float64Histogram("callpop.spooled.duration",
		metric.WithDescription("Time from the socket to the log."), metric.WithUnit("s"))
	return &m, errors.Join(errs[:]...)
}

func (m *intakeMetrics) drop(o *Origin) {
	m.dropped.Add(context.Background(), 1, metric.WithAttributes(
		attribute.String("server", o.Server), attribute.String("source", o.Name)))
}

// recorder returns one worker's way to count a stored item. It makes the option
// for each combination of labels once: there are few, and making one costs more
// than counting.
func (m *intakeMetrics) recorder() func(context.Context, *item, Labels) {
	type combination struct {
		server, source string
		labels         Labels
	}
	options := map[combination]metric.MeasurementOption{}
	return func(ctx context.Context, it *item, labels Labels) {
		if it.kind == sessionItem {
			return
		}
		c := combination{it.origin.Server, it.origin.Name, labels}
		option, ok := options[c]
		if !ok {
			option = labels.option(it.origin)
			options[c] = option
		}
		if labels.Reason != "" {
			m.deadLetters.Add(ctx, 1, option)
			return
		}
		m.pops.Add(ctx, 1, option)
		m.spooled.Record(ctx, time.Since(it.at).Seconds())
	}
}

func (l Labels) option(o *Origin) metric.MeasurementOption {
	attributes := []attribute.KeyValue{
		attribute.String("server", o.Server), attribute.String("source", o.Name), attribute.String("source_type", o.Type),
	}
	if l.Reason != "" {
		attributes = append(attributes, attribute.String("reason", l.Reason))
	} else {
		attributes = append(attributes, attribute.String("format", string(l.Format)), attribute.String("mode", string(l.Mode)))
	}
	return metric.WithAttributeSet(attribute.NewSet(attributes...))
}
