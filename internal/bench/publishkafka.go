package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/segmentio/kafka-go"
)

// kafkaPublishing is kafka-go's Writer, which is handed what is there and waits for
// the answers, as the sink does.
type kafkaPublishing struct {
	writer    *kafka.Writer
	transport *kafka.Transport
	topic     string
	window    int
	messages  []kafka.Message
}

func newKafkaPublishing(ctx context.Context, o *publisherOptions, m *maker) (*kafkaPublishing, error) {
	topic := "callpop-bench-bare-" + o.Run
	if err := createTopic(ctx, o.Kafka, topic, o.Partitions); err != nil {
		return nil, err
	}
	transport := &kafka.Transport{MetadataTopics: []string{topic}}
	p := &kafkaPublishing{topic: topic, window: o.Window, transport: transport}
	p.writer = &kafka.Writer{
		Addr: kafka.TCP(o.Kafka...), Topic: topic, Balancer: kafka.Murmur2Balancer{Consistent: true}, MaxAttempts: 1,
		BatchSize: o.Window, BatchTimeout: time.Millisecond, RequiredAcks: kafka.RequireAll,
		Compression: kafka.Zstd, Transport: transport,
	}
	for n := range readyMessages {
		e := m.event(n+1, time.Now())
		headers := make([]kafka.Header, 0, 12)
		for name, value := range e.KafkaHeaders() {
			headers = append(headers, kafka.Header{Key: name, Value: []byte(value)})
		}
		p.messages = append(p.messages, kafka.Message{Key: []byte(e.Key), Value: e.Body, Time: e.Time, Headers: headers})
	}
	return p, p.warmUp(ctx)
}

// warmUp connects. A topic that is new may have no leaders yet, here and there.
func (p *kafkaPublishing) warmUp(ctx context.Context) error {
	for good := 0; good < 3; {
		err := p.write(ctx, p.messages[:p.window])
		if err == nil {
			good++
			continue
		}
		select {
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// write writes a batch; its error is the first of many.
func (p *kafkaPublishing) write(ctx context.Context, batch []kafka.Message) error {
	err := p.writer.WriteMessages(ctx, batch...)
	var each kafka.WriteErrors
	if errors.As(err, &each) {
		for _, one := range each {
			if one != nil {
				err = fmt.Errorf("%d of %d messages failed, the first: %w", each.Count(), len(each), one)
				break
			}
		}
	}
	if err != nil {
		return fmt.Errorf("write to topic %s: %w", p.topic, err)
	}
	return nil
}

func (p *kafkaPublishing) publish(ctx context.Context, next func(bool) (int, bool), acked func(int)) error {
	numbers, batch := make([]int, 0, p.window), make([]kafka.Message, 0, p.window)
	for {
		numbers, batch = numbers[:0], batch[:0]
		for len(batch) < p.window {
			n, ok := next(len(batch) > 0)
			if !ok {
				break
			}
			numbers, batch = append(numbers, n), append(batch, p.messages[n%len(p.messages)])
		}
		if len(batch) == 0 {
			return ctx.Err()
		}
		if err := p.write(ctx, batch); err != nil {
			return err
		}
		for _, n := range numbers {
			acked(n)
		}
	}
}

func (p *kafkaPublishing) close() error {
	err := p.writer.Close()
	ctx, cancel := context.WithTimeout(context.Background(), stallWait)
	defer cancel()
	err = errors.Join(err, deleteTopic(ctx, p.writer.Addr, p.transport, p.topic))
	p.transport.CloseIdleConnections()
	return err
}

// createTopic creates a topic and returns once all its partitions have leaders.
func createTopic(ctx context.Context, brokers []string, topic string, partitions int) error {
	transport := &kafka.Transport{MetadataTopics: []string{topic}, MetadataTTL: 100 * time.Millisecond}
	defer transport.CloseIdleConnections()
	client := &kafka.Client{Addr: kafka.TCP(brokers...), Transport: transport}
	res, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
		{Topic: topic, NumPartitions: partitions, ReplicationFactor: 1},
	}})
	if err == nil {
		err = res.Errors[topic]
	}
	if err != nil {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	for {
		meta, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
		if err == nil && len(meta.Topics) == 1 && meta.Topics[0].Error == nil && len(meta.Topics[0].Partitions) == partitions {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for topic %s: %w", topic, errors.Join(context.Cause(ctx), err))
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func deleteTopic(ctx context.Context, brokers net.Addr, transport *kafka.Transport, topic string) error {
	client := &kafka.Client{Addr: brokers, Transport: transport}
	res, err := client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{topic}})
	if err == nil {
		err = res.Errors[topic]
	}
	if err != nil {
		return fmt.Errorf("delete topic %s: %w", topic, err)
	}
	return nil
}
