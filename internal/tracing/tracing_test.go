package tracing

import (
	"context"
	"testing"

	"go.opentelemetry.io/otel/propagation"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/callpop/connector/schema"
)

func recorded(sampler sdktrace.Sampler) (*Tracer, *tracetest.SpanRecorder) {
	recorder := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(recorder), sdktrace.WithSampler(sampler), sdktrace.WithIDGenerator(IDs{}))
	return New(provider.Tracer(Scope), sampler), recorder
}

func TestARootThatIsSampledHasTheIDThatWasDecidedOn(t *testing.T) {
	tracer, recorder := recorded(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(.5)))
	sampled := 0
	const roots = 2000
	for range roots {
		root := tracer.Root("receive")
		if !root.Sampled() {
			continue
		}
		sampled++
		ctx, span := tracer.StartRoot(t.Context(), root, "receive")
		if got := span.SpanContext(); got.TraceID() != root.id || !got.IsSampled() || !span.IsRecording() {
			t.Fatalf("got %v, want trace %v, sampled", got, root.id)
		}
		_, child := tracer.Start(ctx, "decode")
		child.End()
		span.End()
	}
	if sampled < roots/4 || sampled > roots*3/4 {
		t.Errorf("%d of %d are sampled, half was asked for", sampled, roots)
	}
	if got := len(recorder.Ended()); got != 2*sampled {
		t.Errorf("%d spans of %d traces", got, sampled)
	}
}

func TestARootIgnoresTheTraceAroundIt(t *testing.T) {
	tracer, _ := recorded(sdktrace.AlwaysSample())
	ctx, outer := tracer.StartRoot(t.Context(), tracer.Root("outer"), "outer")
	_, inner := tracer.StartRoot(ctx, tracer.Root("inner"), "inner")
	if outer.SpanContext().TraceID() == inner.SpanContext().TraceID() {
		t.Error("two roots share a trace")
	}
}

func TestTheHeaderIsTheOneOfW3C(t *testing.T) {
	tracer, _ := recorded(sdktrace.AlwaysSample())
	ctx, span := tracer.StartRoot(t.Context(), tracer.Root("receive"), "receive")
	var e schema.Event
	Put(span.SpanContext(), &e)
	want := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, want)
	if e.TraceParent != want["traceparent"] || !Sampled(&e) {
		t.Errorf("got %q, want %q", e.TraceParent, want["traceparent"])
	}
	back := trace.SpanContextFromContext(Context(t.Context(), &e))
	if !back.IsRemote() || back.TraceID() != span.SpanContext().TraceID() || back.SpanID() != span.SpanContext().SpanID() {
		t.Errorf("read back as %v", back)
	}
}

func TestATraceWithoutSpansHasAHeaderThatSaysSo(t *testing.T) {
	tracer, recorder := recorded(sdktrace.NeverSample())
	root := tracer.Root("receive")
	if root.Sampled() {
		t.Fatal("it is sampled")
	}
	e := schema.Event{TraceParent: root.Header()}
	sc := trace.SpanContextFromContext(Context(t.Context(), &e))
	if !sc.IsValid() || sc.IsSampled() || Sampled(&e) || sc.TraceID() != root.id {
		t.Errorf("%q reads as %v", e.TraceParent, sc)
	}
	if len(recorder.Started()) != 0 {
		t.Error("a span was made")
	}
}

func TestAMalformedHeaderIsNoContext(t *testing.T) {
	for _, parent := range []string{
		"", "x", "00-", "00-00000000000000000000000000000000-0123456789abcdef-01", "00-0123456789abcdef0123456789abcdef-0000000000000000-01",
		"ff-0123456789abcdef0123456789abcdef-0123456789abcdef-01", "00-0123456789ABCDEF0123456789abcdef-0123456789abcdef-01",
		"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01-x", "00_0123456789abcdef0123456789abcdef_0123456789abcdef_01",
	} {
		e := schema.Event{TraceParent: parent}
		_ = Sampled(&e)
		if sc := trace.SpanContextFromContext(Context(context.Background(), &e)); sc.IsValid() {
			t.Errorf("%q reads as %v", parent, sc)
		}
	}
}

func TestATraceThatIsNotSampledCostsItsHeader(t *testing.T) {
	tracer, _ := recorded(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0)))
	var e schema.Event
	allocations := testing.AllocsPerRun(1000, func() {
		if root := tracer.Root("receive"); !root.Sampled() {
			e.TraceParent = root.Header()
		}
		if Sampled(&e) {
			t.Error("it is sampled")
		}
	})
	if allocations > 1 {
		t.Errorf("%v allocations, want the header's", allocations)
	}
}

func BenchmarkATraceThatIsNotSampled(b *testing.B) {
	tracer, _ := recorded(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0)))
	b.ReportAllocs()
	var e schema.Event
	for b.Loop() {
		if root := tracer.Root("receive"); !root.Sampled() {
			e.TraceParent = root.Header()
		}
	}
	if e.TraceParent == "" {
		b.Error("no header")
	}
}
