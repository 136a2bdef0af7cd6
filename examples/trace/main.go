// Command trace is a consumer that goes on with the traces of the connector: for
// each pop it makes a span in the trace that began when the connector read the pop
// from the socket.
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 go run ./examples/trace --nats nats://127.0.0.1:4222
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/callpop/connector/examples/internal/subscribe"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/schema/consume"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "trace:", err)
		os.Exit(1)
	}
}

// shutdownTimeout is what the spans that are left get to be sent.
const shutdownTimeout = 5 * time.Second

func run() error {
	from := subscribe.Options{
		Name: "callpop-trace", Types: []schema.Type{schema.TypeCallPop}, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	from.Flags(flag.CommandLine)
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exporter, err := otlptracehttp.New(ctx) // where to, say OTEL_EXPORTER_OTLP_*
	if err != nil {
		return fmt.Errorf("make the exporter: %w", err)
	}
	us, err := resource.New(ctx, // the later ones win: what OTEL_SERVICE_NAME says
		resource.WithAttributes(semconv.ServiceName("callpop-trace")), resource.WithFromEnv())
	if err != nil {
		return fmt.Errorf("describe the process: %w", err)
	}
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(us))
	defer func() {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := provider.Shutdown(last); err != nil {
			fmt.Fprintln(os.Stderr, "trace: spans were not sent:", err)
		}
	}()
	system := "nats"
	if from.Kafka != "" {
		system = "kafka"
	}
	return from.Run(ctx, traced(provider, system, func(_ context.Context, d *consume.Delivery) error {
		e := d.Event
		_, err := fmt.Println(e.Time.Local().Format(time.TimeOnly), e.Server, e.Agent, e.Key)
		return err
	}))
}
