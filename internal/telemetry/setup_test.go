package telemetry

import (
	"bytes"
	"context"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/internal/secret"
)

func TestNothingIsTracedOrExportedUnlessItIsAskedFor(t *testing.T) {
	for _, getenv := range []func(string) string{
		nil,
		variables("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"), // which the platform may give to all
		variables("OTEL_TRACES_EXPORTER", "none", "OTEL_METRICS_EXPORTER", "prometheus", "OTEL_LOGS_EXPORTER", "none"),
		variables("OTEL_SDK_DISABLED", "true", "OTEL_TRACES_EXPORTER", "otlp", "OTEL_LOGS_EXPORTER", "otlp"),
	} {
		tel := setup(t, Options{Export: DefaultExport(), Getenv: getenv})
		log, level := NewLogger(&outputtest.Output{}, DefaultConfig(), false)
		if tel.Tracer() != nil || tel.logs != nil || len(tel.outlets) != 0 || tel.Logger(log, level, false) != log {
			t.Error("something is exported")
		}
	}
}

func TestTheEnvironmentWinsOverTheConfiguration(t *testing.T) {
	e := DefaultExport()
	e.Traces.Exporter, e.Traces.Sample = ExporterOTLP, 1
	e.OTLP.Endpoint, e.OTLP.Headers = "http://configured:4318", secret.New("a=b")
	if tel := setup(t, Options{Export: e, Getenv: variables("OTEL_TRACES_EXPORTER", "none")}); tel.Tracer() != nil {
		t.Error("traces are made")
	}
	if tel := setup(t, Options{Export: e, Getenv: variables("OTEL_TRACES_SAMPLER", "always_off")}); tel.Tracer().Root("x").Sampled() {
		t.Error("a trace is sampled")
	}
	c, err := newCollector(e.OTLP, variables("OTEL_EXPORTER_OTLP_ENDPOINT", "http://given:4318", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "c=d",
		"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_COMPRESSION", "none", "OTEL_EXPORTER_OTLP_TIMEOUT", "5"), traces)
	if err != nil || c.endpoint != "" || c.headers != nil || c.protocol != ProtocolGRPC || c.compression != "" || c.timeout != 0 {
		t.Errorf("got %+v, %v", c, err)
	}
	c, err = newCollector(e.OTLP, variables("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://given:4318"), logs)
	if err != nil || c.endpoint != "http://configured:4318/v1/logs" || c.headers["a"] != "b" {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestASamplerIsReadAsTheSpecificationHasIt(t *testing.T) {
	for _, c := range []struct{ name, argument, want string }{
		{"", "", "ParentBased{root:TraceIDRatioBased{0.25}"},
		{"always_on", "", "AlwaysOnSampler"},
		{"always_off", "", "AlwaysOffSampler"},
		{"traceidratio", "0.5", "TraceIDRatioBased{0.5}"},
		{"traceidratio", "", "TraceIDRatioBased{1}"},
		{"parentbased_traceidratio", "0.5", "ParentBased{root:TraceIDRatioBased{0.5}"},
		{"parentbased_always_on", "", "ParentBased{root:AlwaysOnSampler"},
		{"parentbased_always_off", "", "ParentBased{root:AlwaysOffSampler"},
	} {
		s, err := environment(variables("OTEL_TRACES_SAMPLER", c.name, "OTEL_TRACES_SAMPLER_ARG", c.argument)).sampler(.25)
		if err != nil || !strings.HasPrefix(s.Description(), c.want) {
			t.Errorf("%s %s: got %v, %v", c.name, c.argument, s, err)
		}
	}
}

func TestAWrongExportIsRefusedByNameAndValue(t *testing.T) {
	on := DefaultExport()
	on.Traces.Exporter, on.Metrics.Exporter, on.Logs.Exporter = ExporterOTLP, ExporterOTLP, ExporterOTLP
	for _, c := range []struct{ name, value, want string }{
		{"OTEL_TRACES_EXPORTER", "jaeger", `OTEL_TRACES_EXPORTER: "jaeger": expected none, otlp or console`},
		{"OTEL_LOGS_EXPORTER", "console", `OTEL_LOGS_EXPORTER: "console": expected none or otlp`},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", `"http/json": expected http/protobuf or grpc`},
		{"OTEL_TRACES_SAMPLER", "sometimes", `OTEL_TRACES_SAMPLER: "sometimes": expected`},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "0", `OTEL_BSP_MAX_QUEUE_SIZE: "0": expected a number from 1`},
	} {
		if _, err := Setup(t.Context(), Options{Export: on, Getenv: variables(c.name, c.value)}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: got %v, want %s", c.name, c.value, err, c.want)
		}
	}
	wrongly(t, on)
	getenv := variables("OTEL_TRACES_SAMPLER", "traceidratio", "OTEL_TRACES_SAMPLER_ARG", "NaN")
	if _, err := Setup(t.Context(), Options{Export: on, Getenv: getenv}); err == nil || !strings.Contains(err.Error(), `OTEL_TRACES_SAMPLER_ARG: "NaN"`) {
		t.Errorf("got %v", err)
	}
	for _, c := range []struct {
		wrong func(*Export)
		want  string
	}{
		{func(e *Export) { e.Traces.Exporter = "jaeger" }, `traces.exporter: "jaeger": expected none, otlp or console`},
		{func(e *Export) { e.Traces.Sample = 1.5 }, "traces.sample: 1.5: expected a share from 0 to 1"},
		{func(e *Export) { e.Metrics.Interval = 5 }, "metrics.interval: 5ns: expected 1s to 1h"},
		{func(e *Export) { e.OTLP.Endpoint = "collector:4317" }, `otlp.endpoint: "collector:4317": expected a URL`},
		{func(e *Export) { e.OTLP.Endpoint = "http://u:hunter2@h" }, "otlp.endpoint: [redacted]: expected a URL"},
		{func(e *Export) { e.OTLP.Endpoint = "u:hunter2@h" }, "otlp.endpoint: [redacted]: expected a URL"},
		{func(e *Export) { e.OTLP.Headers = secret.New("hunter2") }, "otlp.headers: expected name=value pairs"},
		{func(e *Export) { e.OTLP.Headers = secret.New("a=%0d%0ahunter2:x") }, "otlp.headers: expected name=value pairs"},
		{func(e *Export) { e.OTLP.Protocol = "udp" }, `otlp.protocol: "udp": expected http/protobuf or grpc`},
		{func(e *Export) { e.OTLP.Timeout = 0 }, "otlp.timeout: 0s: expected 100ms to 1m"},
		{func(e *Export) { e.OTLP.TLS.CertFile = "x" }, "otlp.tls.cert_file"},
	} {
		e := DefaultExport()
		c.wrong(&e)
		if err := e.Validate(); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	if err := DefaultExport().Validate(); err != nil {
		t.Error(err)
	}
	e := on
	e.OTLP.TLS.CAFile = "missing.pem"
	if _, err := Setup(t.Context(), Options{Export: e}); err == nil || !strings.Contains(err.Error(), "telemetry.otlp.tls.ca_file") {
		t.Errorf("got %v", err)
	}
}

// wrongly sets what OpenTelemetry's exporters read by themselves: they would write it
// to the log and go on without it.
func wrongly(t *testing.T, on Export) {
	t.Helper()
	for _, c := range []struct{ name, value, want string }{
		{"ENDPOINT", "collector:4318", `ENDPOINT: "collector:4318": expected a URL such as http://collector:4318`},
		{"ENDPOINT", "https://u:hunter2@collector:4318", "ENDPOINT: [redacted]: expected a URL"},
		{"ENDPOINT", "https://collector:4318?key=hunter2", "ENDPOINT: [redacted]: expected a URL"},
		{"HEADERS", "hunter2", "HEADERS: expected name=value pairs"},
		{"HEADERS", "key=%zzhunter2", "HEADERS: expected name=value pairs"},
		{"COMPRESSION", "zstd", `COMPRESSION: "zstd": expected gzip or none`},
		{"INSECURE", "yes", `INSECURE: "yes": expected true or false`},
		{"TIMEOUT", "5s", `TIMEOUT: "5s": expected a number of milliseconds`},
		{"CERTIFICATE", "missing.pem", `CERTIFICATE: open missing.pem`},
		{"CLIENT_CERTIFICATE", "missing.pem", `CLIENT_CERTIFICATE: open missing.pem`},
	} {
		for _, prefix := range []string{"OTEL_EXPORTER_OTLP_", "OTEL_EXPORTER_OTLP_LOGS_"} {
			t.Setenv(prefix+c.name, c.value)
			var out bytes.Buffer
			log, _ := NewLogger(&out, DefaultConfig(), false)
			_, err := Setup(t.Context(), Options{Export: on, Getenv: os.Getenv, Logger: log})
			if err == nil || !strings.Contains(err.Error(), prefix+c.want) || strings.Contains(err.Error()+out.String(), "hunter2") {
				t.Errorf("%s%s=%s: got %v, want %s; wrote %s", prefix, c.name, c.value, err, c.want, out.String())
			}
			if err := os.Unsetenv(prefix + c.name); err != nil {
				t.Fatal(err)
			}
		}
	}
	grpc := environment(variables("OTEL_EXPORTER_OTLP_ENDPOINT", "dns:///collector:4317"))
	if err := grpc.readable(traces, ProtocolGRPC); err != nil {
		t.Error(err)
	}
	if err := grpc.readable(traces, ProtocolHTTP); err == nil {
		t.Error("HTTP cannot go to a target of gRPC")
	}
}

// silent accepts connections and says nothing, ever.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = conn.Close() })
		}
	}()
	return "http://" + l.Addr().String()
}

func TestACollectorThatSaysNothingNeitherFillsTheMemoryNorHoldsUpTheEnd(t *testing.T) {
	for _, protocol := range []string{ProtocolHTTP, ProtocolGRPC} {
		e := everything(silent(t), protocol)
		tel, err := Setup(t.Context(), Options{Export: e, Getenv: variables("OTEL_BSP_MAX_QUEUE_SIZE", "100")})
		if err != nil {
			t.Fatal(err)
		}
		const spans = 1000
		for range spans {
			_, span := tel.Tracer().StartRoot(t.Context(), tel.Tracer().Root("receive"), "receive")
			span.End()
		}
		if got := tel.outlets[0].full.Load(); got != spans-100 {
			t.Errorf("%s: %d of %d spans are counted as dropped from a queue of 100", protocol, got, spans)
		}
		dropped := 0.0
		for _, m := range scrape(t, tel)["callpop_telemetry_dropped_total"].GetMetric() {
			dropped += m.GetCounter().GetValue()
		}
		if dropped != spans-100 {
			t.Errorf("%s: callpop_telemetry_dropped_total is %v", protocol, dropped)
		}
		begun := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if err := tel.Shutdown(ctx); err == nil || !strings.Contains(err.Error(), "traces that were not sent: 100") {
			t.Errorf("%s: %v", protocol, err)
		}
		cancel()
		if took := time.Since(begun); took > sendTimeout+endTimeout+time.Second {
			t.Errorf("%s: the end took %v", protocol, took)
		}
		if got := tel.outlets[0].failed.Load(); got != 100 {
			t.Errorf("%s: %d spans are counted as not sent at the end, want 100", protocol, got)
		}
	}
}
