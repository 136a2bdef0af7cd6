package source

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/callpop/connector/internal/tracing/tracingtest"
	"github.com/callpop/connector/schema"
)

// received stores what in takes, and returns the events.
func received(t *testing.T, o IntakeOptions, take func(in *Intake, o *Origin)) []schema.Event {
	t.Helper()
	var log stored // unless there is one
	if o.Emit == nil {
		o.Emit = log.emit
	}
	in, done := startIntake(t, o)
	take(in, testOrigin(t, "801"))
	in.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return log.events
}

const tracedPop = "H=t1v5,ch=2,ph=013812345678,ty=1,tm=080711175931,op=801,sn=7,da=0,dm=1;"

func TestAPopHasOneTraceFromTheSocketToTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		recorder := tracingtest.New(t, 1)
		at := time.Now().Add(-time.Second) // it waited for that long
		tries := 0
		var log stored
		log.before = func(schema.Event) error {
			if tries++; tries == 1 {
				return errors.New("stuck")
			}
			return nil
		}
		received(t, IntakeOptions{Tracer: recorder.Tracer, Emit: log.emit}, func(in *Intake, o *Origin) { in.Pop(o, at, []byte(tracedPop)) })
		events := log.events
		if len(events) != 1 || len(recorder.Spans()) != 3 || recorder.Open() != 0 {
			t.Fatalf("%d events, %d spans, %d open", len(events), len(recorder.Spans()), recorder.Open())
		}
		decode, spool, receive := recorder.Spans()[0], recorder.Spans()[1], recorder.Spans()[2]
		if receive.Name() != "receive" || receive.SpanKind() != trace.SpanKindClient || receive.Parent().IsValid() || !receive.StartTime().Equal(at) {
			t.Errorf("the root is %s, a %v, under %v, since %v", receive.Name(), receive.SpanKind(), receive.Parent().SpanID(), receive.StartTime())
		}
		if decode.Name() != "decode" || decode.SpanKind() != trace.SpanKindInternal || decode.Parent().SpanID() != receive.SpanContext().SpanID() {
			t.Errorf("got %s, a %v", decode.Name(), decode.SpanKind())
		}
		if spool.Name() != "spool" || spool.SpanKind() != trace.SpanKindProducer || spool.Parent().SpanID() != receive.SpanContext().SpanID() {
			t.Errorf("got %s, a %v", spool.Name(), spool.SpanKind())
		}
		sc := spool.SpanContext()
		if want := fmt.Sprintf("00-%s-%s-01", sc.TraceID(), sc.SpanID()); events[0].TraceParent != want || events[0].TraceState != "" {
			t.Errorf("the event carries %q, want %q", events[0].TraceParent, want)
		}
		got := tracingtest.Attributes(receive)
		for key, want := range map[string]any{"callpop.server": "hq", "callpop.source": "hq", "callpop.source.type": "session"} {
			if got[key] != want {
				t.Errorf("%s is %v, want %v", key, got[key], want)
			}
		}
		got = tracingtest.Attributes(decode)
		if got["callpop.format"] != "t1v5" || got["callpop.mode"] != "inbound" {
			t.Errorf("decode has %v", got)
		}
		got = tracingtest.Attributes(spool)
		for key, want := range map[string]any{
			"messaging.system": "nats", "messaging.operation.name": "spool", "messaging.operation.type": "create",
			"messaging.destination.name": "callpop.v1.hq.801", "messaging.destination.template": "callpop.v1.{server}.{agent}",
			"messaging.message.id": events[0].ID, "messaging.message.conversation_id": "hq/7",
			"messaging.message.body.size": int64(len(events[0].Body)), "callpop.event.type": "callpop.v1",
		} {
			if got[key] != want {
				t.Errorf("%s is %v, want %v", key, got[key], want)
			}
		}
		for _, s := range recorder.Spans() {
			if strings.Contains(fmt.Sprint(s.Name(), s.Attributes(), s.Events(), s.Status()), "12345678") {
				t.Errorf("%s has the customer's number: %v", s.Name(), s.Attributes())
			}
		}
	})
}

func TestWhatCannotBeDecodedHasATraceToo(t *testing.T) {
	recorder := tracingtest.New(t, 1)
	received(t, IntakeOptions{Tracer: recorder.Tracer}, func(in *Intake, o *Origin) {
		in.Pop(o, time.Now(), []byte("13812345678 is no pop"))
		in.DeadLetter(o, time.Now(), []byte("13812345678"), schema.ReasonCutFrame, "cut")
	})
	decodes := recorder.Named("decode")
	if len(decodes) != 2 || len(recorder.Named("spool")) != 2 || len(recorder.Named("receive")) != 2 {
		t.Fatalf("%d spans", len(recorder.Spans()))
	}
	reasons := map[any]bool{}
	for _, s := range decodes {
		reasons[tracingtest.Attributes(s)["error.type"]] = s.Status().Code == codes.Error
		if strings.Contains(fmt.Sprint(s.Attributes(), s.Events(), s.Status()), "12345678") {
			t.Errorf("the span shows what was received: %v", s.Attributes())
		}
	}
	if !reasons["unrecognised"] || !reasons[schema.ReasonCutFrame] {
		t.Errorf("got %v", reasons)
	}
}

func TestAChangeOfASessionBeginsInTheSpool(t *testing.T) {
	recorder := tracingtest.New(t, 1)
	events := received(t, IntakeOptions{Tracer: recorder.Tracer}, func(in *Intake, o *Origin) {
		in.Session(o, SessionChange{State: schema.Connected, At: time.Now()})
	})
	if len(recorder.Spans()) != 1 {
		t.Fatalf("%d spans", len(recorder.Spans()))
	}
	s := recorder.Spans()[0]
	if s.Name() != "spool" || s.Parent().IsValid() || !strings.Contains(events[0].TraceParent, s.SpanContext().SpanID().String()) ||
		tracingtest.Attributes(s)["messaging.destination.template"] != "callpop.session.v1.{server}.{agent}" {
		t.Errorf("got %s %v, the event carries %q", s.Name(), s.Attributes(), events[0].TraceParent)
	}
}

func TestATraceThatIsNotSampledIsCarriedAndOneThatIsOffIsNot(t *testing.T) {
	recorder := tracingtest.New(t, 0)
	pop := func(in *Intake, o *Origin) { in.Pop(o, time.Now(), []byte(tracedPop)) }
	e := received(t, IntakeOptions{Tracer: recorder.Tracer}, pop)[0]
	if len(e.TraceParent) != 55 || !strings.HasSuffix(e.TraceParent, "-00") || recorder.Open()+len(recorder.Spans()) != 0 {
		t.Errorf("the event carries %q; %d spans", e.TraceParent, len(recorder.Spans()))
	}
	if e := received(t, IntakeOptions{}, pop)[0]; e.TraceParent != "" {
		t.Errorf("the event carries %q without tracing", e.TraceParent)
	}
}

func TestAnEventThatTheLogNeverTookEndsItsSpansAsFailed(t *testing.T) {
	recorder := tracingtest.New(t, 1)
	refuse := stored{before: func(schema.Event) error { return errors.New("stuck") }}
	in, err := NewIntake(IntakeOptions{Emit: refuse.emit, Logger: quiet, Tracer: recorder.Tracer})
	if err != nil {
		t.Fatal(err)
	}
	in.Pop(testOrigin(t, "801"), time.Now(), []byte(tracedPop))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := in.Run(ctx); err == nil {
		t.Fatal("nothing is left")
	}
	for _, name := range []string{"spool", "receive"} {
		if got := recorder.Named(name); len(got) != 1 || got[0].Status().Code != codes.Error || recorder.Open() != 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
}
