package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
)

// MaxSeries bounds the series of one instrument. Labels are servers, sources,
// sinks, formats, modes and reasons: a site with ten servers stays far below.
// What goes over is counted in one series, with otel_metric_overflow="true".
const MaxSeries = 2000

const (
	// scrapeTimeout ends an answer to a scrape; Prometheus itself gives up after
	// ten seconds by default.
	scrapeTimeout = 10 * time.Second
	// maxScrapes bounds the answers under way at once.
	maxScrapes = 4
	// shutdownTimeout bounds Shutdown, whatever the context allows.
	shutdownTimeout = 5 * time.Second
)

// Options are what the process knows of itself.
type Options struct {
	// Version and Commit are those of the binary; Commit may be empty.
	Version, Commit string
	// Getenv gives the environment; nil is an empty one.
	Getenv func(string) string
	// Logger takes what goes wrong in a scrape; nil drops it.
	Logger *slog.Logger
}

// Telemetry is the process's meters and what reads them.
type Telemetry struct {
	version  string
	provider metric.MeterProvider
	handler  http.Handler
	// sdk is the provider where it is more than nothing, else nil.
	sdk      *sdkmetric.MeterProvider
	shutdown sync.Once
}

// Setup makes the meters, and a registry of their own for Prometheus with the Go
// runtime, the process and the build beside them. With OTEL_SDK_DISABLED=true the
// meters do nothing and only the latter are left. An error names the variable of
// the environment that could not be read. ctx bounds the set-up alone.
func Setup(ctx context.Context, o Options) (*Telemetry, error) {
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	registry := prometheus.NewRegistry()
	for _, c := range []prometheus.Collector{
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		buildInfo(o),
	} {
		if err := registry.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics of the process: %w", err)
		}
	}
	t := &Telemetry{version: o.Version, handler: handler(registry, o.Logger)}
	disabled, err := sdkDisabled(o.Getenv)
	if err != nil {
		return nil, err
	}
	if disabled {
		t.provider = noop.NewMeterProvider()
		return t, nil
	}
	res, err := newResource(ctx, o)
	if err != nil {
		return nil, err
	}
	reader, err := otelprom.New(
		otelprom.WithRegisterer(registry),
		// Said here because the default depends on a global of another module.
		otelprom.WithTranslationStrategy(otlptranslator.UnderscoreEscapingWithSuffixes),
		// Three labels more on each series, to tell apart names that are unique.
		otelprom.WithoutScopeInfo(),
	)
	if err != nil {
		return nil, fmt.Errorf("make the Prometheus exporter: %w", err)
	}
	t.sdk = sdkmetric.NewMeterProvider(
		sdkmetric.WithResource(res),
		sdkmetric.WithReader(reader),
		sdkmetric.WithView(views()...),
		sdkmetric.WithCardinalityLimit(MaxSeries),
	)
	t.provider = t.sdk
	return t, nil
}

// Meter gives the meter of the package of this import path. The same name gives
// the same meter.
func (t *Telemetry) Meter(name string) metric.Meter {
	return t.provider.Meter(name, metric.WithInstrumentationVersion(t.version), metric.WithSchemaURL(semconv.SchemaURL))
}

// Handler answers scrapes in the formats of Prometheus. What one instrument has
// wrong does not hide the others.
func (t *Telemetry) Handler() http.Handler { return t.handler }

// Shutdown sends what is left to send and ends the meters. It returns when ctx is
// done, after five seconds at the latest. Calls after the first do nothing;
// scrapes after it show the process alone.
func (t *Telemetry) Shutdown(ctx context.Context) (err error) {
	if t.sdk == nil {
		return nil
	}
	t.shutdown.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, shutdownTimeout)
		defer cancel()
		if err = t.sdk.Shutdown(ctx); err != nil {
			err = fmt.Errorf("shut down telemetry: %w", err)
		}
	})
	return err
}

func handler(registry *prometheus.Registry, logger *slog.Logger) http.Handler {
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	})
}

func buildInfo(o Options) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "callpop_build_info",
		Help: "The binary that runs: always 1, with what it was built from as labels.",
		ConstLabels: prometheus.Labels{
			"version": o.Version, "commit": o.Commit, "go_version": runtime.Version(),
		},
	}, func() float64 { return 1 })
}

// sdkDisabled reads OTEL_SDK_DISABLED, which the SDK itself does not.
func sdkDisabled(getenv func(string) string) (bool, error) {
	switch value := strings.TrimSpace(getenv("OTEL_SDK_DISABLED")); strings.ToLower(value) {
	case "true":
		return true, nil
	case "", "false":
		return false, nil
	default:
		return false, fmt.Errorf("OTEL_SDK_DISABLED: %q: expected true or false", value)
	}
}
