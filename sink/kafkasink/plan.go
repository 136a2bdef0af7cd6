package kafkasink

import (
	"bytes"
	"hash/fnv"
	"io"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/compress"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// message is a record as it goes to Kafka. It shares nothing with the caller's
// records but the bodies, which nobody changes: a request that was given up may
// still be being encoded when Publish has returned.
type message struct {
	key, value []byte
	time       time.Time
	headers    []protocol.Header
	size       int // encoded, before compression; never less than it is
}

// encoder makes messages. Their keys and headers share a few large buffers.
type encoder struct {
	buffer []byte
	// left is how many messages are still to come, to size buffers by.
	left int
}

// The size of a buffer: what the keys and headers of a message take, about, for
// each that is left, within bounds.
const (
	encoderMessage  = 400
	encoderMaxChunk = 64 << 10
)

// encode makes the message of a record: its key, its body as it is, and the
// headers of CloudEvents' binary mode.
func (e *encoder) encode(r *sink.Record) message {
	m := message{key: e.bytes(r.Key), value: r.Body, time: r.Time, headers: make([]protocol.Header, 0, 12)}
	add := func(name, value string) {
		m.headers = append(m.headers, protocol.Header{Key: name, Value: e.bytes(value)})
		m.size += len(name) + len(value) + 2*maxVarint
	}
	for name, value := range r.KafkaHeaders() {
		add(name, value)
	}
	if r.SpoolSequence != "" {
		add(schema.KafkaSpoolSequence, r.SpoolSequence)
	}
	if r.Replay != "" {
		add(schema.HeaderReplay, r.Replay)
	}
	m.size += len(m.key) + len(m.value) + recordOverhead
	e.left--
	return m
}

// What a record takes beside its key, value and headers: five numbers of
// variable length of at most five bytes, one of ten, and a byte.
const (
	maxVarint      = 5
	recordOverhead = 5*maxVarint + 10 + 1
)

// bytes copies s into the buffer. The result is never nil: to Kafka an empty key
// is not the same as none.
func (e *encoder) bytes(s string) []byte {
	if len(s) > cap(e.buffer)-len(e.buffer) {
		e.buffer = make([]byte, 0, max(len(s), min(encoderMessage*max(e.left, 1), encoderMaxChunk)))
	}
	from := len(e.buffer)
	e.buffer = append(e.buffer, s...)
	return e.buffer[from:len(e.buffer):len(e.buffer)]
}

// queue is the records of one call that go to one partition, in their order.
type queue struct {
	partition int
	// left are the indexes of the records whose fate is open.
	left []int
	// limit bounds the records of the next batch; it shrinks while a batch is
	// refused and one record must be at fault, and grows again after a success.
	limit int
}

// assign gives each message to the queue of its partition. Queues are in the
// order of their partitions.
func assign(messages []message, balancer kafka.Balancer, partitions []int, limit int) []*queue {
	byPartition := make([]*queue, len(partitions))
	var queues []*queue
	for i := range messages {
		p := balancer.Balance(kafka.Message{Key: messages[i].key}, partitions...)
		q := byPartition[p]
		if q == nil {
			q = &queue{partition: p, limit: limit}
			byPartition[p] = q
			queues = append(queues, q)
		}
		q.left = append(q.left, i)
	}
	slices.SortFunc(queues, func(a, b *queue) int { return a.partition - b.partition })
	return queues
}

// next cuts the queue's next batch: the first records that are left, as many as
// limit and maxBytes allow, and at least one.
func (q *queue) next(messages []message, maxBytes int) (batch []int, size int) {
	for n, i := range q.left {
		if n > 0 && (n >= q.limit || size+messages[i].size > maxBytes) {
			return q.left[:n], size
		}
		size += messages[i].size
	}
	return q.left, size
}

// reader gives the messages of a batch to the protocol's encoder, with one
// record and two readers for all of them.
type reader struct {
	messages   []message
	batch      []int
	at         int
	record     protocol.Record
	key, value content
}

type content struct{ bytes.Reader }

// Close does nothing: the bytes are ours.
func (*content) Close() error { return nil }

// ReadRecord returns the next record, or io.EOF.
func (r *reader) ReadRecord() (*protocol.Record, error) {
	if r.at == len(r.batch) {
		return nil, io.EOF
	}
	m := &r.messages[r.batch[r.at]]
	r.at++
	r.key.Reset(m.key)
	r.value.Reset(m.value)
	r.record = protocol.Record{Time: m.time, Key: &r.key, Value: &r.value, Headers: m.headers}
	return &r.record, nil
}

// compressions by their names in the configuration.
var compressions = map[string]compress.Compression{
	"none": 0, "gzip": compress.Gzip, "snappy": compress.Snappy, "lz4": compress.Lz4, "zstd": compress.Zstd,
}

// balancers by their names in the configuration. All of them place an empty key
// like any other: events of one key share a partition.
var balancers = map[string]func() kafka.Balancer{
	"murmur2": func() kafka.Balancer { return kafka.Murmur2Balancer{Consistent: true} },
	"crc32":   func() kafka.Balancer { return kafka.CRC32Balancer{Consistent: true} },
	"fnv1a":   func() kafka.Balancer { return &kafka.Hash{Hasher: fnv.New32a()} },
}
