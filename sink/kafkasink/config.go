package kafkasink

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/schema"
)

// Config is a Kafka sink's part of the configuration.
type Config struct {
	// Brokers are the addresses to begin with, host:port. The cluster tells the
	// others.
	Brokers []string `koanf:"brokers"`
	// Topic, SessionTopic and DeadLetterTopic take the three types of event. An
	// empty one switches that type off.
	Topic           string `koanf:"topic"`
	SessionTopic    string `koanf:"session_topic"`
	DeadLetterTopic string `koanf:"dead_letter_topic"`
	// Acks is all or 1: who must have an event before it counts as stored, every
	// replica in sync or the partition's leader alone.
	Acks string `koanf:"acks"`
	// Compression is none, gzip, snappy, lz4 or zstd.
	Compression string `koanf:"compression"`
	// Balancer names the hash that takes a key to its partition: murmur2 as Java
	// clients do, crc32 as librdkafka does, fnv1a as Sarama does.
	Balancer string `koanf:"balancer"`
	// BatchBytes and BatchRecords bound one produce batch of a partition, before
	// compression. An event that is larger alone is sent alone.
	BatchBytes   bytesize.Size `koanf:"batch_bytes"`
	BatchRecords int           `koanf:"batch_records"`
	// ClientID names the connector in the brokers' logs and quotas.
	ClientID string `koanf:"client_id"`
	// PublishTimeout bounds one produce request, dialling and logging in included.
	PublishTimeout time.Duration `koanf:"publish_timeout"`
	CreateTopics   CreateTopics  `koanf:"create_topics"`
	SASL           SASL          `koanf:"sasl"`
	TLS            TLS           `koanf:"tls"`
}

// CreateTopics says whether and how to create topics that do not exist.
type CreateTopics struct {
	Enabled bool `koanf:"enabled"`
	// Partitions and Replication are the brokers' own defaults where -1.
	Partitions  int `koanf:"partitions"`
	Replication int `koanf:"replication"`
	// Config holds settings of the topics, such as retention.ms.
	Config map[string]string `koanf:"config"`
}

// Bounds of the configuration. A request holds one batch for each partition, so
// that a larger batch would meet the brokers' limit of requests (100 MiB).
const (
	maxBatchBytes   = 32 * bytesize.MiB
	maxBatchRecords = 100_000
	maxTopicName    = 249 // Kafka's own
)

// DefaultConfig is the configuration without brokers, which are required.
func DefaultConfig() Config {
	return Config{
		Topic:           string(schema.TypeCallPop),
		SessionTopic:    string(schema.TypeSessionChanged),
		DeadLetterTopic: string(schema.TypeDeadLetter),
		Acks:            "all",
		Compression:     "zstd",
		Balancer:        "murmur2",
		// A topic takes batches of 1,048,588 bytes unless it is set otherwise.
		BatchBytes:     bytesize.MiB - 16*bytesize.KiB,
		BatchRecords:   10_000,
		ClientID:       "callpop-connector",
		PublishTimeout: 10 * time.Second,
		CreateTopics:   CreateTopics{Partitions: -1, Replication: -1},
	}
}

// Validate reports every value that cannot work, one error each, naming key,
// value and what is expected. Keys are relative to the sink's own.
func (c *Config) Validate() error {
	var p problems
	if len(c.Brokers) == 0 {
		p.add("brokers: is empty: want at least one host:port")
	}
	for i, address := range c.Brokers {
		if err := checkAddress(address); err != nil {
			p.add("brokers[%d]: %q: %v", i, address, err)
		}
	}
	c.validateTopics(&p)
	p.oneOf("acks", c.Acks, "all", "1")
	p.oneOf("compression", c.Compression, slices.Sorted(maps.Keys(compressions))...)
	p.oneOf("balancer", c.Balancer, slices.Sorted(maps.Keys(balancers))...)
	if c.BatchBytes < bytesize.KiB || c.BatchBytes > maxBatchBytes {
		p.add("batch_bytes: %v: want %v to %v", c.BatchBytes, bytesize.KiB, maxBatchBytes)
	}
	if c.BatchRecords < 1 || c.BatchRecords > maxBatchRecords {
		p.add("batch_records: %d: want 1 to %d", c.BatchRecords, maxBatchRecords)
	}
	if c.ClientID == "" || len(c.ClientID) > 200 || !printable(c.ClientID) {
		p.add("client_id: %q: want 1 to 200 printable ASCII characters", c.ClientID)
	}
	if c.PublishTimeout < 100*time.Millisecond || c.PublishTimeout > 5*time.Minute {
		p.add("publish_timeout: %v: want 100ms to 5m", c.PublishTimeout)
	}
	c.CreateTopics.validate(&p)
	c.SASL.validate(&p)
	c.TLS.validate(&p)
	return errors.Join(p...)
}

func (c *Config) validateTopics(p *problems) {
	names := map[string]string{}
	for _, topic := range []struct{ key, name string }{
		{"topic", c.Topic}, {"session_topic", c.SessionTopic}, {"dead_letter_topic", c.DeadLetterTopic},
	} {
		if topic.name == "" {
			continue
		}
		if !legalTopic(topic.name) {
			p.add("%s: %q: want 1 to %d letters, digits, dots, dashes and underscores, and not . or ..", topic.key, topic.name, maxTopicName)
		}
		if other, taken := names[topic.name]; taken {
			p.add("%s: %q: is the topic of %s too: want one topic for each type of event", topic.key, topic.name, other)
		}
		names[topic.name] = topic.key
	}
	if len(names) == 0 {
		p.add("topic: is empty, and session_topic and dead_letter_topic are too: want at least one topic")
	}
}

func (c *CreateTopics) validate(p *problems) {
	if c.Partitions != -1 && (c.Partitions < 1 || c.Partitions > 100_000) {
		p.add("create_topics.partitions: %d: want 1 to 100000, or -1 for the brokers' default", c.Partitions)
	}
	if c.Replication != -1 && (c.Replication < 1 || c.Replication > 100) {
		p.add("create_topics.replication: %d: want 1 to 100, or -1 for the brokers' default", c.Replication)
	}
	for name := range c.Config {
		if name == "" || !printable(name) {
			p.add("create_topics.config: %q: want the name of a topic setting, such as retention.ms", name)
		}
	}
}

// topic is the name of the topic for a type of event; empty where it has none.
func (c *Config) topic(t schema.Type) string {
	switch t {
	case schema.TypeCallPop:
		return c.Topic
	case schema.TypeSessionChanged:
		return c.SessionTopic
	case schema.TypeDeadLetter:
		return c.DeadLetterTopic
	default:
		return ""
	}
}

// problems collects what is wrong in a configuration.
type problems []error

func (p *problems) add(format string, args ...any) { *p = append(*p, fmt.Errorf(format, args...)) }

func (p *problems) oneOf(key, value string, want ...string) {
	if !slices.Contains(want, value) {
		p.add("%s: %q: want one of %s", key, value, strings.Join(want, ", "))
	}
}

func checkAddress(address string) error {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" || strings.ContainsAny(host, " ,/") {
		return errors.New("want host:port, such as kafka:9092")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return errors.New("want a port from 1 to 65535")
	}
	return nil
}

func legalTopic(name string) bool {
	if name == "." || name == ".." || len(name) > maxTopicName {
		return false
	}
	for _, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}

func printable(s string) bool {
	for _, c := range []byte(s) {
		if c < 0x20 || c > 0x7E {
			return false
		}
	}
	return true
}
