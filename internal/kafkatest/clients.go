package kafkatest

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// clientTimeout bounds a run of one of Kafka's own clients.
const clientTimeout = 2 * time.Minute

// The separators of what the console consumer prints: control characters, which
// no key and no JSON holds.
const (
	fieldSeparator  = "\x1f"
	headerSeparator = "\x1e"
	lineSeparator   = "\x1d\n"
)

// Record is a record as Kafka's own console consumer printed it.
type Record struct {
	Partition int
	Offset    int64
	Time      time.Time
	Headers   map[string]string
	Key       string
	Value     string
}

// Consume reads the first n records of a topic with Kafka's own console
// consumer. It needs the jars even where the brokers are those of KAFKA_BROKERS.
func (c *Cluster) Consume(t testing.TB, topic string, n int) []Record {
	t.Helper()
	args := []string{
		"--bootstrap-server", c.bootstrap(), "--topic", topic, "--from-beginning",
		"--max-messages", strconv.Itoa(n), "--timeout-ms", "30000",
	}
	for _, property := range []string{
		"print.partition=true", "print.offset=true", "print.timestamp=true", "print.headers=true", "print.key=true",
		"key.separator=" + fieldSeparator, "headers.separator=" + headerSeparator, "line.separator=" + lineSeparator,
	} {
		args = append(args, "--property", property)
	}
	out := c.run(t, nil, "org.apache.kafka.tools.consumer.ConsoleConsumer", args...)
	if notice, rest, ok := bytes.Cut(out, []byte("\n")); ok && bytes.HasPrefix(notice, []byte("Option --property is deprecated")) {
		out = rest // from Kafka 4.2 on, whose own option 4.1 does not know
	}
	var records []Record
	for line := range strings.SplitSeq(strings.TrimSuffix(string(out), lineSeparator), lineSeparator) {
		record, err := parseRecord(line)
		if err != nil {
			t.Fatalf("console consumer printed %q: %v", line, err)
		}
		records = append(records, record)
	}
	if len(records) != n {
		t.Fatalf("console consumer read %d records of %s, want %d", len(records), topic, n)
	}
	return records
}

// parseRecord reads a line such as CreateTime:1, Partition:0, Offset:2,
// a:b,c:d, key, value, with our separators.
func parseRecord(line string) (Record, error) {
	fields := strings.SplitN(line, fieldSeparator, 6)
	if len(fields) != 6 {
		return Record{}, fmt.Errorf("%d fields, want 6", len(fields))
	}
	var numbers [3]int64
	for i, prefix := range []string{"CreateTime:", "Partition:", "Offset:"} {
		text, ok := strings.CutPrefix(fields[i], prefix)
		if !ok {
			return Record{}, fmt.Errorf("field %q does not begin with %s", fields[i], prefix)
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return Record{}, err
		}
		numbers[i] = n
	}
	headers := map[string]string{}
	if fields[3] != "NO_HEADERS" {
		for header := range strings.SplitSeq(fields[3], headerSeparator) {
			name, value, ok := strings.Cut(header, ":")
			if _, twice := headers[name]; !ok || twice {
				return Record{}, fmt.Errorf("header %q is malformed or there twice", header)
			}
			headers[name] = value
		}
	}
	return Record{
		Time:      time.UnixMilli(numbers[0]).UTC(),
		Partition: int(numbers[1]),
		Offset:    numbers[2],
		Headers:   headers,
		Key:       fields[4],
		Value:     fields[5],
	}, nil
}

// Produce writes one record for each key with Kafka's own console producer,
// which places keys as all Java clients do. Keys hold no tab and no line break.
func (c *Cluster) Produce(t testing.TB, topic string, keys []string) {
	t.Helper()
	var in bytes.Buffer
	for i, key := range keys {
		fmt.Fprintf(&in, "%s\t%d\n", key, i)
	}
	c.run(t, in.Bytes(), "org.apache.kafka.tools.ConsoleProducer",
		"--bootstrap-server", c.bootstrap(), "--topic", topic,
		"--property", "parse.key=true", "--property", "key.separator=\t")
}

// run runs one of Kafka's programs to its end and returns its standard output.
func (c *Cluster) run(t testing.TB, stdin []byte, class string, args ...string) []byte {
	t.Helper()
	dist := c.dist
	if dist == nil {
		var err error
		if dist, err = findDistribution(t.Context()); err != nil {
			unavailable(t, err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), clientTimeout)
	defer cancel()
	cmd := dist.command(ctx, []string{"-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"}, class, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s: %v\n%s%s", class, err, tail(stdout.Bytes(), 2000), tail(stderr.Bytes(), 4000))
	}
	return stdout.Bytes()
}
