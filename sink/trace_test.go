package sink_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/callpop/connector/internal/tracing/tracingtest"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

// located is a sink that says where events go.
type located struct{ *sinktest.Memory }

func (located) Destination(schema.Type) sink.Destination {
	return sink.Destination{System: "nats", Name: "callpop.v1", Subjects: true, Address: "broker", Port: 4222}
}

const (
	parentTrace = "0af7651916cd43dd8448eb211c80319c"
	parentSpan  = "b7ad6b7169203331"
)

// traced are events whose traces are sampled.
func traced(n int) []schema.Event {
	all := events(n, n)
	for i := range all {
		all[i].TraceParent = "00-" + parentTrace + "-" + parentSpan + "-01"
	}
	return all
}

func startTraced(t *testing.T, s *sinktest.Memory) (*rig, *tracingtest.Recorder) {
	recorder := tracingtest.New(t, 1)
	return start(t, sinktest.NewSpool(), s, func(o *sink.Options) {
		o.Sink, o.Tracer = located{s}, recorder.Tracer
	}), recorder
}

func TestAPublishSpanContinuesTheTraceThatTheEventCarriesAndLinksToIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, recorder := startTraced(t, new(sinktest.Memory))
		e := traced(1)[0]
		emit(t, r.spool, e)
		synctest.Wait()
		r.stop(t)
		if len(recorder.Spans()) != 1 || recorder.Open() != 0 {
			t.Fatalf("%d spans, %d open", len(recorder.Spans()), recorder.Open())
		}
		s := recorder.Spans()[0]
		if s.Name() != "publish callpop.v1.{server}.{agent}" || s.SpanKind() != trace.SpanKindClient || s.Status().Code != codes.Unset {
			t.Errorf("got %s, a %v, %v", s.Name(), s.SpanKind(), s.Status())
		}
		if p := s.Parent(); p.TraceID().String() != parentTrace || p.SpanID().String() != parentSpan || !p.IsRemote() {
			t.Errorf("its parent is %v", p)
		}
		if l := s.Links(); len(l) != 1 || l[0].SpanContext.SpanID().String() != parentSpan || l[0].SpanContext.TraceID().String() != parentTrace {
			t.Errorf("its links are %v", l)
		}
		got := tracingtest.Attributes(s)
		for key, want := range map[string]any{
			"messaging.system": "nats", "messaging.operation.name": "publish", "messaging.operation.type": "send",
			"messaging.destination.name": "callpop.v1.hq.801", "messaging.destination.template": "callpop.v1.{server}.{agent}",
			"messaging.message.id": e.ID, "messaging.message.conversation_id": e.Key, "messaging.message.body.size": int64(len(e.Body)),
			"server.address": "broker", "server.port": int64(4222), "callpop.sink": "events", "callpop.event.type": "callpop.v1", "callpop.attempts": int64(1),
		} {
			if got[key] != want {
				t.Errorf("%s is %v, want %v", key, got[key], want)
			}
		}
		// What the message carries is what it carried.
		if carried := r.sink.Stored(pops)[0].TraceParent; carried != e.TraceParent {
			t.Errorf("the message carries %q", carried)
		}
	})
}

func TestAnOutageOfHoursIsOneSpanWithOneEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		away.Store(true)
		s := &sinktest.Memory{Before: func(context.Context, []sink.Record) error {
			if away.Load() {
				return errAway
			}
			return nil
		}}
		r, recorder := startTraced(t, s)
		const n = 5
		emit(t, r.spool, traced(n)...)
		time.Sleep(3 * time.Hour)
		if got := len(recorder.Spans()); got != 0 {
			t.Fatalf("%d spans have ended", got)
		}
		away.Store(false)
		time.Sleep(time.Minute)
		r.stop(t)
		if len(recorder.Spans()) != n || recorder.Open() != 0 {
			t.Fatalf("%d spans, %d open", len(recorder.Spans()), recorder.Open())
		}
		for _, s := range recorder.Spans() {
			attempts := tracingtest.Attributes(s)["callpop.attempts"].(int64)
			if took := s.EndTime().Sub(s.StartTime()); took < 3*time.Hour || attempts < 2 || s.Status().Code != codes.Unset {
				t.Errorf("it took %v and %d attempts, %v", took, attempts, s.Status())
			}
			if events := s.Events(); len(events) != 1 || events[0].Name != "publish.failed" || tracingtest.Values(events[0].Attributes)["error.type"] != "_OTHER" {
				t.Errorf("its events are %v", events)
			}
		}
	})
}

func TestARefusedEventsSpanFailsAndItsDeadLetterIsOfTheSameTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := traced(1)[0]
		r, recorder := startTraced(t, refusing(map[string]bool{e.ID: true}))
		emit(t, r.spool, e)
		synctest.Wait()
		r.stop(t)
		spans := recorder.Spans()
		if len(spans) != 2 {
			t.Fatalf("%d spans", len(spans))
		}
		byType := map[any]sdktrace.ReadOnlySpan{}
		for _, s := range spans {
			byType[tracingtest.Attributes(s)["callpop.event.type"]] = s
			if s.Parent().SpanID().String() != parentSpan {
				t.Errorf("%s is under %v", s.Name(), s.Parent().SpanID())
			}
		}
		refused := byType["callpop.v1"]
		if refused == nil || refused.Status().Code != codes.Error || refused.Status().Description != "refused" ||
			tracingtest.Attributes(refused)["error.type"] != "refused" {
			t.Errorf("got %v", refused)
		}
		if letter := byType["callpop.dlq.v1"]; letter == nil || letter.Name() != "publish callpop.v1.{server}" || letter.Status().Code != codes.Unset {
			t.Errorf("got %v", letter)
		}
		if log := r.log.String(); !strings.Contains(log, "it went to the dead letters") {
			t.Errorf("the log has %s", log)
		}
	})
}

func TestEventsOfTracesThatAreNotSampledHaveNoSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, recorder := startTraced(t, new(sinktest.Memory))
		all := traced(4)
		all[0].TraceParent = ""
		all[1].TraceParent = "00-" + parentTrace + "-" + parentSpan + "-00"
		all[2].TraceParent = "nonsense"
		emit(t, r.spool, all...)
		synctest.Wait()
		r.stop(t)
		ids := func() (ids []string) {
			for _, s := range recorder.Spans() {
				ids = append(ids, fmt.Sprint(tracingtest.Attributes(s)["messaging.message.id"]))
			}
			return ids
		}()
		if !slices.Equal(ids, []string{all[3].ID}) {
			t.Errorf("there are spans of %v, want %v", ids, all[3].ID)
		}
	})
}

func TestWhatIsLeftAtTheEndEndsItsSpanAsCanceled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, recorder := startTraced(t, &sinktest.Memory{Before: func(context.Context, []sink.Record) error { return errAway }})
		emit(t, r.spool, traced(2)...)
		time.Sleep(time.Minute)
		r.stop(t)
		if recorder.Open() != 0 || len(recorder.Spans()) == 0 {
			t.Fatalf("%d spans, %d open", len(recorder.Spans()), recorder.Open())
		}
		for _, s := range recorder.Spans() {
			if s.Status().Code != codes.Error || tracingtest.Attributes(s)["error.type"] != "canceled" {
				t.Errorf("got %v, %v", s.Status(), s.Attributes())
			}
		}
	})
}
