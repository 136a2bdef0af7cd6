package main

import (
	"context"
	"errors"
	"flag"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/goleak"

	"github.com/callpop/connector/examples/internal/exampletest"
	"github.com/callpop/connector/examples/internal/subscribe"
	"github.com/callpop/connector/internal/kafkatest"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/schema/consume"
)

var shared kafkatest.Shared

func TestMain(m *testing.M) { goleak.VerifyTestMain(shared.Around(m)) }

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	spanID  = "b7ad6b7169203331"
)

// TestAConsumersSpanGoesOnWithThePopsTrace consumes a pop that carries a context,
// and one that carries none and cannot be handled at first.
func TestAConsumersSpanGoesOnWithThePopsTrace(t *testing.T) {
	exampletest.EachBroker(t, &shared, func(t *testing.T, b *exampletest.Broker) {
		pops := exampletest.Simulate(t, exampletest.Options{Agents: []string{"801"}, Pops: 2, Start: time.Now()})
		with, without := pops[0].Event, pops[1].Event
		with.TraceParent = "00-" + traceID + "-" + spanID + "-01"
		b.Send(t, []schema.Event{with, without}, 0, 1)

		from := subscribe.Options{Name: "test", Types: []schema.Type{schema.TypeCallPop}}
		flags := flag.NewFlagSet("test", flag.ContinueOnError)
		from.Flags(flags)
		if err := flags.Parse(b.Flags); err != nil {
			t.Fatal(err)
		}
		system, destination := "nats", "callpop.v1.{server}.{agent}"
		if from.Kafka != "" {
			system, destination = "kafka", "callpop.v1"
		}
		recorder := tracetest.NewSpanRecorder()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
		ctx, stop := context.WithTimeout(t.Context(), exampletest.Patience)
		defer stop()
		failed := false
		handled := map[string]trace.SpanContext{} // by the event's id
		if err := from.Run(ctx, traced(provider, system, func(ctx context.Context, d *consume.Delivery) error {
			if d.Event.ID == without.ID && !failed {
				failed = true
				return errors.New("13812345678 is not in the CRM")
			}
			handled[d.Event.ID] = trace.SpanContextFromContext(ctx)
			if len(handled) == 2 {
				stop()
			}
			return nil
		})); err != nil {
			t.Fatal(err)
		}

		spans := map[string][]sdktrace.ReadOnlySpan{} // by the event's id
		for _, s := range recorder.Ended() {
			if s.Name() != "process "+destination || s.SpanKind() != trace.SpanKindConsumer || text(s, semconv.MessagingSystemKey) != system {
				t.Errorf("got %s, a %v with %v", s.Name(), s.SpanKind(), s.Attributes())
			}
			id := text(s, semconv.MessagingMessageIDKey)
			spans[id] = append(spans[id], s)
		}
		if len(spans[with.ID]) != 1 || len(spans[without.ID]) != 2 {
			t.Fatalf("%d and %d spans, want 1 and 2", len(spans[with.ID]), len(spans[without.ID]))
		}
		s := spans[with.ID][0]
		if s.SpanContext().TraceID().String() != traceID || s.Parent().SpanID().String() != spanID || handled[with.ID].SpanID() != s.SpanContext().SpanID() {
			t.Errorf("it is of trace %v, under %v; the work is within %v", s.SpanContext().TraceID(), s.Parent().SpanID(), handled[with.ID])
		}
		if l := s.Links(); len(l) != 1 || l[0].SpanContext.SpanID().String() != spanID {
			t.Errorf("its links are %v", l)
		}
		for n, s := range spans[without.ID] {
			if s.Parent().IsValid() || len(s.Links()) != 0 || (s.Status().Code == codes.Error) != (n == 0) || strings.Contains(s.Status().Description, "138") {
				t.Errorf("attempt %d without a context: %v, %v, %v", n+1, s.Parent(), s.Links(), s.Status())
			}
		}
	})
}

// text is one of a span's attributes.
func text(s sdktrace.ReadOnlySpan, key attribute.Key) string {
	i := slices.IndexFunc(s.Attributes(), func(a attribute.KeyValue) bool { return a.Key == key })
	if i < 0 {
		return ""
	}
	return s.Attributes()[i].Value.AsString()
}
