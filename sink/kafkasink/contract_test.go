package kafkasink

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/callpop/connector/internal/kafkatest"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink/sinktest"
)

// maxMessage is max.message.bytes of the topics in the contract suite.
const maxMessage = 300 << 10

func contractHarness(open func(t *testing.T) sinktest.Broker) sinktest.Harness {
	return sinktest.Harness{
		Open:            open,
		AttributePrefix: schema.KafkaPrefix,
		TooLarge:        maxMessage + 1,
		Large:           maxMessage - 4096,
	}
}

// contractConfig has no compression: what is too large is so on the wire.
func contractConfig(brokers ...string) Config {
	c := testConfig(brokers...)
	c.Compression = "none"
	return c
}

// storedMessages reads a topic for the suite.
func storedMessages(c Config) func(*testing.T, schema.Type) []sinktest.Message {
	return func(t *testing.T, typ schema.Type) []sinktest.Message {
		t.Helper()
		return suiteMessages(stored(t, c, c.topic(typ)))
	}
}

func TestTheSinkKeepsTheContractOverAFakeKafka(t *testing.T) {
	sinktest.Run(t, contractHarness(func(t *testing.T) sinktest.Broker {
		options := []kfake.Opt{
			kfake.NumBrokers(2), kfake.DataDir(t.TempDir()),
			kfake.BrokerConfigs(map[string]string{"message.max.bytes": strconv.Itoa(maxMessage)}),
		}
		fake, err := kfake.NewCluster(append(options, kfake.SeedTopics(5, "callpop.v1", "callpop.session.v1", "callpop.dlq.v1"))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { fake.Close() })
		addresses := fake.ListenAddrs()
		options = append(options, kfake.Ports(portsOf(t, addresses)...))
		c := contractConfig(addresses...)
		return sinktest.Broker{
			Sink:   open(t, c),
			Stored: storedMessages(c),
			Stop:   func(*testing.T) { fake.Close() },
			Start: func(t *testing.T) {
				t.Helper()
				// The ports may take a moment to be free.
				deadline := time.Now().Add(10 * time.Second)
				for {
					again, err := kfake.NewCluster(options...)
					if err == nil {
						fake = again
						return
					}
					if time.Now().After(deadline) {
						t.Fatal(err)
					}
					time.Sleep(10 * time.Millisecond) // polling, up to the deadline
				}
			},
		}
	}))
}

func portsOf(t *testing.T, addresses []string) []int {
	t.Helper()
	var ports []int
	for _, address := range addresses {
		_, text, err := net.SplitHostPort(address)
		if err != nil {
			t.Fatal(err)
		}
		port, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, port)
	}
	return ports
}

func TestTheSinkKeepsTheContractOverARealKafka(t *testing.T) {
	if testing.Short() {
		t.Skip("restarts a real Kafka several times")
	}
	cluster := kafkatest.Start(t, kafkatest.Options{})
	broker, running := cluster.Broker(0), true
	n := 0
	sinktest.Run(t, contractHarness(func(t *testing.T) sinktest.Broker {
		if !running {
			broker.Restart(t)
			running = true
		}
		n++
		c := contractConfig(cluster.Addresses()...)
		for _, topic := range []*string{&c.Topic, &c.SessionTopic, &c.DeadLetterTopic} {
			*topic = fmt.Sprintf("%s-%d", *topic, n)
			cluster.CreateTopic(t, *topic, 5, 1, map[string]string{"max.message.bytes": strconv.Itoa(maxMessage)})
		}
		return sinktest.Broker{
			Sink:   open(t, c),
			Stored: storedMessages(c),
			Stop:   func(t *testing.T) { broker.Stop(t); running = false },
			Start:  func(t *testing.T) { broker.Restart(t); running = true },
		}
	}))
}
