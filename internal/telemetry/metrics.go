package telemetry

import (
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/otlptranslator"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
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
)

// newRegistry makes a registry of the process's own: the Go runtime, the process and
// the build.
func newRegistry(o Options) (*prometheus.Registry, error) {
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
	return registry, nil
}

// newMeters makes the meters, which registry shows; further readers send them.
func newMeters(registry *prometheus.Registry, res *resource.Resource, readers ...sdkmetric.Reader) (*sdkmetric.MeterProvider, error) {
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
	options := []sdkmetric.Option{
		sdkmetric.WithResource(res),
		sdkmetric.WithReader(reader),
		sdkmetric.WithView(views()...),
		sdkmetric.WithCardinalityLimit(MaxSeries),
	}
	for _, r := range readers {
		options = append(options, sdkmetric.WithReader(r))
	}
	return sdkmetric.NewMeterProvider(options...), nil
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
