//go:build linux

package faults

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/callpop/connector/schema"
)

// kafkaServer is a fake Kafka of one broker in this process; stop and start keep
// its port and its data.
type kafkaServer struct {
	t    testing.TB
	dir  string
	port int
	// advertised is what the broker says is its address; its own unless set.
	advertised string
	c          *kfake.Cluster
}

func newKafka(t testing.TB) *kafkaServer {
	t.Helper()
	k := &kafkaServer{t: t, dir: t.TempDir(), port: freePort(t)}
	t.Cleanup(k.stop)
	return k
}

func startKafka(t testing.TB) *kafkaServer {
	t.Helper()
	k := newKafka(t)
	k.start()
	return k
}

func (k *kafkaServer) address() string { return fmt.Sprintf("127.0.0.1:%d", k.port) }

// start starts it, unless it runs.
func (k *kafkaServer) start() {
	k.t.Helper()
	if k.c != nil {
		return
	}
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(k.port), kfake.DataDir(k.dir), kfake.ListenFn(k.listen),
		kfake.SeedTopics(4, string(schema.TypeCallPop), string(schema.TypeSessionChanged), string(schema.TypeDeadLetter)))
	if err != nil {
		k.t.Fatal(err)
	}
	k.c = c
}

func (k *kafkaServer) stop() {
	if k.c != nil {
		k.c.Close()
		k.c = nil
	}
}

func (k *kafkaServer) listen(network, address string) (net.Listener, error) {
	l, err := net.Listen(network, address)
	if err != nil || k.advertised == "" {
		return l, err
	}
	advertised, err := net.ResolveTCPAddr("tcp", k.advertised)
	return &advertisedListener{l, advertised}, err
}

// advertisedListener says that it listens elsewhere: at a proxy.
type advertisedListener struct {
	net.Listener
	addr net.Addr
}

func (l *advertisedListener) Addr() net.Addr { return l.addr }

// kafkaSink is a sink in the configuration.
func kafkaSink(name, address string) string {
	return fmt.Sprintf("name: %s, type: kafka, brokers: [%q], start: all", name, address)
}

// readKafka reads the topic of pops up to where it ends now, partition by
// partition.
func (k *kafkaServer) read() []event {
	k.t.Helper()
	ctx := patient(k.t)
	want := 0
	for p := range int32(4) {
		want += int(k.c.PartitionInfo(string(schema.TypeCallPop), p).HighWatermark)
	}
	kafka, err := kgo.NewClient(kgo.SeedBrokers(k.address()), kgo.Dialer(k.dial),
		kgo.ConsumeTopics(string(schema.TypeCallPop)), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		k.t.Fatal(err)
	}
	defer kafka.Close()
	var events []event
	for len(events) < want {
		fetches := kafka.PollFetches(ctx)
		if ctx.Err() != nil {
			k.t.Fatalf("%d of %d records of Kafka", len(events), want)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			e, err := recordEvent(r)
			if err != nil {
				k.t.Error(err)
			}
			events = append(events, e)
		})
	}
	return events
}

// dial reaches the broker itself, whatever address it advertises.
func (k *kafkaServer) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, network, k.address())
}

func recordEvent(r *kgo.Record) (event, error) {
	header := func(name string) string {
		for _, h := range r.Headers {
			if strings.EqualFold(h.Key, name) {
				return string(h.Value)
			}
		}
		return ""
	}
	e, err := schema.FromKafkaHeaders(header, r.Value)
	if err != nil {
		return event{}, err
	}
	if string(r.Key) != e.Key {
		err = fmt.Errorf("event %s: the record's key is %q, the event's %q", e.ID, r.Key, e.Key)
	}
	seen := event{sequence: uint64(r.Offset), id: e.ID, key: e.Key, stored: r.Timestamp}
	return seen, errors.Join(err, seen.parse(r.Value))
}

// waitKafka waits until Kafka holds everything that the log does, and returns
// what it holds.
func (k *kafkaServer) waitFor(log []event) (held []event) {
	k.t.Helper()
	var once sync.Once
	eventually(k.t, fmt.Sprintf("all %d events of the log in Kafka", len(log)), func() bool {
		records := 0
		for p := range int32(4) {
			records += int(k.c.PartitionInfo(string(schema.TypeCallPop), p).HighWatermark)
		}
		if records < len(log) {
			return false
		}
		held = k.read()
		has := make(map[string]bool, len(held))
		for _, e := range held {
			has[e.id] = true
		}
		missing := slices.IndexFunc(log, func(e event) bool { return !has[e.id] })
		if missing >= 0 {
			once.Do(func() { k.t.Logf("Kafka has %d records and not yet event %d of the log", records, missing) })
		}
		return missing < 0
	})
	return held
}
