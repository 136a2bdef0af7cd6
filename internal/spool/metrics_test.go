package spool

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/callpop/connector/schema"
)

func TestTheSpoolIsMeasured(t *testing.T) {
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	defer func() { _ = provider.Shutdown(context.Background()) }()
	o := testOptions(t.TempDir())
	o.Meter = provider.Meter("test")
	s := openSpool(t, o, quick)
	emitN(t, s, 3)
	large := newEvent(4)
	large.Body = make([]byte, maxPayload)
	if s.Emit(testContext(t), large) == nil {
		t.Fatal("a large event was stored")
	}
	restart(t, s)
	values := collect(t, reader)
	state, err := s.State(testContext(t), schema.TypeCallPop)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]float64{
		"callpop.spool.stored{type=callpop.v1}":                             3,
		"callpop.spool.stored{type=callpop.session.v1}":                     0,
		"callpop.spool.stored{type=callpop.dlq.v1}":                         0,
		"callpop.spool.lost{type=callpop.v1}":                               0,
		"callpop.spool.lost{type=callpop.session.v1}":                       0,
		"callpop.spool.lost{type=callpop.dlq.v1}":                           0,
		"callpop.spool.emit.duration{type=callpop.v1}":                      3,
		"callpop.spool.emit.duration{error.type=too_large,type=callpop.v1}": 1,
		"callpop.spool.restarts{}":                                          1,
		"callpop.spool.events{type=callpop.v1}":                             3,
		"callpop.spool.events{type=callpop.session.v1}":                     0,
		"callpop.spool.events{type=callpop.dlq.v1}":                         0,
		"callpop.spool.bytes{type=callpop.v1}":                              float64(state.Bytes),
		"callpop.spool.bytes{type=callpop.session.v1}":                      0,
		"callpop.spool.bytes{type=callpop.dlq.v1}":                          0,
		"callpop.spool.limit{type=callpop.v1}":                              float64(o.Config.MaxBytes),
		"callpop.spool.limit{type=callpop.session.v1}":                      float64(o.Config.MaxBytes),
		"callpop.spool.limit{type=callpop.dlq.v1}":                          float64(o.Config.MaxBytes),
		"callpop.spool.state{state=serving}":                                1,
		"callpop.spool.state{state=low_space}":                              0,
		"callpop.spool.state{state=restarting}":                             0,
		"callpop.spool.state{state=failed}":                                 0,
		"callpop.spool.max_age{}":                                           o.Config.MaxAge.Seconds(),
		"callpop.spool.min_free{}":                                          float64(o.Config.MinFree),
		"callpop.spool.free{}":                                              float64(s.Status().FreeBytes),
	} {
		got, ok := values[name]
		if !ok {
			t.Errorf("%s is missing in %v", name, values)
		} else if got != want && !strings.HasPrefix(name, "callpop.spool.free") {
			t.Errorf("%s = %v, want %v", name, got, want)
		}
		delete(values, name)
	}
	for name := range values {
		t.Errorf("%s was not expected", name)
	}
}

// collect returns each value, and the count of each histogram, by name and
// attributes.
func collect(t *testing.T, reader *metric.ManualReader) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(testContext(t), &all); err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			key := func(set attribute.Set) string { return m.Name + "{" + set.Encoded(attribute.DefaultEncoder()) + "}" }
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					values[key(p.Attributes)] = float64(p.Value)
				}
			case metricdata.Gauge[int64]:
				for _, p := range data.DataPoints {
					values[key(p.Attributes)] = float64(p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					values[key(p.Attributes)] = float64(p.Count)
				}
			default:
				t.Errorf("%s is a %T", m.Name, m.Data)
			}
		}
	}
	return values
}

func TestWhatDamageTookIsMeasured(t *testing.T) {
	dir := t.TempDir()
	s := openSpool(t, testOptions(dir))
	emitN(t, s, 10)
	for sink, cursor := range map[string]uint64{"crm": 10, "lake": 4} {
		if err := s.SetCursor(testContext(t), sink, schema.TypeCallPop, cursor); err != nil {
			t.Fatal(err)
		}
	}
	closeSpool(t, s)
	damageFile(t, dir, "1.blk", func(d []byte) []byte { return d[:len(d)-1] })
	reader := metric.NewManualReader()
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	defer func() { _ = provider.Shutdown(context.Background()) }()
	o := testOptions(dir)
	o.Meter = provider.Meter("test")
	openSpool(t, o)
	values := collect(t, reader)
	for name, want := range map[string]float64{
		"callpop.spool.lost{type=callpop.v1}":                       1,
		"callpop.spool.lost.undelivered{sink=lake,type=callpop.v1}": 1,
		"callpop.spool.lost.undelivered{sink=crm,type=callpop.v1}":  0,
	} {
		if got, ok := values[name]; !ok || got != want {
			t.Errorf("%s = %v, %t, want %v", name, got, ok, want)
		}
	}
}

func TestTheServersLogShowsNoPayload(t *testing.T) {
	var log logLines
	l := &serverLog{logger: log.logger()}
	l.Warnf("Malformed JetStream API Request: [%s] %q", "$JS.API.X", []byte("13800000000"))
	l.Errorf("%s", strings.Repeat("x", 10_000))
	l.Noticef("Server is ready")
	l.Fatalf("cannot %s", "start")
	l.Fatalf("cannot go on")
	if got := l.fatalMessage(); got != "cannot start" {
		t.Errorf("fatal = %q", got)
	}
	if strings.Contains(log.String(), "13800000000") || strings.Contains(log.String(), "ready") || len(log.String()) > 2000 {
		t.Errorf("log = %s", &log)
	}
	if !strings.Contains(log.String(), "$JS.API.X") {
		t.Errorf("log = %s", &log)
	}
}
