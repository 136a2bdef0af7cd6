package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/callpop/connector/examples/internal/subscribe"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/schema/consume"
)

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	spanID  = "b7ad6b7169203331"
)

// broker is a real NATS server with a stream of one pop, as the connector sends it,
// whose traceparent is parent.
func broker(t *testing.T, parent string) (url string) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true})
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
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CALLPOP", Subjects: []string{"callpop.v1.>"}}); err != nil {
		t.Fatal(err)
	}
	p := schema.CallPop{
		ID: "01a2078e-5655-778c-81da-0fe8dd136431", Fingerprint: "fc0976603c5ac126e9147f7ebd974491", Version: schema.Version, Key: "hq/7",
		Server: "hq", Format: "t1v3", Raw: "H=t1v3,sn=7;", ReceivedAt: time.Now().UTC(),
	}
	p.Agent.ID = "801"
	p.Source.Type, p.Source.Name = "session", "hq"
	e := p.Event()
	e.TraceParent = parent
	m := &nats.Msg{Subject: e.Subject(), Data: e.Body, Header: nats.Header{}}
	for name, value := range e.NATSHeaders() {
		m.Header[name] = []string{value}
	}
	if _, err := js.PublishMsg(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return s.ClientURL()
}

// consumed has the example handle the pop of a broker once, and returns its span and
// the one that was there while it worked.
func consumed(t *testing.T, url string, fails error) (span sdktrace.ReadOnlySpan, within trace.SpanContext) {
	t.Helper()
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder))
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	from := subscribe.Options{Name: "test", NATS: url, Types: []schema.Type{schema.TypeCallPop}}
	if err := from.Run(ctx, traced(provider, "nats", func(ctx context.Context, _ *consume.Delivery) error {
		within = trace.SpanContextFromContext(ctx)
		stop()
		return fails
	})); err != nil {
		t.Fatal(err)
	}
	if len(recorder.Ended()) != 1 {
		t.Fatalf("%d spans", len(recorder.Ended()))
	}
	return recorder.Ended()[0], within
}

func TestAConsumersSpanGoesOnWithThePopsTrace(t *testing.T) {
	s, within := consumed(t, broker(t, "00-"+traceID+"-"+spanID+"-01"), nil)
	if s.Name() != "process callpop.v1.{server}.{agent}" || s.SpanKind() != trace.SpanKindConsumer || within.SpanID() != s.SpanContext().SpanID() {
		t.Errorf("got %s, a %v", s.Name(), s.SpanKind())
	}
	if s.SpanContext().TraceID().String() != traceID || s.Parent().SpanID().String() != spanID {
		t.Errorf("it is of trace %v, under %v", s.SpanContext().TraceID(), s.Parent().SpanID())
	}
	if l := s.Links(); len(l) != 1 || l[0].SpanContext.SpanID().String() != spanID {
		t.Errorf("its links are %v", l)
	}
}

func TestAConsumerWorksWithoutATraceAndShowsNoErrorText(t *testing.T) {
	s, _ := consumed(t, broker(t, ""), errors.New("13812345678 is not in the CRM"))
	if s.Parent().IsValid() || len(s.Links()) != 0 || s.Status().Code != codes.Error || strings.Contains(s.Status().Description, "138") {
		t.Errorf("got %v, %v, %v", s.Parent(), s.Links(), s.Status())
	}
}
