package kafkasink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// Check implements sink.Checker: the connection and the login, then for each
// topic its partitions, their leaders and its settings. It uses connections of
// its own and creates nothing.
func (s *Sink) Check(ctx context.Context) []sink.Finding {
	var findings []sink.Finding
	for _, t := range schema.Types {
		name := s.config.topic(t)
		if name == "" {
			continue
		}
		l, err := newLink(&s.config, &s.options, name)
		if err != nil {
			return append(findings, sink.Finding{What: "configuration", Err: err})
		}
		if len(findings) == 0 {
			connection := checkConnection(ctx, l, &s.config)
			findings = append(findings, connection)
			if connection.Err != nil {
				l.close()
				return findings // each topic would say the same
			}
		}
		findings = append(findings, checkTopic(ctx, l, &s.config))
		l.close()
	}
	return findings
}

func checkConnection(ctx context.Context, l *link, c *Config) sink.Finding {
	f := sink.Finding{What: "connection"}
	ctx, cancel := context.WithTimeout(ctx, c.PublishTimeout)
	defer cancel()
	res, err := l.send(ctx, &metadata.Request{TopicNames: []string{l.name}})
	if err != nil {
		f.Err = fmt.Errorf("%s: %w", explanations[classify(err)], hint(err))
		return f
	}
	cluster := res.(*metadata.Response)
	how := "without TLS"
	if c.TLS.Enabled {
		how = "with TLS"
	}
	if c.SASL.Mechanism != "" {
		how += ", logged in by " + c.SASL.Mechanism
	}
	f.Detail = fmt.Sprintf("cluster %s of %d brokers, %s", excerpt(cluster.ClusterID), len(cluster.Brokers), how)
	if sendsSecrets(c) {
		f.Detail += "; the password or token crosses the network in the clear"
	}
	return f
}

// sendsSecrets reports whether logging in shows the secret to the network.
func sendsSecrets(c *Config) bool {
	return !c.TLS.Enabled && (c.SASL.Mechanism == mechanismPlain || c.SASL.Mechanism == mechanismOAuthBearer)
}

func checkTopic(ctx context.Context, l *link, c *Config) sink.Finding {
	f := sink.Finding{What: "topic " + l.name}
	ctx, cancel := context.WithTimeout(ctx, c.PublishTimeout)
	defer cancel()
	topic, err := l.metadata(ctx)
	if errors.Is(err, kafka.UnknownTopicOrPartition) && c.CreateTopics.Enabled {
		f.Detail = "does not exist yet; it is created with the first event"
		return f
	}
	if err != nil {
		f.Err = fmt.Errorf("%s: %w", explanations[classify(err)], err)
		return f
	}
	var leaderless []string
	replicas := 0
	for _, p := range topic.Partitions {
		if p.LeaderID < 0 || p.ErrorCode == int16(kafka.LeaderNotAvailable) {
			leaderless = append(leaderless, strconv.Itoa(int(p.PartitionIndex)))
		}
		replicas = max(replicas, len(p.ReplicaNodes))
	}
	f.Detail = fmt.Sprintf("%d partitions, %d replicas", len(topic.Partitions), replicas)
	if len(leaderless) > 0 {
		f.Err = fmt.Errorf("partitions without a leader: %s", strings.Join(leaderless[:min(len(leaderless), 10)], ", "))
		return f
	}
	settings, err := l.settings(ctx)
	if err != nil {
		f.Detail += "; its settings cannot be read: " + excerpt(err.Error())
		return f
	}
	f.Detail += fmt.Sprintf(", min.insync.replicas %s, kept %s", excerpt(settings["min.insync.replicas"]), retention(settings))
	if compacts(settings) {
		f.Err = errors.New("its cleanup.policy has compact: of the events of one call all but the last will be deleted")
	}
	return f
}

// settings are those of the topic that publishing depends on.
func (l *link) settings(ctx context.Context) (map[string]string, error) {
	res, err := l.client().DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: l.name,
		ConfigNames: []string{"cleanup.policy", "min.insync.replicas", "retention.ms"},
	}}})
	if err != nil {
		return nil, err
	}
	settings := make(map[string]string)
	for _, r := range res.Resources {
		if r.Error != nil {
			return nil, r.Error
		}
		for _, entry := range r.ConfigEntries {
			settings[entry.ConfigName] = entry.ConfigValue
		}
	}
	return settings, nil
}

// compacts reports whether the topic keeps the last event of a key only.
func compacts(settings map[string]string) bool {
	return slices.Contains(strings.Split(settings["cleanup.policy"], ","), "compact")
}

// retention says how long the topic keeps an event. Kafka counts from the event's
// time, so that one that waited longer in the spool is deleted as it arrives.
func retention(settings map[string]string) string {
	ms, err := strconv.ParseInt(settings["retention.ms"], 10, 64)
	switch {
	case err != nil:
		return "for a time that is unknown"
	case ms < 0:
		return "for ever"
	default:
		return (time.Duration(ms) * time.Millisecond).String()
	}
}
