package callback

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// counters of what one source answers. No label holds an agent or a number.
type counters struct {
	requests, late metric.Int64Counter
	server, name   attribute.KeyValue
	lateLabels     metric.MeasurementOption
}

func newCounters(meter metric.Meter, c *Config) (*counters, error) {
	if meter == nil {
		meter = noop.Meter{}
	}
	n := &counters{server: attribute.String("server", c.Server), name: attribute.String("source", c.Name)}
	n.lateLabels = metric.WithAttributeSet(attribute.NewSet(n.server, n.name))
	var errs [2]error
	n.requests, errs[0] = meter.Int64Counter("callpop.callback.requests",
		metric.WithDescription("Callbacks answered, by result: stored, waiting (answered before it was stored), "+
			"empty, unasked (HEAD, OPTIONS), forbidden, method, media_type, too_large, broken."),
		metric.WithUnit("{request}"))
	n.late, errs[1] = meter.Int64Counter("callpop.callback.stored_late",
		metric.WithDescription("Pops stored after their callback was answered; what of waiting is not here "+
			"waits still, or was dropped."),
		metric.WithUnit("{pop}"))
	// From the start, for rates.
	n.late.Add(context.Background(), 0, n.lateLabels)
	n.count("stored", 0)
	return n, errors.Join(errs[:]...)
}

func (n *counters) answered(result string) { n.count(result, 1) }

func (n *counters) count(result string, requests int64) {
	n.requests.Add(context.Background(), requests, metric.WithAttributeSet(
		attribute.NewSet(n.server, n.name, attribute.String("result", result))))
}

func (n *counters) storedLate() { n.late.Add(context.Background(), 1, n.lateLabels) }
