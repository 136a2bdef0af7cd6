package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/callpop/connector/schema"
)

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	spanID  = "b7ad6b7169203331"
)

// publish sends a pop as the connector does, over a real server, and returns what
// a subscriber gets.
func publish(t *testing.T, parent string) *nats.Msg {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server does not start")
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	subscription, err := nc.SubscribeSync("callpop.v1.>")
	if err != nil {
		t.Fatal(err)
	}
	p := schema.CallPop{ID: "01a2078e-5655-778c-81da-0fe8dd136431", Version: 1, Key: "hq/7", Server: "hq", ReceivedAt: time.Now().UTC()}
	p.Agent.ID = "801"
	e := p.Event()
	e.TraceParent = parent
	m := &nats.Msg{Subject: e.Subject(), Data: e.Body, Header: nats.Header{}}
	for name, value := range e.NATSHeaders() {
		m.Header[name] = []string{value}
	}
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	got, err := subscription.NextMsg(time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestAConsumersSpanGoesOnWithThePopsTrace(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	var within trace.SpanContext
	c := newConsumer(provider, func(ctx context.Context, e schema.Event) error {
		within = trace.SpanContextFromContext(ctx)
		return nil
	})
	if err := c.handle(t.Context(), publish(t, "00-"+traceID+"-"+spanID+"-01")); err != nil {
		t.Fatal(err)
	}
	s := recorder.Ended()[0]
	if s.Name() != "process callpop.v1.{server}.{agent}" || s.SpanKind() != trace.SpanKindConsumer || s.SpanContext().TraceID().String() != traceID ||
		s.Parent().SpanID().String() != spanID || within.SpanID() != s.SpanContext().SpanID() {
		t.Errorf("got %s, a %v, %v under %v", s.Name(), s.SpanKind(), s.SpanContext(), s.Parent())
	}
	if l := s.Links(); len(l) != 1 || l[0].SpanContext.SpanID().String() != spanID {
		t.Errorf("its links are %v", l)
	}
}

func TestAConsumerWorksWithoutATraceAndShowsNoErrorText(t *testing.T) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	failed := errors.New("13812345678 is not in the CRM")
	c := newConsumer(provider, func(context.Context, schema.Event) error { return failed })
	if err := c.handle(t.Context(), publish(t, "")); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	s := recorder.Ended()[0]
	if s.Parent().IsValid() || len(s.Links()) != 0 || s.Status().Code != codes.Error || strings.Contains(s.Status().Description, "138") {
		t.Errorf("got %v, %v, %v", s.Parent(), s.Links(), s.Status())
	}
}

func TestACarrierReadsAnyCaseAndWritesLower(t *testing.T) {
	c := carrier{"Traceparent": {"a"}, "TRACESTATE": {"b"}}
	if c.Get("traceparent") != "a" || c.Get("tracestate") != "b" || c.Get("other") != "" {
		t.Errorf("got %v", c)
	}
	c.Set("TraceParent", "c")
	if len(c["traceparent"]) != 1 || c.Get("traceparent") != "c" || len(c) != 2 || len(c.Keys()) != 2 {
		t.Errorf("got %v", c)
	}
	ctx := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled,
	}))
	propagation.TraceContext{}.Inject(ctx, c)
	if !strings.HasPrefix(c.Get("traceparent"), "00-01") {
		t.Errorf("got %v", c)
	}
}
