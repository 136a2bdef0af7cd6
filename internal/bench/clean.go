package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/segmentio/kafka-go"
)

// cleanTimeout bounds the tidying of a broker that is not ours.
const cleanTimeout = 30 * time.Second

// clean removes what the run made in a broker.
func (m *measurement) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	switch m.o.Sink {
	case SinkNATS:
		conn, js, err := m.jetStream()
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := js.DeleteStream(ctx, m.stream()); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("delete stream %s: %w", m.stream(), err)
		}
	case SinkKafka:
		transport := &kafka.Transport{MetadataTopics: []string{m.topic()}}
		defer transport.CloseIdleConnections()
		err := deleteTopic(ctx, kafka.TCP(m.o.Kafka...), transport, m.topic())
		if err != nil && !errors.Is(err, kafka.UnknownTopicOrPartition) {
			return err
		}
	}
	return nil
}
