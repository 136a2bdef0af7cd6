package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/callpop/connector/internal/collectortest"
	"github.com/callpop/connector/internal/tracing"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/lqsim"
)

// exportConfig has everything exported to a collector.
func exportConfig(endpoint, protocol string) string {
	return fmt.Sprintf(`telemetry:
  traces:  {exporter: otlp}
  metrics: {exporter: otlp, interval: 1s}
  logs:    {exporter: otlp}
  otlp:    {endpoint: %q, protocol: %q, headers: "authorization=Bearer%%20hunter2-otlp"}
`, endpoint, protocol)
}

// promptly makes the SDK send at once, as a test cannot wait for its five seconds.
var promptly = []string{"OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_BLRP_SCHEDULE_DELAY=50"}

// popSpans are the spans of pops, of one name or, with a space at its end, of names
// that begin so.
func popSpans(name string) func(collectortest.Span) bool {
	return func(s collectortest.Span) bool {
		is := s.Name == name || strings.HasSuffix(name, " ") && strings.HasPrefix(s.Name, name)
		typ := s.Attributes["callpop.event.type"]
		return is && (typ == nil || typ == string(schema.TypeCallPop))
	}
}

func TestATraceGoesOnAfterAKillAndAnOutageOfBothBrokers(t *testing.T) {
	for _, protocol := range []string{"http/protobuf", "grpc"} {
		t.Run(protocol, func(t *testing.T) {
			collector := collectortest.Start(t)
			endpoint := collector.HTTP()
			if protocol == "grpc" {
				endpoint = collector.GRPC()
			}
			lq := startSimulator(t, lqsim.Options{})
			broker := startNATS(t)
			broker.stop()
			kafka := freeAddress(t)
			config := strings.ReplaceAll(bothSinks(broker.url(), kafka), `http: {health: "127.0.0.1:0"}`, "")
			file := writeConfig(t, config+exportConfig(endpoint, protocol), lq)
			const pops = 20

			first := startChild(t, file, promptly...)
			call(t, lq, pops, 0)
			spools := collector.WaitSpans(pops, popSpans("spool"))
			eventually(t, "the metrics", func() bool {
				arrived := map[string]bool{}
				for _, m := range collector.Metrics() {
					arrived[m.Name] = true
				}
				return arrived["callpop.pops"] && arrived["callpop.sink.published"] && arrived["callpop.spool.events"]
			})
			first.kill()
			if n := len(collector.WaitSpans(0, popSpans("publish "))); n != 0 {
				t.Errorf("%d pops were published to brokers that are away", n)
			}

			broker.start()
			startKafka(t, kafka)
			second := startChild(t, file, promptly...)
			publishes := collector.WaitSpans(2*pops, popSpans("publish "))
			second.stop()

			created := map[string]collectortest.Span{} // by the event's id
			for _, s := range spools {
				created[s.Attributes["messaging.message.id"].(string)] = s
			}
			carried := map[string]string{}
			for _, e := range append(received(t, broker.url(), "CALLPOP", pops), readKafka(t, kafka, "callpop.v1", pops)...) {
				origin := created[e.ID]
				if want := "00-" + origin.TraceID + "-" + origin.SpanID + "-01"; e.TraceParent != want {
					t.Errorf("event %s carries %q, want %q", e.ID, e.TraceParent, want)
				}
				carried[e.ID] = e.TraceParent
			}
			if len(carried) != pops || len(created) != pops {
				t.Errorf("%d events carry a context, %d were created", len(carried), len(created))
			}
			sinks := map[string]int{}
			for _, s := range publishes {
				origin, ok := created[s.Attributes["messaging.message.id"].(string)]
				if !ok || s.TraceID != origin.TraceID || s.ParentID != origin.SpanID {
					t.Errorf("publish of %v is under %s of trace %s, want %s of %s", s.Attributes["messaging.message.id"], s.ParentID, s.TraceID, origin.SpanID, origin.TraceID)
				}
				if len(s.Links) != 1 || s.Links[0] != (collectortest.Link{TraceID: origin.TraceID, SpanID: origin.SpanID}) {
					t.Errorf("its links are %v", s.Links)
				}
				if s.Resource["service.instance.id"] == origin.Resource["service.instance.id"] {
					t.Error("it is of the process that was killed")
				}
				const client = 3
				system := s.Attributes["messaging.system"].(string)
				sinks[system+" "+s.Name]++
				if s.Kind != client || system == "kafka" && (s.Attributes["messaging.destination.partition.id"] != "0" || s.Attributes["messaging.kafka.offset"] == nil) {
					t.Errorf("got %+v", s)
				}
				if fmt.Sprintf("127.0.0.1:%v", s.Attributes["server.port"]) != map[string]string{"nats": strings.TrimPrefix(broker.url(), "nats://"), "kafka": kafka}[system] {
					t.Errorf("%s went to port %v", system, s.Attributes["server.port"])
				}
			}
			if sinks["nats publish callpop.v1.{server}.{agent}"] != pops || sinks["kafka publish callpop.v1"] != pops || len(sinks) != 2 {
				t.Errorf("got %v", sinks)
			}
			receives := map[string]collectortest.Span{}
			for _, s := range collector.WaitSpans(pops, popSpans("receive")) {
				receives[s.TraceID] = s
			}
			for _, s := range spools {
				if r := receives[s.TraceID]; s.ParentID != r.SpanID || r.ParentID != "" || r.Start.After(s.Start) || r.End.Before(s.End) {
					t.Errorf("spool of %s is under %q; receive is %+v", s.TraceID, s.ParentID, r)
				}
			}
			if n := len(collector.Logs()); n == 0 {
				t.Error("no log line arrived")
			}
			conventional(t, collector.Spans())
		})
	}
}

// conventional checks that every attribute is ours or of the pinned conventions.
func conventional(t *testing.T, spans []collectortest.Span) {
	t.Helper()
	dir, err := exec.CommandContext(context.Background(), "go", "list", "-m", "-f", "{{.Dir}}", "go.opentelemetry.io/otel").Output()
	if err != nil {
		t.Fatal(err)
	}
	version := filepath.Base(tracing.SchemaURL) // .../schemas/1.43.0
	text, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "semconv", "v"+version, "attribute_group.go"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`attribute\.Key\("([^"]+)"\)`).FindAllSubmatch(text, -1) {
		known[string(m[1])] = true
	}
	if len(known) < 100 {
		t.Fatalf("the conventions have %d attributes", len(known))
	}
	for _, s := range spans {
		if s.Schema != tracing.SchemaURL {
			t.Fatalf("%s follows %q, want %q", s.Name, s.Schema, tracing.SchemaURL)
		}
		check := func(attributes map[string]any) {
			for key := range attributes {
				if !known[key] && !strings.HasPrefix(key, "callpop.") {
					t.Errorf("%s has %s, which the conventions %s do not know", s.Name, key, version)
				}
			}
		}
		check(s.Attributes)
		check(s.Resource)
		for _, e := range s.Events {
			check(e.Attributes)
		}
	}
}

func TestASampledShareOfThePopsIsTracedAndAllCarryAContext(t *testing.T) {
	collector := collectortest.Start(t)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, embeddedConfig+fmt.Sprintf("telemetry: {traces: {exporter: otlp, sample: 0.1}, otlp: {endpoint: %q}}\n", collector.HTTP()), lq))
	const pops = 1000
	call(t, lq, pops, 0)
	sampled := 0
	for _, e := range received(t, "nats://"+d.spool.Addr().String(), "CALLPOP", pops) {
		if strings.HasSuffix(e.TraceParent, "-01") {
			sampled++
		} else if !strings.HasSuffix(e.TraceParent, "-00") {
			t.Fatalf("event %s carries %q", e.ID, e.TraceParent)
		}
	}
	if err := d.end(); err != nil {
		t.Error(err)
	}
	if sampled < pops/20 || sampled > pops/5 {
		t.Errorf("%d of %d are sampled, a tenth was asked for", sampled, pops)
	}
	if got := len(collector.WaitSpans(sampled, popSpans("receive"))); got != sampled {
		t.Errorf("%d spans of %d sampled pops", got, sampled)
	}
}

func TestTheLogDoesNotGrowWithThePops(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, embeddedConfig, lq))
	call(t, lq, 10, 0)
	url := "nats://" + d.spool.Addr().String()
	received(t, url, "CALLPOP", 10)
	before := d.stderr.String()
	call(t, lq, 2000, 0)
	received(t, url, "CALLPOP", 2010)
	if after := d.stderr.String(); after != before {
		t.Errorf("2000 pops wrote %s", strings.TrimPrefix(after, before))
	}
}
