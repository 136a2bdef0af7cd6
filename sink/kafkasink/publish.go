package kafkasink

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"

	"github.com/callpop/connector/sink"
)

// maxRequestBytes bounds the requests of one round together. Brokers cut the
// connection at 100 MiB (socket.request.max.bytes).
const maxRequestBytes = 64 << 20

// call is one call of Publish under way.
type call struct {
	topic    *topic
	records  []sink.Record
	messages []message
	queues   []*queue
	errs     sink.BatchError
	// failed holds the first record of each key that failed.
	failed map[string]int
}

// batch is what one queue sends in a round.
type batch struct {
	queue   *queue
	records []int
	size    int
	// answer is the broker's; nil where err says why there is none.
	answer *produce.ResponsePartition
	err    error
}

// publish makes one attempt for each record, in rounds: a round sends the next
// batch of every partition whose batch before was answered, all at once.
func (t *topic) publish(ctx context.Context, records []sink.Record) error {
	found, err := t.find(ctx)
	if err != nil {
		t.drop()
		return topicError(t.name, err)
	}
	c := &call{topic: t, records: records, messages: make([]message, len(records)), errs: make(sink.BatchError, len(records))}
	e := encoder{left: len(records)}
	for i := range records {
		c.messages[i] = e.encode(&records[i])
	}
	c.queues = assign(c.messages, t.balancer, found.numbers, t.config.BatchRecords)
	for {
		round := c.cut()
		if len(round) == 0 {
			break
		}
		c.send(ctx, round, found)
		if c.settle(round) {
			t.drop()
			break
		}
	}
	c.holdBack()
	if slices.ContainsFunc(c.errs, func(err error) bool { return err != nil }) {
		return c.errs
	}
	return nil
}

// find returns the topic's layout. It creates the topic where it is missing and
// that is asked for.
func (t *topic) find(ctx context.Context) (*layout, error) {
	ctx, cancel := context.WithTimeout(ctx, t.config.PublishTimeout)
	defer cancel()
	found, err := t.layout(ctx)
	if t.config.CreateTopics.Enabled && errors.Is(err, kafka.UnknownTopicOrPartition) {
		if err = t.create(ctx, &t.config.CreateTopics); err == nil {
			found, err = t.layout(ctx)
		}
	}
	return found, err
}

// cut takes the next batch of each queue. Records of a key that has failed stay
// behind, and so do batches for which the round has no more room.
func (c *call) cut() []*batch {
	var round []*batch
	total := 0
	for _, q := range c.queues {
		records, size := c.nextOf(q)
		if len(records) == 0 {
			continue
		}
		if len(round) > 0 && total+size > maxRequestBytes {
			break
		}
		total += size
		round = append(round, &batch{queue: q, records: records, size: size})
	}
	return round
}

// nextOf cuts a queue's next batch. A record that no broker's request could hold
// is refused here.
func (c *call) nextOf(q *queue) (records []int, size int) {
	for {
		c.skip(q)
		records, size = q.next(c.messages, int(c.topic.maxBytes.Load()))
		if size <= maxRequestBytes {
			return records, size
		}
		// A batch of more than one record is smaller: batch_bytes sees to it.
		c.refuse(records[0], q, fmt.Errorf("it is larger than the %d bytes that a request may have", maxRequestBytes))
		q.left = q.left[1:]
	}
}

// skip takes the records out of a queue that an earlier failure of their key
// holds back.
func (c *call) skip(q *queue) {
	if len(c.failed) == 0 {
		return
	}
	q.left = slices.DeleteFunc(q.left, func(i int) bool {
		first, ok := c.failed[c.records[i].Key]
		if !ok || i < first {
			return false
		}
		if c.errs[i] == nil {
			c.errs[i] = sink.ErrNotAttempted
		}
		return true
	})
}

// send sends the round's batches, one request for each leader, and waits for
// every answer or the time-out.
func (c *call) send(ctx context.Context, round []*batch, found *layout) {
	ctx, cancel := context.WithTimeout(ctx, c.topic.config.PublishTimeout)
	defer cancel()
	byLeader := make(map[int32][]*batch)
	for _, b := range round {
		leader := found.leaders[b.queue.partition]
		if leader < 0 {
			b.err = kafka.LeaderNotAvailable
			continue
		}
		byLeader[leader] = append(byLeader[leader], b)
	}
	if len(byLeader) == 1 {
		for _, batches := range byLeader {
			c.request(ctx, batches)
		}
		return
	}
	var wg sync.WaitGroup
	for _, batches := range byLeader {
		wg.Go(func() { c.request(ctx, batches) })
	}
	wg.Wait()
}

// request sends batches of partitions with one leader in one produce request.
func (c *call) request(ctx context.Context, batches []*batch) {
	t := c.topic
	partitions := make([]produce.RequestPartition, len(batches))
	for i, b := range batches {
		partitions[i] = produce.RequestPartition{
			Partition: int32(b.queue.partition),
			RecordSet: protocol.RecordSet{
				Attributes: protocol.Attributes(t.compression),
				Records:    &reader{messages: c.messages, batch: b.records},
			},
		}
	}
	res, err := t.send(ctx, &produce.Request{
		Acks: t.acks,
		// The broker is to give up before we do: its answer says more.
		Timeout: int32(t.config.PublishTimeout * 3 / 4 / time.Millisecond),
		Topics:  []produce.RequestTopic{{Topic: t.name, Partitions: partitions}},
	})
	for _, b := range batches {
		if b.err = err; err != nil {
			continue
		}
		if b.answer = answerFor(res, b.queue.partition); b.answer == nil {
			b.err = errors.New("the broker's answer leaves the partition out")
		}
	}
}

func answerFor(res protocol.Message, partition int) *produce.ResponsePartition {
	answer, ok := res.(*produce.Response)
	if !ok || len(answer.Topics) != 1 {
		return nil
	}
	partitions := answer.Topics[0].Partitions
	i := slices.IndexFunc(partitions, func(p produce.ResponsePartition) bool { return int(p.Partition) == partition })
	if i < 0 {
		return nil
	}
	return &partitions[i]
}

// settle takes in what became of a round. It returns true where the connections
// or the layout can no longer be trusted; nothing more is sent by the call then.
func (c *call) settle(round []*batch) (broken bool) {
	for _, b := range round {
		q := b.queue
		if b.err != nil {
			c.fail(b, classify(b.err), hint(b.err))
			broken = true
			continue
		}
		code := kafka.Error(b.answer.ErrorCode)
		if code == 0 {
			c.trace(b)
			q.left = q.left[len(b.records):]
			q.limit = min(2*q.limit, c.topic.config.BatchRecords)
			c.topic.grow()
			continue
		}
		err := error(code)
		if text := b.answer.ErrorMessage; text != "" {
			err = fmt.Errorf("%w: %s", err, excerpt(text))
		}
		switch reason := produceReason(code); reason {
		case Refused:
			c.refused(b, code, err)
		case Replicas, Authorization, Configuration:
			c.fail(b, reason, err)
		default:
			c.fail(b, reason, err)
			broken = true
		}
	}
	return broken
}

// fail gives a batch's records an error after which they may or may not be
// stored, and ends its queue: what follows in the partition waits.
func (c *call) fail(b *batch, reason Reason, err error) {
	failure := &Error{Topic: c.topic.name, Partition: b.queue.partition, Reason: reason, Err: err}
	for _, i := range b.records {
		c.errs[i] = failure
	}
	waiting := fmt.Errorf("an earlier batch of partition %d failed: %w", b.queue.partition, sink.ErrNotAttempted)
	for _, i := range b.queue.left[len(b.records):] {
		c.errs[i] = waiting
	}
	b.queue.left = nil
}

// refused finds out which record of a refused batch is at fault. A broker stores
// a batch whole or not at all, so that nothing of it is stored: records that the
// broker names, or one that was alone, are refused for good; else the batch is
// halved. The others stay in the queue for the next round.
func (c *call) refused(b *batch, code kafka.Error, err error) {
	q := b.queue
	if len(b.records) == 1 {
		c.refuse(b.records[0], q, err)
		q.left = q.left[1:]
		q.limit = min(2*q.limit, c.topic.config.BatchRecords)
		return
	}
	named := make(map[int]string)
	for _, e := range b.answer.RecordErrors {
		if e.BatchIndex >= 0 && int(e.BatchIndex) < len(b.records) {
			named[b.records[e.BatchIndex]] = e.BatchIndexErrorMessage
		}
	}
	if len(named) > 0 {
		for i, text := range named {
			c.refuse(i, q, fmt.Errorf("%w: %s", err, excerpt(text)))
		}
		q.left = slices.DeleteFunc(q.left, func(i int) bool { _, bad := named[i]; return bad })
		return
	}
	q.limit = max(1, len(b.records)/2)
	if code == kafka.MessageSizeTooLarge || code == kafka.RecordListTooLarge {
		// The topic takes less than batch_bytes, or one record is too large: cut
		// smaller for a while.
		c.topic.maxBytes.Store(int64(max(b.size/2, 1)))
	}
}

// grow takes the size of batches back towards batch_bytes, slowly: a topic that
// takes less then refuses one batch in many.
func (t *topic) grow() {
	if most, now := int64(t.config.BatchBytes), t.maxBytes.Load(); now < most {
		t.maxBytes.Store(min(most, now+max(most/64, 1)))
	}
}

// refuse gives one record a permanent error.
func (c *call) refuse(i int, q *queue, err error) {
	c.errs[i] = sink.Permanent(&Error{Topic: c.topic.name, Partition: q.partition, Reason: Refused, Err: err})
	if c.failed == nil {
		c.failed = make(map[string]int)
	}
	if first, ok := c.failed[c.records[i].Key]; !ok || i < first {
		c.failed[c.records[i].Key] = i
	}
}

// holdBack gives what is left in the queues after a call that ended early its
// error.
func (c *call) holdBack() {
	for _, q := range c.queues {
		for _, i := range q.left {
			c.errs[i] = sink.ErrNotAttempted
		}
	}
}
