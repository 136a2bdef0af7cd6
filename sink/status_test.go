package sink_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

// headerOf returns a header of the event in a dead letter.
func headerOf(t *testing.T, record sink.Record, name string) string {
	t.Helper()
	var letter schema.DeadLetter
	if err := json.Unmarshal(record.Body, &letter); err != nil {
		t.Fatal(err)
	}
	return letter.Headers[name]
}

func TestDrainingWaitsForTheSpoolsEndDeadLettersIncluded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all := events(10, 2)
		s := refusing(map[string]bool{all[9].ID: true})
		s.Before = func(context.Context, []sink.Record) error {
			time.Sleep(time.Second)
			return nil
		}
		r := start(t, sinktest.NewSpool(), s)
		synctest.Wait()
		if err := r.WaitDrained(t.Context()); err != nil {
			t.Errorf("an empty spool: %v", err)
		}
		emit(t, r.spool, all...)
		if err := r.WaitDrained(t.Context()); err != nil {
			t.Error(err)
		}
		if n := len(s.Stored(pops)); n != 9 {
			t.Errorf("%d events delivered when drained, want 9", n)
		}
		if n := len(s.Stored(letters)); n != 1 {
			t.Errorf("%d dead letters delivered when drained, want 1", n)
		}
		r.stop(t)
	})
}

func TestDrainingEndsAtItsDeadlineAndSaysWhatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sinktest.Memory{Before: func(context.Context, []sink.Record) error { return errAway }}
		r := start(t, sinktest.NewSpool(), s)
		emit(t, r.spool, events(10, 10)...)
		ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
		defer cancel()
		begun := time.Now()
		err := r.WaitDrained(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "10 events are left") {
			t.Errorf("error %v", err)
		}
		if waited := time.Since(begun); waited != 15*time.Second {
			t.Errorf("it waited %v", waited)
		}
		r.stop(t)
	})
}

func TestDrainingDoesNotWaitForEventsThatExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, sinktest.NewSpool(), new(sinktest.Memory), only(pops))
		synctest.Wait()
		r.spool.Skip(pops, 5)
		if err := r.WaitDrained(t.Context()); err != nil {
			t.Error(err)
		}
		r.stop(t)
	})
}

func TestAnErrorOfABrokerIsOneShortLineInTheStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sinktest.Memory{Before: func(context.Context, []sink.Record) error {
			return errors.New("first\nsecond \x1b[31m" + strings.Repeat("语", 1000))
		}}
		r := start(t, sinktest.NewSpool(), s)
		emit(t, r.spool, events(1, 1)...)
		synctest.Wait()
		got := line(r.Forwarder, pops)
		if n := len([]rune(got.LastError)); n > 301 || strings.ContainsAny(got.LastError, "\n\x1b") || !strings.HasPrefix(got.LastError, "first second") {
			t.Errorf("%d characters: %q", n, got.LastError)
		}
		if body, err := json.Marshal(got); err != nil || !strings.Contains(string(body), `"state":"retrying"`) {
			t.Errorf("as JSON: %s, %v", body, err)
		}
		r.stop(t)
	})
}

// collect reads the metrics: value by name and type, a histogram's is its count.
func collect(t *testing.T, reader *metric.ManualReader) map[string]float64 {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &all); err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			put := func(set attribute.Set, value float64) {
				name, _ := set.Value("sink")
				typ, _ := set.Value("type")
				key := m.Name + " " + typ.AsString()
				others := 0
				for _, attribute := range []attribute.Key{
					"state", "error.type", "messaging.system", "messaging.operation.name", "messaging.operation.type",
				} {
					if value, ok := set.Value(attribute); ok {
						others++
						if !strings.HasPrefix(string(attribute), "messaging.") {
							key += " " + value.AsString()
						}
					}
				}
				if name.AsString() != "events" || set.Len() != 2+others {
					t.Errorf("metric %s has the attributes %v", m.Name, set.ToSlice())
				}
				values[key] = value
			}
			switch data := m.Data.(type) {
			case metricdata.Sum[int64]:
				for _, p := range data.DataPoints {
					put(p.Attributes, float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				for _, p := range data.DataPoints {
					put(p.Attributes, p.Value)
				}
			case metricdata.Histogram[float64]:
				for _, p := range data.DataPoints {
					put(p.Attributes, float64(p.Count))
				}
			}
		}
	}
	return values
}

// counting is a sink whose broker recognises duplicates.
type counting struct {
	*sinktest.Memory
	duplicates atomic.Uint64
}

func (c *counting) Duplicates(t schema.Type) uint64 {
	if t != pops {
		return 0
	}
	return c.duplicates.Load()
}

func TestTheMetricsCountWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		provider := metric.NewMeterProvider(metric.WithReader(reader))
		all := events(5, 5)
		s := refusing(map[string]bool{all[4].ID: true})
		failures := 2
		s.Before = func(context.Context, []sink.Record) error {
			if failures--; failures >= 0 {
				return errAway
			}
			return nil
		}
		c := &counting{Memory: s}
		r := start(t, sinktest.NewSpool(), s, only(pops), func(o *sink.Options) {
			o.Meter, o.Sink = provider.Meter("test"), c
		})
		for i := range all {
			all[i].Time = time.Now()
		}
		emit(t, r.spool, all...)
		synctest.Wait()
		at := time.Now()
		away := collect(t, reader)
		if got, want := away["callpop.sink.undelivered.age callpop.v1"], time.Since(at).Seconds(); got != want {
			t.Errorf("age %v, want %v", got, want)
		}
		for name, want := range map[string]float64{
			"callpop.sink.backlog callpop.v1":          5,
			"callpop.sink.state callpop.v1 retrying":   1,
			"callpop.sink.state callpop.v1 publishing": 0,
			"callpop.sink.state callpop.v1 idle":       0,
			"callpop.sink.published callpop.v1":        0,
			"callpop.sink.dead_letters callpop.v1":     0,
			"callpop.sink.lost callpop.v1":             0,
		} {
			if got, there := away[name]; got != want || !there {
				t.Errorf("%s: %v, %t, want %v", name, got, there, want)
			}
		}
		c.duplicates.Store(3)
		time.Sleep(time.Minute)
		synctest.Wait()
		got := collect(t, reader)
		for name, want := range map[string]float64{
			"callpop.sink.published callpop.v1":         4,
			"callpop.sink.retries callpop.v1":           10,
			"callpop.sink.duplicates callpop.v1":        3,
			"callpop.sink.dead_letters callpop.v1":      1,
			"callpop.sink.undelivered.age callpop.v1":   0,
			"callpop.sink.delivery.duration callpop.v1": 4,
			"callpop.sink.backlog callpop.v1":           0,
			"callpop.sink.state callpop.v1 idle":        1,
			"callpop.sink.state callpop.v1 retrying":    0,

			"messaging.client.sent.messages callpop.v1":              4,
			"messaging.client.sent.messages callpop.v1 _OTHER":       10,
			"messaging.client.sent.messages callpop.v1 refused":      1,
			"messaging.client.operation.duration callpop.v1 _OTHER":  2,
			"messaging.client.operation.duration callpop.v1 refused": 1,
		} {
			if got[name] != want {
				t.Errorf("%s: %v, want %v", name, got[name], want)
			}
		}
		r.stop(t)
	})
}

func TestTheAgeIsThatOfTheOldestUndeliveredEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader := metric.NewManualReader()
		provider := metric.NewMeterProvider(metric.WithReader(reader))
		s := &sinktest.Memory{Before: func(context.Context, []sink.Record) error { return errAway }}
		r := start(t, sinktest.NewSpool(), s, only(pops), func(o *sink.Options) { o.Meter = provider.Meter("test") })
		for _, e := range events(3, 3) {
			e.Time = time.Now()
			emit(t, r.spool, e)
			time.Sleep(time.Minute)
		}
		if got := collect(t, reader)["callpop.sink.undelivered.age callpop.v1"]; got != 180 {
			t.Errorf("age %v s, want 180", got)
		}
		r.stop(t)
		if _, reported := collect(t, reader)["callpop.sink.undelivered.age callpop.v1"]; reported {
			t.Error("a forwarder that has stopped still reports an age")
		}
	})
}
