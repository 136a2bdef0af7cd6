package telemetry

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/internal/collectortest"
	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/internal/secret"
	"github.com/callpop/connector/internal/tracing"
)

func everything(endpoint, protocol string) Export {
	e := DefaultExport()
	e.Traces.Exporter, e.Metrics.Exporter, e.Logs.Exporter = ExporterOTLP, ExporterOTLP, ExporterOTLP
	e.OTLP.Endpoint, e.OTLP.Protocol = endpoint, protocol
	e.OTLP.Headers = secret.New("authorization=Bearer%20hunter2")
	return e
}

func TestSpansMetricsAndLogsReachARealCollector(t *testing.T) {
	collector := collectortest.Start(t)
	for _, c := range []struct{ name, endpoint, protocol, compression string }{
		{"HTTP", collector.HTTP(), ProtocolHTTP, compressionGzip},
		{"HTTP, no compression, a slash at the end", collector.HTTP() + "/", ProtocolHTTP, compressionNone},
		{"gRPC", collector.GRPC(), ProtocolGRPC, compressionGzip},
		{"gRPC, no compression", collector.GRPC(), ProtocolGRPC, compressionNone},
	} {
		e := everything(c.endpoint, c.protocol)
		e.OTLP.Compression = c.compression
		var out bytes.Buffer
		log, level := NewLogger(&out, DefaultConfig(), false)
		tel, err := Setup(t.Context(), Options{Version: c.name, Export: e, Logger: log})
		if err != nil {
			t.Fatal(err)
		}
		ctx, span := tel.Tracer().StartRoot(t.Context(), tel.Tracer().Root("receive"), "receive")
		tel.Logger(log, level, false).With("server", "hq").WarnContext(ctx, "a line of the test", "number", "13812345678", "sessions", 20)
		span.End()
		counter, err := tel.Meter("test").Int64Counter("callpop.test")
		if err != nil {
			t.Fatal(err)
		}
		counter.Add(ctx, 1)
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}

		ours := func(resource map[string]any) bool { return resource["service.version"] == c.name }
		spans := collector.WaitSpans(1, func(s collectortest.Span) bool { return ours(s.Resource) })
		if s := spans[0]; s.Name != "receive" || s.TraceID != span.SpanContext().TraceID().String() || s.Schema != tracing.SchemaURL {
			t.Errorf("%s: got %+v", c.name, s)
		}
		for _, key := range []string{"service.name", "service.instance.id", "telemetry.sdk.version", "host.name"} {
			if spans[0].Resource[key] == nil {
				t.Errorf("%s: the resource has no %s: %v", c.name, key, spans[0].Resource)
			}
		}
		eventually(t, "a log line and a metric", func() bool {
			return slices.ContainsFunc(collector.Logs(), func(l collectortest.Log) bool {
				return ours(l.Resource) && l.Body == "a line of the test" && l.Severity == "WARN" &&
					l.TraceID == spans[0].TraceID && l.SpanID == spans[0].SpanID &&
					l.Attributes["number"] == "138****5678" && l.Attributes["server"] == "hq" && l.Attributes["sessions"] == int64(20)
			}) && slices.ContainsFunc(collector.Metrics(), func(m collectortest.Metric) bool {
				return ours(m.Resource) && m.Name == "callpop.test"
			})
		})
		if line := out.String(); !strings.Contains(line, spans[0].TraceID) || strings.Count(line, "\n") != 1 {
			t.Errorf("%s: wrote %s", c.name, line)
		}
	}
	if strings.Contains(collector.Text(), "13812345678") || strings.Contains(collector.Text(), "hunter2") {
		t.Error("a number or a secret was exported")
	}
}

func TestACollectorThatIsAwayIsReportedOnceAndThatItIsBackOnce(t *testing.T) {
	collector := collectortest.Start(t)
	collector.Stop()
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	var out outputtest.Output
	log, _ := NewLogger(&out, DefaultConfig(), false)
	e := everything(collector.HTTP(), ProtocolHTTP)
	e.Metrics.Exporter, e.Logs.Exporter = ExporterNone, ExporterNone
	e.OTLP.Timeout = 200 * time.Millisecond
	tel, err := Setup(t.Context(), Options{Export: e, Logger: log})
	if err != nil {
		t.Fatal(err)
	}
	spans := func(n int) {
		for range n {
			_, span := tel.Tracer().StartRoot(t.Context(), tel.Tracer().Root("receive"), "receive")
			span.End()
		}
	}
	const away = "the collector does not take traces"
	for range 3 {
		before := tel.outlets[0].failed.Load()
		spans(3)
		eventually(t, "an export that fails", func() bool { return tel.outlets[0].failed.Load() > before })
	}
	if got := strings.Count(out.String(), away); got != 1 {
		t.Errorf("said %d times that the collector is away: %s", got, out.String())
	}
	collector.Start()
	eventually(t, "the collector to get spans", func() bool { spans(1); return len(collector.Spans()) > 0 })
	eventually(t, "a line", func() bool { return strings.Contains(out.String(), "the collector takes traces again") })
	if text := out.String(); strings.Count(text, "\n") != 2 || strings.Contains(text, "hunter2") {
		t.Errorf("wrote %s", text)
	}
	if err := tel.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
