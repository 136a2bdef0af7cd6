package kafkasink

import (
	"net"
	"strconv"

	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// Destination says where events of a type go; see [sink.Located]. Of the brokers it
// names the first that is configured: the cluster says which leads a partition.
func (s *Sink) Destination(t schema.Type) sink.Destination {
	d := sink.Destination{System: "kafka", Name: s.config.topic(t)}
	if host, port, err := net.SplitHostPort(s.config.Brokers[0]); err == nil {
		d.Address = host
		d.Port, _ = strconv.Atoi(port) // Validate has read it
	}
	return d
}

// trace notes on the spans of a stored batch where its records are.
func (c *call) trace(b *batch) {
	for n, i := range b.records {
		if span := c.records[i].Span; span != nil {
			span.SetAttributes(
				semconv.MessagingDestinationPartitionID(strconv.Itoa(b.queue.partition)),
				semconv.MessagingKafkaOffset(int(b.answer.BaseOffset)+n),
			)
		}
	}
}
