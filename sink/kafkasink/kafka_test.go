package kafkasink

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/internal/kafkatest"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

// realConfig makes topics of the test's own on the cluster.
func realConfig(t testing.TB, cluster *kafkatest.Cluster, partitions int) Config {
	t.Helper()
	c := testConfig(cluster.Addresses()...)
	for _, topic := range []*string{&c.Topic, &c.SessionTopic, &c.DeadLetterTopic} {
		*topic = fmt.Sprintf("%s-%d", *topic, time.Now().UnixNano())
		cluster.CreateTopic(t, *topic, partitions, 1, nil)
	}
	return c
}

func TestKafkasOwnConsumerReadsWhatWasPublished(t *testing.T) {
	cluster := shared.Cluster(t)
	for _, compression := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		t.Run(compression, func(t *testing.T) {
			c := realConfig(t, cluster, 3)
			c.Compression = compression
			s := open(t, c)
			all := records(40, 9)
			all[3].Key, all[3].Agent = "总部/一二三", "坐席一"
			all[4].TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
			all[4].TraceState = "vendor=a"
			publishRest(t, s, all)

			got := cluster.Consume(t, c.Topic, len(all))
			byID := map[string]kafkatest.Record{}
			place := map[string]int{}
			for _, m := range got {
				byID[m.Headers["ce_id"]] = m
				if p, ok := place[m.Key]; ok && p != m.Partition {
					t.Errorf("key %s is in partitions %d and %d", m.Key, p, m.Partition)
				}
				place[m.Key] = m.Partition
			}
			last := map[string]int64{}
			for _, r := range all {
				m, ok := byID[r.ID]
				if !ok {
					t.Errorf("event %s was not read", r.ID)
					continue
				}
				if m.Key != r.Key || m.Value != string(r.Body) || !m.Time.Equal(r.Time) {
					t.Errorf("event %s: got key %q, value %q, time %v", r.ID, m.Key, m.Value, m.Time)
				}
				if want := wantHeaders(&r); !maps.Equal(m.Headers, want) {
					t.Errorf("event %s: got headers %v, want %v", r.ID, m.Headers, want)
				}
				if m.Offset < last[r.Key] {
					t.Errorf("event %s of key %s is out of order", r.ID, r.Key)
				}
				last[r.Key] = m.Offset
			}
		})
	}
}

// wantHeaders are written out here, not taken from the code under test.
func wantHeaders(r *sink.Record) map[string]string {
	want := map[string]string{
		"content-type":     "application/json",
		"ce_id":            r.ID,
		"ce_source":        "/lq/hq",
		"ce_type":          "callpop.v1",
		"ce_subject":       r.Agent,
		"ce_time":          r.Time.Format(time.RFC3339Nano),
		"ce_dataschema":    "https://github.com/callpop/connector/schema/callpop.v1.json",
		"ce_specversion":   "1.0",
		"ce_partitionkey":  r.Key,
		"ce_spoolsequence": r.SpoolSequence,
	}
	if r.TraceParent != "" {
		want["traceparent"], want["tracestate"] = r.TraceParent, r.TraceState
	}
	return want
}

func TestKeysArePlacedAsJavaPlacesThem(t *testing.T) {
	cluster := shared.Cluster(t)
	c := realConfig(t, cluster, 7)
	var keys []string
	for i := range 300 {
		keys = append(keys, fmt.Sprintf("hq/%d", i*7919), fmt.Sprintf("总部/%d", i), strings.Repeat("k", i%23)+fmt.Sprint(i))
	}
	keys = append(keys, "", " ", "a", "ab", "abc", "abcd", "é", "坐席", "🎧", "hq/%2F")
	java := c.SessionTopic // same number of partitions
	cluster.Produce(t, java, keys)
	want := map[string]int{}
	for _, m := range cluster.Consume(t, java, len(keys)) {
		want[m.Key] = m.Partition
	}

	s := open(t, c)
	all := make([]sink.Record, len(keys))
	for i, key := range keys {
		all[i] = record(i, key)
	}
	publishRest(t, s, all)
	for _, m := range stored(t, c, c.Topic) {
		if p, ok := want[string(m.Key)]; !ok || m.Partition != p {
			t.Errorf("key %q: got partition %d, Java's is %d (%v)", m.Key, m.Partition, p, ok)
		}
	}
}

func TestEveryEventArrivesInOrderThroughAnOutageUnderLoad(t *testing.T) {
	if testing.Short() {
		t.Skip("restarts a real Kafka")
	}
	cluster := kafkatest.Start(t, kafkatest.Options{})
	broker := cluster.Broker(0)
	for _, test := range []struct {
		name string
		end  func(*kafkatest.Broker, testing.TB)
	}{
		{"stopped", (*kafkatest.Broker).Stop},
		{"killed", (*kafkatest.Broker).Kill},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := realConfig(t, cluster, 4)
			s := open(t, c)
			load := newLoad(sinktest.NewSpool())
			forward(t, s, load.spool, func(*sink.Forwarder) {
				load.start(t)
				for range 2 {
					load.await(t, 300)
					test.end(broker, t)
					load.await(t, 300)
					broker.Restart(t)
				}
				load.await(t, 300)
				load.stop(t)
			})
			duplicates := sinktest.CheckDelivered(t, load.events, suiteMessages(stored(t, c, c.Topic)))
			t.Logf("%d events, %d duplicates", len(load.events), duplicates)
		})
	}
}

// load emits events at a steady rate until it is stopped.
type load struct {
	spool  *sinktest.Spool
	events []schema.Event
	quit   chan struct{}
	done   chan error
	ticks  chan struct{}
}

func newLoad(spool *sinktest.Spool) *load {
	return &load{spool: spool, quit: make(chan struct{}), done: make(chan error, 1), ticks: make(chan struct{})}
}

func (l *load) start(t *testing.T) {
	go func() {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-l.quit:
				l.done <- nil
				return
			case <-tick.C:
			}
			l.events = append(l.events, sinktest.Event(schema.TypeCallPop, i, fmt.Sprintf("hq/%d", i%50), "801"))
			if err := l.spool.Emit(t.Context(), l.events[i]); err != nil {
				l.done <- err
				return
			}
			select {
			case l.ticks <- struct{}{}:
			default:
			}
		}
	}()
}

// await waits until n more events were emitted, at least.
func (l *load) await(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-l.ticks:
		case <-time.After(time.Minute):
			t.Fatal("the load has stopped")
		}
	}
}

func (l *load) stop(t *testing.T) {
	t.Helper()
	close(l.quit)
	if err := <-l.done; err != nil {
		t.Error(err)
	}
}

func TestARealKafkaCreatesTopicsAndIsChecked(t *testing.T) {
	cluster := shared.Local(t)
	c := testConfig(cluster.Addresses()...)
	c.Topic = fmt.Sprintf("made-%d", time.Now().UnixNano())
	c.SessionTopic = c.Topic + "-compacted"
	c.DeadLetterTopic = ""
	cluster.CreateTopic(t, c.SessionTopic, 1, 1, map[string]string{"cleanup.policy": "compact"})
	s := open(t, c)
	if got := errorOf(t, s.Publish(t.Context(), records(1, 1))); got.Reason != MissingTopic {
		t.Errorf("got %v, want the topic to be missing", got)
	}
	c.CreateTopics = CreateTopics{Enabled: true, Partitions: 5, Replication: 1, Config: map[string]string{"retention.ms": "86400000"}}
	s = open(t, c)
	publishRest(t, s, records(20, 20))
	findings := s.Check(t.Context())
	if f := findingFor(t, findings, "topic "+c.Topic); f.Err != nil || f.Detail != "5 partitions, 1 replicas, min.insync.replicas 1, kept 24h0m0s" {
		t.Errorf("got %+v", f)
	}
	if f := findingFor(t, findings, "topic "+c.SessionTopic); f.Err == nil || !strings.Contains(f.Err.Error(), "compact") {
		t.Errorf("got %+v", f)
	}
}

func TestARealKafkaRefusesWhatIsTooLargeOrFromTheFuture(t *testing.T) {
	cluster := shared.Local(t)
	c := realConfig(t, cluster, 1)
	c.Topic += "-strict"
	c.Compression = "none"
	cluster.CreateTopic(t, c.Topic, 1, 1, map[string]string{"max.message.bytes": "20000", "message.timestamp.after.max.ms": "60000"})
	s := open(t, c)
	all := records(100, 20)
	for i := range all {
		all[i].Time = time.Now()
	}
	t.Run("too large", func(t *testing.T) {
		batch := append([]sink.Record(nil), all...)
		batch[40].Body = []byte(strings.Repeat("x", 30_000))
		_ = checkOneBad(t, s, batch, 40)
	})
	t.Run("from the future", func(t *testing.T) {
		batch := append([]sink.Record(nil), all...)
		batch[7].Time = time.Now().Add(24 * time.Hour)
		_ = checkOneBad(t, s, batch, 7)
	})
}

func TestTailReadsARealKafka(t *testing.T) {
	cluster := shared.Cluster(t)
	for _, group := range []string{"", "desk"} {
		t.Run("group "+group, func(t *testing.T) {
			c := realConfig(t, cluster, 3)
			s := open(t, c)
			o := TailOptions{Group: group}
			if group != "" {
				o.Group = group + c.Topic
			}
			messages, stop := startTail(t, c, o)
			first := record(1000, "hq/first")
			for group != "" && len(messages) == 0 {
				publishRest(t, s, []sink.Record{first})
				time.Sleep(100 * time.Millisecond) // polling until the group has its partitions
			}
			all := records(30, 30)
			publishRest(t, s, all)
			seen := map[string]bool{}
			for len(seen) < len(all) {
				m := receive(t, messages, 1)[0]
				if id := m.Headers["ce_id"]; id != first.ID {
					seen[id] = true
				}
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestEveryEventArrivesInOrderThroughTheDeathOfLeaders(t *testing.T) {
	if testing.Short() {
		t.Skip("runs three brokers of a real Kafka")
	}
	cluster := kafkatest.Start(t, kafkatest.Options{Brokers: 3, Properties: map[string]string{
		// A killed broker's partitions move after this, no sooner.
		"broker.session.timeout.ms": "4000", "broker.heartbeat.interval.ms": "500",
	}})
	c := testConfig(cluster.Addresses()...)
	cluster.CreateTopic(t, c.Topic, 6, 3, map[string]string{"min.insync.replicas": "2"})
	c.SessionTopic, c.DeadLetterTopic = "", ""
	s := open(t, c)
	load := newLoad(sinktest.NewSpool())
	forward(t, s, load.spool, func(*sink.Forwarder) {
		load.start(t)
		load.await(t, 300)
		for i, end := range []func(*kafkatest.Broker, testing.TB){(*kafkatest.Broker).Kill, (*kafkatest.Broker).Stop} {
			broker := cluster.Broker(i)
			end(broker, t)
			// The others take over while it is away.
			cluster.AwaitLeaders(t, c.Topic)
			load.await(t, 300)
			broker.Restart(t)
			cluster.AwaitReplicas(t, c.Topic, 3)
		}
		load.await(t, 300)
		load.stop(t)
	})
	duplicates := sinktest.CheckDelivered(t, load.events, suiteMessages(stored(t, c, c.Topic)))
	t.Logf("%d events, %d duplicates", len(load.events), duplicates)
}
