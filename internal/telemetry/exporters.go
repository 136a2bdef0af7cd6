package telemetry

import (
	"context"

	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// The three kinds of exporter and processor, each behind its outlet.

type spanExporter struct {
	sdktrace.SpanExporter
	outlet *outlet
}

func (e *spanExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	e.outlet.send(ctx, len(spans), func(ctx context.Context) error { return e.SpanExporter.ExportSpans(ctx, spans) })
	return nil
}

type spanProcessor struct {
	sdktrace.SpanProcessor
	outlet *outlet
}

func (p *spanProcessor) OnEnd(s sdktrace.ReadOnlySpan) {
	if s.SpanContext().IsSampled() && p.outlet.admit() {
		p.SpanProcessor.OnEnd(s)
	}
}

type logExporter struct {
	sdklog.Exporter
	outlet *outlet
}

func (e *logExporter) Export(ctx context.Context, records []sdklog.Record) error {
	e.outlet.send(ctx, len(records), func(ctx context.Context) error { return e.Exporter.Export(ctx, records) })
	return nil
}

type logProcessor struct {
	sdklog.Processor
	outlet *outlet
}

func (p *logProcessor) OnEmit(ctx context.Context, r *sdklog.Record) error {
	if !p.outlet.admit() {
		return nil
	}
	return p.Processor.OnEmit(ctx, r)
}

// metricExporter has no queue: what one interval does not bring, the next one's
// totals hold.
type metricExporter struct {
	sdkmetric.Exporter
	outlet *outlet
}

func (e *metricExporter) Export(ctx context.Context, m *metricdata.ResourceMetrics) error {
	e.outlet.send(ctx, 0, func(ctx context.Context) error { return e.Exporter.Export(ctx, m) })
	return nil
}
