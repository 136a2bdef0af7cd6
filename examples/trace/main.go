// Command trace is a consumer that goes on with the traces of the connector: it
// subscribes to pops on NATS, and for each one makes a span in the trace that began
// when the connector read the pop from the socket.
//
//	OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 go run ./examples/trace nats://127.0.0.1:4222
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"time"

	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/callpop/connector/schema"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "trace:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: trace <NATS URL>")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exporter, err := otlptracehttp.New(ctx) // where to, say OTEL_EXPORTER_OTLP_*
	if err != nil {
		return err
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithResource(resource.NewSchemaless(semconv.ServiceName("callpop-example"))),
	)
	nc, err := nats.Connect(os.Args[1])
	if err != nil {
		return err
	}
	consumer := newConsumer(provider, func(_ context.Context, e schema.Event) error {
		fmt.Println(e.Time.Local().Format(time.TimeOnly), e.Server, e.Agent, e.Key)
		return nil
	})
	if _, err := nc.Subscribe("callpop.v1.>", func(m *nats.Msg) {
		if err := consumer.handle(ctx, m); err != nil {
			fmt.Fprintln(os.Stderr, "trace:", err)
		}
	}); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, "waiting for pops")
	<-ctx.Done()
	nc.Close()
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return provider.Shutdown(last)
}
