package source

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/callpop/connector/schema"
)

// measured is an intake whose metrics can be read.
type measured struct {
	*Intake
	t      testing.TB
	reader *sdkmetric.ManualReader
	log    *stored
	done   <-chan error
}

func measure(t testing.TB) *measured {
	t.Helper()
	m := &measured{t: t, reader: sdkmetric.NewManualReader(), log: &stored{}}
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(m.reader))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	in, err := NewIntake(IntakeOptions{Emit: m.log.emit, Logger: quiet, Meter: provider.Meter("source")})
	if err != nil {
		t.Fatal(err)
	}
	m.Intake = in
	done := make(chan error, 1)
	m.done = done
	go func() { done <- in.Run(context.Background()) }()
	return m
}

// end stores what is left.
func (m *measured) end() {
	m.t.Helper()
	m.Close()
	if err := <-m.done; err != nil {
		m.t.Fatal(err)
	}
}

// series gives each series' value, a histogram's count, by name and attributes.
func (m *measured) series() map[string]float64 {
	m.t.Helper()
	return seriesOf(m.t, m.reader)
}

func seriesOf(t testing.TB, reader *sdkmetric.ManualReader) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	values := map[string]float64{}
	for _, scope := range all.ScopeMetrics {
		for _, metric := range scope.Metrics {
			put := func(set attribute.Set, value float64) {
				values[metric.Name+"{"+set.Encoded(attribute.DefaultEncoder())+"}"] = value
			}
			switch data := metric.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					put(p.Attributes, float64(p.Value))
				}
			case metricdata.Sum[float64]:
				for _, p := range data.DataPoints {
					put(p.Attributes, p.Value)
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					put(p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					put(p.Attributes, float64(p.Count))
				}
			default:
				t.Errorf("%s is a %T", metric.Name, data)
			}
		}
	}
	return values
}

func TestWhatIsReceivedIsCounted(t *testing.T) {
	m := measure(t)
	o := testOrigin(t, "801")
	m.Introduce(Status{Type: o.Type, Name: o.Name, Server: o.Server})
	if got, there := m.series()["callpop.decode.errors{reason=no_call,server=hq,source=hq,source_type=session}"]; !there || got != 0 {
		t.Errorf("before anything came: %v, %t", got, there)
	}
	now := time.Now()
	m.Session(o, SessionChange{State: schema.Connected, At: now, Gap: &schema.Gap{From: now.Add(-90 * time.Second), To: now}})
	clock := now.In(o.Decoding.Location).Add(-3 * time.Second).Truncate(time.Second)
	for _, raw := range []string{
		"H=t1v5,ch=2,ph=86307627,ty=1,tm=" + clock.Format("060102150405") + ",op=801,sn=1,da=0,dm=0;",
		"H=t1v4,ch=2,ph=86307627,ty=77,op=801,sn=2,dm=0;",
		"H=t1v2,ch=2,ph=86307627,id=12157703713752,dm=0;",
		"H=t1v4,ch=2,,;", "garbage", " ",
	} {
		m.Pop(o, now, []byte(raw))
	}
	m.DeadLetter(o, now, []byte("x"), schema.ReasonLostFraming, "")
	m.end()
	got := m.series()
	for name, want := range map[string]float64{
		"callpop.pops{format=t1v5,mode=inbound,server=hq,source=hq,source_type=session}":     1,
		"callpop.pops{format=t1v4,mode=other,server=hq,source=hq,source_type=session}":       1,
		"callpop.pops{format=t1v2,mode=none,server=hq,source=hq,source_type=session}":        1,
		"callpop.decode.errors{reason=no_call,server=hq,source=hq,source_type=session}":      1,
		"callpop.decode.errors{reason=unrecognised,server=hq,source=hq,source_type=session}": 1,
		"callpop.decode.errors{reason=empty,server=hq,source=hq,source_type=session}":        1,
		"callpop.decode.errors{reason=lost_framing,server=hq,source=hq,source_type=session}": 1,
		"callpop.decode.errors{reason=too_long,server=hq,source=hq,source_type=session}":     0,
		"callpop.decode.errors{reason=cut_frame,server=hq,source=hq,source_type=session}":    0,
		"callpop.spooled.duration{server=hq,source=hq}":                                      3,
		"callpop.session.gap{server=hq,source=hq}":                                           90,
		"callpop.session.silent{server=hq}":                                                  0,
		"callpop.source.dropped{server=hq,source=hq}":                                        0,
		"callpop.source.buffered{}":                                                          0,
		"callpop.source.buffer.limit{}":                                                      float64(DefaultBufferBytes),
		"callpop.clock.offset{server=hq}":                                                    now.Sub(clock).Seconds(),
	} {
		if value, there := got[name]; value != want || !there {
			t.Errorf("%s is %v, %t, want %v", name, value, there, want)
		}
		delete(got, name)
	}
	for name := range got {
		t.Errorf("%s was not expected", name)
	}
}

// hostilePop makes a pop string of what a peer may think of.
func hostilePop(r *rand.Rand) []byte {
	word := func() string {
		b := make([]byte, r.IntN(12))
		for i := range b {
			b[i] = byte(' ' + r.IntN(95))
		}
		return string(b)
	}
	switch r.IntN(4) {
	case 0:
		return []byte(word())
	case 1:
		return fmt.Appendf(nil, "H=t%dv%d,ch=%s,ph=%d,ty=%d,op=%s,sn=%d;", r.IntN(9), r.IntN(1000), word(), r.IntN(1e9), r.IntN(1e6), word(), r.IntN(1e9))
	case 2:
		return fmt.Appendf(nil, "H=%s,ph=%d,ty=%s,tm=%012d,op=%s,sn=%s;", word(), r.IntN(1e9), word(), r.IntN(1e12), word(), word())
	default:
		return fmt.Appendf(nil, "%d,%d,%s,%d,%s", r.IntN(100), r.IntN(1e9), word(), r.Int64N(1e15), word())
	}
}

func TestNothingThatAPeerSendsMakesASeries(t *testing.T) {
	m := measure(t)
	r := rand.New(rand.NewPCG(7, 7))
	var agents []*Origin
	for i := range 3000 {
		agents = append(agents, testOrigin(t, fmt.Sprint(10_000+i)))
		m.Session(agents[i], SessionChange{State: schema.Connected, At: time.Now()})
	}
	const pops = 20_000
	for range pops {
		m.Pop(agents[r.IntN(len(agents))], time.Now(), hostilePop(r))
	}
	m.end()
	got := m.series()
	counted := 0.0
	for name, value := range got {
		if name[:12] == "callpop.pops" || name[:12] == "callpop.deco" {
			counted += value
		}
	}
	// Five formats by eleven modes, six reasons, and what there is once.
	if most := 5*11 + 6 + 10; len(got) > most || counted != pops {
		t.Errorf("%d series and %v pops counted, want at most %d and %d: %v", len(got), counted, most, pops, got)
	}
}

// BenchmarkRecord is what counting costs a pop.
func BenchmarkRecord(b *testing.B) {
	m := measure(b)
	defer m.end()
	o := testOrigin(b, "801")
	it, labels := &item{kind: popItem, origin: o, at: time.Now()}, Labels{Format: schema.T1V5, Mode: schema.ModeInbound}
	worker := m.recorder()
	b.ReportAllocs()
	for b.Loop() {
		worker.record(context.Background(), it, labels, it.at)
	}
}

func TestCountingAPopAllocatesNothing(t *testing.T) {
	m := measure(t)
	defer m.end()
	o := testOrigin(t, "801")
	m.Session(o, SessionChange{State: schema.Connected, At: time.Now()})
	it, labels := &item{kind: popItem, origin: o, at: time.Now()}, Labels{Format: schema.T1V5, Mode: schema.ModeInbound}
	worker := m.recorder()
	if n := testing.AllocsPerRun(1000, func() {
		worker.record(t.Context(), it, labels, it.at)
		m.silence.popped(o, it.at)
	}); n >= 1 {
		t.Errorf("%v allocations a pop", n)
	}
}

func TestTheDialsOfARosterAreCountedFromZero(t *testing.T) {
	reader := sdkmetric.NewManualReader()
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	f := newFleet(t, FleetOptions{Report: (&history{}).report, Meter: provider.Meter("source")})
	if got := seriesOf(t, reader); len(got) != 0 {
		t.Errorf("without agents there is %v", got)
	}
	f.Set(origins(3), CauseRoster)
	want := "callpop.session.dials{server=hq,source=}"
	if got, ok := seriesOf(t, reader)[want]; !ok || got != 0 {
		t.Errorf("%s is %v, %t; want it to be there, at 0: %v", want, got, ok, seriesOf(t, reader))
	}
}
