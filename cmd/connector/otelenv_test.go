package main

import (
	"strings"
	"testing"

	"github.com/callpop/connector/internal/collectortest"
	"github.com/callpop/connector/source/lqsim"
)

// TestTheStandardEnvironmentIsEnough runs the connector as a platform does that
// knows OpenTelemetry and nothing of the connector's configuration.
func TestTheStandardEnvironmentIsEnough(t *testing.T) {
	collector := collectortest.Start(t)
	lq := startSimulator(t, lqsim.Options{})
	broker := startNATS(t)
	plain := strings.ReplaceAll(externalConfig(broker.url()), `http: {health: "127.0.0.1:0"}`, "")
	quiet := writeConfig(t, plain, lq)
	traced := writeConfig(t, plain+exportConfig(collector.HTTP(), "http/protobuf"), lq)
	const pops = 200
	events := 0
	// serve has a connector publish pops, and returns how many of them are sampled
	// and how many carry a context.
	serve := func(file, service string, environ ...string) (sampled, carried int) {
		environ = append(environ, promptly...)
		c := startChild(t, file, append(environ, "OTEL_SERVICE_NAME="+service, "OTEL_METRIC_EXPORT_INTERVAL=100")...)
		call(t, lq, pops, 0)
		events += pops
		for _, e := range received(t, broker.url(), "CALLPOP", events)[events-pops:] {
			if e.TraceParent != "" {
				carried++
			}
			if strings.HasSuffix(e.TraceParent, "-01") {
				sampled++
			}
		}
		c.stop()
		return sampled, carried
	}
	receives := func(service string) (n int) {
		for _, s := range collector.Spans() {
			if s.Resource["service.name"] == service && popSpans("receive")(s) {
				n++
			}
		}
		return n
	}
	all := []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + collector.GRPC(), "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
		"OTEL_TRACES_EXPORTER=otlp", "OTEL_METRICS_EXPORTER=otlp", "OTEL_LOGS_EXPORTER=otlp",
		"OTEL_RESOURCE_ATTRIBUTES=k8s.pod.name=connector-0,k8s.node.name=node%201",
	}
	if sampled, carried := serve(quiet, "all", all...); sampled != pops || carried != pops {
		t.Errorf("all: %d pops are sampled, %d carry a context", sampled, carried)
	}
	share, carried := serve(quiet, "share", append(all, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=0.25")...)
	if share < pops/10 || share > pops/2 || carried != pops {
		t.Errorf("share: %d of %d pops are sampled, a quarter was asked for; %d carry a context", share, pops, carried)
	}
	// The environment wins over a configuration that exports everything.
	for service, variable := range map[string]string{"none": "OTEL_TRACES_EXPORTER=none", "disabled": "OTEL_SDK_DISABLED=true"} {
		if _, carried := serve(traced, service, variable); carried != 0 {
			t.Errorf("%s: %d pops carry a context", service, carried)
		}
	}
	collector.Stop()

	if n := receives("all"); n != pops {
		t.Errorf("all: %d of %d pops arrived", n, pops)
	}
	if n := receives("share"); n != share {
		t.Errorf("share: %d of %d sampled pops arrived", n, share)
	}
	for service, want := range map[string]signals{
		"all": {true, true, true}, "none": {metrics: true, logs: true}, "disabled": {},
	} {
		if got := arrived(collector, service); got != want {
			t.Errorf("%s: arrived %+v, want %+v", service, got, want)
		}
	}
	for _, s := range collector.Spans() {
		if s.Resource["service.name"] == "all" && (s.Resource["k8s.pod.name"] != "connector-0" || s.Resource["k8s.node.name"] != "node 1") {
			t.Fatalf("the resource is %v", s.Resource)
		}
	}
}

type signals struct{ spans, metrics, logs bool }

// arrived says what a collector has of a service.
func arrived(c *collectortest.Collector, service string) (has signals) {
	for _, s := range c.Spans() {
		has.spans = has.spans || s.Resource["service.name"] == service
	}
	for _, m := range c.Metrics() {
		has.metrics = has.metrics || m.Resource["service.name"] == service
	}
	for _, l := range c.Logs() {
		has.logs = has.logs || l.Resource["service.name"] == service
	}
	return has
}

func TestAKeyInTheEnvironmentIsInNoError(t *testing.T) {
	file := writeConfig(t, embeddedConfig, nil)
	for _, variable := range []string{
		"OTEL_EXPORTER_OTLP_HEADERS=hunter2-otlp",
		"OTEL_EXPORTER_OTLP_TRACES_HEADERS=key=%zzhunter2-otlp",
		"OTEL_EXPORTER_OTLP_ENDPOINT=https://u:hunter2-otlp@collector:4318",
	} {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value) // the exporters read the process's own
		r := connectorIn(t, []string{"OTEL_TRACES_EXPORTER=otlp", variable}, "", "run", "--config", file)
		if r.code == exitGood || !strings.Contains(r.stderr, name+": ") {
			t.Errorf("%s: code %d: %s", name, r.code, r.stderr)
		}
		private(t, "the error of "+name, r.stdout+r.stderr)
		t.Setenv(name, "")
	}
}
