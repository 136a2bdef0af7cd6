package telemetry

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func variables(pairs ...string) func(string) string {
	return func(name string) string {
		for i := 0; i < len(pairs); i += 2 {
			if pairs[i] == name {
				return pairs[i+1]
			}
		}
		return ""
	}
}

func setup(t *testing.T, o Options) *Telemetry {
	t.Helper()
	tel, err := Setup(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tel.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return tel
}

// scrape reads the metrics as Prometheus does.
func scrape(t *testing.T, tel *Telemetry) map[string]*dto.MetricFamily {
	t.Helper()
	response := httptest.NewRecorder()
	tel.Handler().ServeHTTP(response, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(response.Body)
	if err != nil || response.Code != http.StatusOK {
		t.Fatalf("status %d, %v: %s", response.Code, err, body)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(body)))
	if err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return families
}

func labels(m *dto.Metric) map[string]string {
	all := map[string]string{}
	for _, l := range m.GetLabel() {
		all[l.GetName()] = l.GetValue()
	}
	return all
}

func TestAScrapeShowsInstrumentsProcessAndBuild(t *testing.T) {
	tel := setup(t, Options{Version: "1.2.3", Commit: "abc"})
	counter, err := tel.Meter("github.com/callpop/connector/source").Int64Counter("callpop.pops", metric.WithUnit("{pop}"))
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 7, metric.WithAttributes(attribute.String("server", "hq")))

	families := scrape(t, tel)
	pops := families["callpop_pops_total"]
	if pops == nil || pops.Metric[0].GetCounter().GetValue() != 7 {
		t.Fatalf("callpop_pops_total is %v", pops)
	}
	if got := labels(pops.Metric[0]); len(got) != 1 || got["server"] != "hq" {
		t.Errorf("labels are %v, want server alone", got)
	}
	build := families["callpop_build_info"]
	if build == nil || build.Metric[0].GetGauge().GetValue() != 1 {
		t.Fatalf("callpop_build_info is %v", build)
	}
	if got := labels(build.Metric[0]); got["version"] != "1.2.3" || got["commit"] != "abc" || !strings.HasPrefix(got["go_version"], "go1.") {
		t.Errorf("callpop_build_info has %v", got)
	}
	for _, name := range []string{"go_goroutines", "process_start_time_seconds", "target_info"} {
		if families[name] == nil {
			t.Errorf("%s is missing", name)
		}
	}
}

func TestHistogramsHaveBoundsThatFit(t *testing.T) {
	tel := setup(t, Options{})
	meter := tel.Meter("test")
	for _, c := range []struct {
		instrument, family string
		first, last        float64
		bounds             int
	}{
		{"callpop.spooled.duration", "callpop_spooled_duration_seconds", .00005, 1800, 21},
		{"callpop.sink.delivery.duration", "callpop_sink_delivery_duration_seconds", .00005, 1800, 21},
		{"callpop.session.heartbeat.duration", "callpop_session_heartbeat_duration_seconds", .00005, 1800, 21},
		{"messaging.client.operation.duration", "messaging_client_operation_duration_seconds", .005, 10, 14},
	} {
		histogram, err := meter.Float64Histogram(c.instrument, metric.WithUnit("s"))
		if err != nil {
			t.Fatal(err)
		}
		histogram.Record(t.Context(), .0003)
		family := scrape(t, tel)[c.family]
		if family == nil {
			t.Fatalf("%s is missing", c.family)
		}
		var bounds []float64
		for _, b := range family.Metric[0].GetHistogram().GetBucket() {
			bounds = append(bounds, b.GetUpperBound())
		}
		bounds = bounds[:len(bounds)-1] // +Inf
		if len(bounds) != c.bounds || bounds[0] != c.first || bounds[len(bounds)-1] != c.last || !slices.IsSorted(bounds) {
			t.Errorf("%s: bounds are %v", c.family, bounds)
		}
	}
}

func TestOneInstrumentCannotGrowWithoutBound(t *testing.T) {
	tel := setup(t, Options{})
	counter, err := tel.Meter("test").Int64Counter("callpop.test")
	if err != nil {
		t.Fatal(err)
	}
	const distinct = MaxSeries + 500
	for i := range distinct {
		counter.Add(t.Context(), 1, metric.WithAttributes(attribute.String("i", strconv.Itoa(i))))
	}
	family := scrape(t, tel)["callpop_test_total"]
	if got := len(family.GetMetric()); got != MaxSeries {
		t.Errorf("%d series, want %d", got, MaxSeries)
	}
	var total, overflow float64
	for _, m := range family.GetMetric() {
		total += m.GetCounter().GetValue()
		if labels(m)["otel_metric_overflow"] == "true" {
			overflow = m.GetCounter().GetValue()
		}
	}
	if total != distinct || overflow != distinct-MaxSeries+1 {
		t.Errorf("counted %v, of them %v as overflow; want %d and %d", total, overflow, distinct, distinct-MaxSeries+1)
	}
}

func TestTheResourceSaysWhatRuns(t *testing.T) {
	for _, c := range []struct {
		name string
		env  func(string) string
		want map[string]string
	}{
		{"nothing given", nil, map[string]string{"service_name": "callpop-connector", "service_version": "1.2.3", "telemetry_sdk_language": "go"}},
		{"attributes", variables("OTEL_RESOURCE_ATTRIBUTES", " deployment.environment.name=prod , k8s.pod.name=a%2Cb=c,"),
			map[string]string{"service_name": "callpop-connector", "service_version": "1.2.3", "deployment_environment_name": "prod", "k8s_pod_name": "a,b=c"}},
		{"a name among the attributes", variables("OTEL_RESOURCE_ATTRIBUTES", "service.name=pops"), map[string]string{"service_name": "pops"}},
		{"a name of its own wins", variables("OTEL_RESOURCE_ATTRIBUTES", "service.name=pops", "OTEL_SERVICE_NAME", "east"), map[string]string{"service_name": "east"}},
	} {
		tel := setup(t, Options{Version: "1.2.3", Getenv: c.env})
		info := scrape(t, tel)["target_info"]
		if info == nil {
			t.Fatalf("%s: target_info is missing", c.name)
		}
		got := labels(info.Metric[0])
		for key, want := range c.want {
			if got[key] != want {
				t.Errorf("%s: %s is %q, want %q", c.name, key, got[key], want)
			}
		}
	}
}

func TestTheSDKCanBeSwitchedOff(t *testing.T) {
	tel := setup(t, Options{Version: "1.2.3", Getenv: variables("OTEL_SDK_DISABLED", " True ")})
	counter, err := tel.Meter("test").Int64Counter("callpop.test")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 1)
	families := scrape(t, tel)
	if families["callpop_test_total"] != nil || families["target_info"] != nil {
		t.Error("the SDK is at work")
	}
	if families["go_goroutines"] == nil || families["callpop_build_info"] == nil {
		t.Error("the process is not shown")
	}
	if scrape(t, setup(t, Options{Getenv: variables("OTEL_SDK_DISABLED", "false")}))["target_info"] == nil {
		t.Error("false switches it off")
	}
}

func TestAWrongEnvironmentIsRefusedByNameAndValue(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{"OTEL_SDK_DISABLED", "yes", `OTEL_SDK_DISABLED: "yes": expected true or false`},
		{"OTEL_RESOURCE_ATTRIBUTES", "a=1,b", `OTEL_RESOURCE_ATTRIBUTES: "b": expected key=value pairs`},
		{"OTEL_RESOURCE_ATTRIBUTES", "=1", `OTEL_RESOURCE_ATTRIBUTES: "=1": expected key=value pairs`},
		{"OTEL_RESOURCE_ATTRIBUTES", "a=%zz", `OTEL_RESOURCE_ATTRIBUTES: "a=%zz": expected key=value pairs`},
	} {
		_, err := Setup(t.Context(), Options{Getenv: variables(c.name, c.value)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s=%s: got %v, want %s", c.name, c.value, err, c.want)
		}
	}
}

func TestShutdownIsSafeTwiceAndLeavesTheProcessMetrics(t *testing.T) {
	tel := setup(t, Options{})
	counter, err := tel.Meter("test").Int64Counter("callpop.test")
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := tel.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	counter.Add(t.Context(), 1)
	if families := scrape(t, tel); families["go_goroutines"] == nil || families["callpop_test_total"] != nil {
		t.Errorf("after the shutdown %d families are shown", len(families))
	}
}
