package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/stdout/stdoutmetric"
	"go.opentelemetry.io/otel/exporters/stdout/stdouttrace"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/callpop/connector/internal/tracing"
)

const (
	// sendTimeout is what stopping gives the exporters to send what is left, and
	// endTimeout what they get to end after it.
	sendTimeout = 2 * time.Second
	endTimeout  = time.Second
)

// Options are what the process knows of itself.
type Options struct {
	// Version and Commit are those of the binary; Commit may be empty.
	Version, Commit string
	// Export says what is sent where; its zero value sends nothing.
	Export Export
	// Getenv gives the environment; nil is an empty one. The exporters read what
	// concerns them of the process's own.
	Getenv func(string) string
	// Logger takes what goes wrong here; nil drops it. What it writes is not
	// exported, or a collector that is away would be told of.
	Logger *slog.Logger
}

// Telemetry is the process's meters, traces and exported logs, and what reads them.
type Telemetry struct {
	version string
	meters  metric.MeterProvider
	handler http.Handler
	tracer  *tracing.Tracer
	logs    *sdklog.LoggerProvider // nil where logs are not exported

	outlets []*outlet
	// ends are the providers' shutdowns, in the order in which they are called.
	ends     []func(context.Context) error
	life     context.Context //nolint:containedctx // ends the exports under way
	cut      context.CancelFunc
	shutdown sync.Once
}

// Setup makes the meters, and a registry of their own for Prometheus with the Go
// runtime, the process and the build beside them; and what is exported, by the
// configuration and the environment. With OTEL_SDK_DISABLED=true there are no
// meters, no traces and no exports, and only the registry is left. It waits for no
// collector. An error names the variable or the key that is wrong. ctx bounds the
// set-up alone.
func Setup(ctx context.Context, o Options) (*Telemetry, error) {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	registry, err := newRegistry(o)
	if err != nil {
		return nil, err
	}
	t := &Telemetry{version: o.Version, handler: handler(registry, o.Logger), meters: noop.NewMeterProvider()}
	t.life, t.cut = context.WithCancel(context.Background())
	getenv := environment(o.Getenv)
	if disabled, err := getenv.disabled(); err != nil {
		return nil, err
	} else if disabled {
		return t, nil
	}
	handleErrors(o.Logger) // before anything can go wrong
	res, err := newResource(ctx, o)
	if err != nil {
		return nil, err
	}
	s := exporting{Telemetry: t, Options: o, getenv: getenv, resource: res}
	if err := s.traces(ctx); err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	if err := s.logs(ctx); err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	reader, err := s.metrics(ctx)
	if err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	meters, err := newMeters(registry, res, reader...)
	if err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	t.meters = meters
	t.ends = append(t.ends, meters.Shutdown)
	return t, t.count()
}

// exporting is what the parts of Setup share.
type exporting struct {
	*Telemetry
	Options
	getenv   environment
	resource *resource.Resource
}

func (s *exporting) outlet(of signal, limit int) *outlet {
	o := &outlet{signal: of, log: s.Options.Logger, life: s.life, limit: int64(limit)}
	s.outlets = append(s.outlets, o)
	return o
}

func (s *exporting) traces(ctx context.Context) error {
	kind, err := s.getenv.exporter(traces, s.Export.Traces.Exporter)
	if err != nil || kind == ExporterNone || kind == "" {
		return err
	}
	sampler, err := s.getenv.sampler(s.Export.Traces.Sample)
	if err != nil {
		return err
	}
	queue, err := s.getenv.count("OTEL_BSP_MAX_QUEUE_SIZE", defaultQueue)
	if err != nil {
		return err
	}
	var exporter sdktrace.SpanExporter
	if kind == ExporterConsole {
		exporter, err = stdouttrace.New(stdouttrace.WithWriter(os.Stderr))
	} else {
		var to collector
		if to, err = newCollector(s.Export.OTLP, s.getenv, traces); err == nil {
			exporter, err = to.traces(ctx)
		}
	}
	if err != nil {
		return fmt.Errorf("make the exporter of traces: %w", err)
	}
	out := s.outlet(traces, queue)
	batches := sdktrace.NewBatchSpanProcessor(&spanExporter{exporter, out}, sdktrace.WithMaxQueueSize(queue))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithResource(s.resource),
		sdktrace.WithSampler(sampler),
		sdktrace.WithIDGenerator(tracing.IDs{}),
		sdktrace.WithSpanProcessor(&spanProcessor{batches, out}),
	)
	s.ends = append(s.ends, provider.Shutdown)
	s.tracer = tracing.New(provider.Tracer(tracing.Scope,
		trace.WithInstrumentationVersion(s.Version), trace.WithSchemaURL(tracing.SchemaURL)), sampler)
	return nil
}

func (s *exporting) logs(ctx context.Context) error {
	kind, err := s.getenv.exporter(logs, s.Export.Logs.Exporter)
	if err != nil || kind == ExporterNone || kind == "" {
		return err
	}
	queue, err := s.getenv.count("OTEL_BLRP_MAX_QUEUE_SIZE", defaultQueue)
	if err != nil {
		return err
	}
	to, err := newCollector(s.Export.OTLP, s.getenv, logs)
	if err != nil {
		return err
	}
	exporter, err := to.logs(ctx)
	if err != nil {
		return fmt.Errorf("make the exporter of logs: %w", err)
	}
	out := s.outlet(logs, queue)
	batches := sdklog.NewBatchProcessor(&logExporter{exporter, out}, sdklog.WithMaxQueueSize(queue))
	s.Telemetry.logs = sdklog.NewLoggerProvider(sdklog.WithResource(s.resource), sdklog.WithProcessor(&logProcessor{batches, out}))
	s.ends = append(s.ends, s.Telemetry.logs.Shutdown)
	return nil
}

// metrics makes the reader that sends metrics, where they are sent.
func (s *exporting) metrics(ctx context.Context) ([]sdkmetric.Reader, error) {
	kind, err := s.getenv.exporter(metrics, s.Export.Metrics.Exporter)
	if err != nil || kind == ExporterNone || kind == "" {
		return nil, err
	}
	var exporter sdkmetric.Exporter
	if kind == ExporterConsole {
		exporter, err = stdoutmetric.New(stdoutmetric.WithWriter(os.Stderr))
	} else {
		var to collector
		if to, err = newCollector(s.Export.OTLP, s.getenv, metrics); err == nil {
			exporter, err = to.metrics(ctx)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("make the exporter of metrics: %w", err)
	}
	var options []sdkmetric.PeriodicReaderOption
	if s.getenv.value("OTEL_METRIC_EXPORT_INTERVAL") == "" { // which the SDK reads
		options = append(options, sdkmetric.WithInterval(s.Export.Metrics.Interval))
	}
	return []sdkmetric.Reader{sdkmetric.NewPeriodicReader(&metricExporter{exporter, s.outlet(metrics, 0)}, options...)}, nil
}

// count makes the metric of what was to be exported and was dropped.
func (t *Telemetry) count() error {
	if len(t.outlets) == 0 {
		return nil
	}
	_, err := t.Meter("telemetry").Int64ObservableCounter("callpop.telemetry.dropped",
		metric.WithDescription("Spans and log lines that were to be exported and were dropped."), metric.WithUnit("{item}"),
		metric.WithInt64Callback(func(_ context.Context, observer metric.Int64Observer) error {
			for _, o := range t.outlets {
				if o.signal == metrics {
					continue
				}
				observer.Observe(o.full.Load(), metric.WithAttributes(
					attribute.String("signal", string(o.signal)), attribute.String("reason", "queue_full")))
				observer.Observe(o.failed.Load(), metric.WithAttributes(
					attribute.String("signal", string(o.signal)), attribute.String("reason", "export_failed")))
			}
			return nil
		}))
	if err != nil {
		return fmt.Errorf("make metric callpop.telemetry.dropped: %w", err)
	}
	return nil
}

// Meter gives the meter of the package of this import path. The same name gives
// the same meter.
func (t *Telemetry) Meter(name string) metric.Meter {
	return t.meters.Meter(name, metric.WithInstrumentationVersion(t.version), metric.WithSchemaURL(tracing.SchemaURL))
}

// Tracer makes the spans of events; nil where traces are not exported.
func (t *Telemetry) Tracer() *tracing.Tracer { return t.tracer }

// Handler answers scrapes in the formats of Prometheus. What one instrument has
// wrong does not hide the others.
func (t *Telemetry) Handler() http.Handler { return t.handler }

// Shutdown sends what is left to send and ends the meters, the traces and the
// exported logs. It gives that two seconds, or less where ctx is done before, and
// its error says what was not sent. Calls after the first do nothing; scrapes after
// it show the process alone.
func (t *Telemetry) Shutdown(ctx context.Context) (err error) {
	t.shutdown.Do(func() {
		defer t.cut()
		// The exports are cut off first, so that what waits for them can end.
		sending, cancel := context.WithTimeout(ctx, sendTimeout)
		defer cancel()
		defer context.AfterFunc(sending, t.cut)()
		ending, cancelEnding := context.WithTimeout(context.WithoutCancel(ctx), sendTimeout+endTimeout)
		defer cancelEnding()

		before := make([]int64, len(t.outlets))
		for i, o := range t.outlets {
			before[i] = o.failed.Load()
		}
		errs := make([]error, len(t.ends))
		var all sync.WaitGroup
		for i, end := range t.ends {
			all.Go(func() { errs[i] = end(ending) })
		}
		all.Wait()
		for i, o := range t.outlets {
			if n := o.failed.Load() - before[i] + o.pending.Load(); n > 0 {
				errs = append(errs, fmt.Errorf("%s that were not sent: %d", o.signal, n))
			}
		}
		if err = errors.Join(errs...); err != nil {
			err = fmt.Errorf("shut down telemetry: %w", err)
		}
	})
	return err
}
