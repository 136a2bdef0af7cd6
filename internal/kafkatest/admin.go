package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// CreateTopic creates a topic and returns once every broker knows it. Config is
// the topic's own, such as "min.insync.replicas".
func (c *Cluster) CreateTopic(t testing.TB, topic string, partitions, replication int, config map[string]string) {
	t.Helper()
	spec := kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: replication}
	for name, value := range config {
		spec.ConfigEntries = append(spec.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	client, closeClient := c.client(topic)
	defer closeClient()
	retry(t, "create topic "+topic, func() error {
		res, err := client.CreateTopics(t.Context(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{spec}})
		if err == nil {
			err = res.Errors[topic]
		}
		if errors.Is(err, kafka.TopicAlreadyExists) {
			return nil // by an attempt whose answer was lost
		}
		return err
	})
	want := make([]kafka.OffsetRequest, partitions)
	for i := range want {
		want[i] = kafka.LastOffsetOf(i)
	}
	retry(t, "await topic "+topic, func() error { return c.serves(t.Context(), client, topic, want) })
}

// serves checks that every broker knows the partitions, and that their leaders
// know that they are.
func (c *Cluster) serves(ctx context.Context, client *kafka.Client, topic string, want []kafka.OffsetRequest) error {
	for _, address := range c.Addresses() {
		if all := readPartitions(ctx, address, topic); len(all) != len(want) {
			return fmt.Errorf("broker %s knows %d partitions of %d", address, len(all), len(want))
		}
	}
	res, err := client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: want}})
	if err != nil {
		return err
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return p.Error
		}
	}
	return nil
}

// DenyWrites forbids User to write to a topic, and AllowWrites takes that back.
func (c *Cluster) DenyWrites(t testing.TB, topic string) {
	t.Helper()
	client, closeClient := c.client(topic)
	defer closeClient()
	retry(t, "deny writes to "+topic, func() error {
		res, err := client.CreateACLs(t.Context(), &kafka.CreateACLsRequest{ACLs: []kafka.ACLEntry{{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: topic, ResourcePatternType: kafka.PatternTypeLiteral,
			Principal: "User:" + User, Host: "*", Operation: kafka.ACLOperationTypeWrite, PermissionType: kafka.ACLPermissionTypeDeny,
		}}})
		if err == nil && len(res.Errors) > 0 {
			err = res.Errors[0]
		}
		return err
	})
}

// AllowWrites takes back what [Cluster.DenyWrites] forbade.
func (c *Cluster) AllowWrites(t testing.TB, topic string) {
	t.Helper()
	client, closeClient := c.client(topic)
	defer closeClient()
	retry(t, "allow writes to "+topic, func() error {
		res, err := client.DeleteACLs(t.Context(), &kafka.DeleteACLsRequest{Filters: []kafka.DeleteACLsFilter{{
			ResourceTypeFilter: kafka.ResourceTypeTopic, ResourceNameFilter: topic, ResourcePatternTypeFilter: kafka.PatternTypeLiteral,
			Operation: kafka.ACLOperationTypeAny, PermissionType: kafka.ACLPermissionTypeAny,
		}}})
		if err == nil && len(res.Results) > 0 {
			err = res.Results[0].Error
		}
		return err
	})
}

// retry tries until it works: a broker that starves on a busy machine answers
// with errors for a while.
func retry(t testing.TB, what string, try func() error) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(100 * time.Millisecond) // polling, up to the deadline
	}
}

// client is a client of the open listener, and what closes it. Its metadata must
// be that of the topic: creating one waits until the metadata holds it.
func (c *Cluster) client(topic string) (*kafka.Client, func()) {
	transport := &kafka.Transport{MetadataTopics: []string{topic}}
	return &kafka.Client{Addr: kafka.TCP(c.Addresses()...), Timeout: 30 * time.Second, Transport: transport}, transport.CloseIdleConnections
}

// AwaitLeaders waits until some running broker sees a leader that runs for each
// partition of a topic.
func (c *Cluster) AwaitLeaders(t testing.TB, topic string) {
	t.Helper()
	c.awaitPartitions(t, topic, func(p kafka.Partition) bool {
		return p.Error == nil && p.Leader.Port != 0 && c.Leader(p.Leader.ID).process != nil
	})
}

// AwaitReplicas waits until n replicas of each partition of a topic are in sync.
func (c *Cluster) AwaitReplicas(t testing.TB, topic string, n int) {
	t.Helper()
	c.awaitPartitions(t, topic, func(p kafka.Partition) bool { return len(p.Isr) == n })
}

func (c *Cluster) awaitPartitions(t testing.TB, topic string, good func(kafka.Partition) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		all := c.partitions(t.Context(), topic)
		if len(all) > 0 && !slices.ContainsFunc(all, func(p kafka.Partition) bool { return !good(p) }) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("topic %s: still %+v", topic, all)
		}
		time.Sleep(50 * time.Millisecond) // polling, up to the deadline
	}
}

// partitions asks the first broker that runs and answers.
func (c *Cluster) partitions(ctx context.Context, topic string) []kafka.Partition {
	for _, b := range c.brokers {
		if b.process == nil {
			continue
		}
		if all := readPartitions(ctx, b.address(open), topic); len(all) > 0 {
			return all
		}
	}
	return nil
}

// readPartitions asks one broker; none: it does not answer, or knows none.
func readPartitions(ctx context.Context, address, topic string) []kafka.Partition {
	conn, err := kafka.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return nil
	}
	all, err := conn.ReadPartitions(topic)
	if err != nil {
		return nil
	}
	return all
}
