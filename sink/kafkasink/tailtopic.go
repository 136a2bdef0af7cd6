package kafkasink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/fetch"
)

// topicTail reads one topic.
type topicTail struct {
	tail *tail
	link *link
	next map[int]int64 // by partition
}

// seekEnd sets every partition's next offset to its end. It waits a while for
// partitions that have no leader.
func (tt *topicTail) seekEnd(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, tt.tail.config.PublishTimeout)
	defer cancel()
	for {
		err := tt.trySeekEnd(ctx)
		if err == nil || classify(err) != NoLeader {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(leaderPause):
		}
		tt.link.renew()
	}
}

func (tt *topicTail) trySeekEnd(ctx context.Context) error {
	found, err := tt.link.layout(ctx)
	if err != nil {
		return err
	}
	topic := tt.link.name
	want := make([]kafka.OffsetRequest, len(found.numbers))
	for i := range want {
		want[i] = kafka.LastOffsetOf(i)
	}
	res, err := tt.link.client().ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: want}})
	if err != nil {
		return err
	}
	for _, p := range res.Topics[topic] {
		if p.Error != nil {
			return fmt.Errorf("find the end of partition %d: %w", p.Partition, p.Error)
		}
		tt.next[p.Partition] = p.LastOffset
	}
	return nil
}

// run fetches until ctx is done or the handler fails.
func (tt *topicTail) run(ctx context.Context) error {
	for ctx.Err() == nil {
		err := tt.fetch(ctx)
		var handler errHandler
		switch {
		case err == nil:
			continue
		case errors.As(err, &handler):
			return handler.error
		case ctx.Err() != nil:
			return nil
		}
		tt.link.drop()
		tt.tail.failed(topicError(tt.link.name, err))
		select {
		case <-ctx.Done():
		case <-time.After(tailPause):
		}
	}
	return nil
}

// fetch asks each leader once for what its partitions have.
func (tt *topicTail) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fetchWait+tt.tail.config.PublishTimeout)
	defer cancel()
	found, err := tt.link.layout(ctx)
	if err != nil {
		return err
	}
	byLeader := make(map[int32][]fetch.RequestPartition)
	for i, leader := range found.leaders {
		if leader >= 0 {
			// A partition that was added since begins at 0, as in next.
			byLeader[leader] = append(byLeader[leader], fetch.RequestPartition{
				Partition: int32(i), CurrentLeaderEpoch: -1, FetchOffset: tt.next[i], LogStartOffset: -1, PartitionMaxBytes: fetchPartitionBytes,
			})
		}
	}
	if len(byLeader) == 0 {
		return kafka.LeaderNotAvailable
	}
	var mu sync.Mutex // guards errs and next
	var errs []error
	var wg sync.WaitGroup
	for _, partitions := range byLeader {
		wg.Go(func() {
			res, err := tt.link.send(ctx, &fetch.Request{
				ReplicaID: -1, MaxWaitTime: int32(fetchWait / time.Millisecond), MinBytes: 1, MaxBytes: fetchBytes,
				SessionID: 0, SessionEpoch: -1, // no session
				Topics: []fetch.RequestTopic{{Topic: tt.link.name, Partitions: partitions}},
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				err = tt.take(res)
			}
			errs = append(errs, err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// take hands out the records of an answer.
func (tt *topicTail) take(res protocol.Message) error {
	answer, ok := res.(*fetch.Response)
	if !ok || len(answer.Topics) > 1 {
		return errors.New("fetch: the broker's answer is malformed")
	}
	if answer.ErrorCode != 0 {
		return fmt.Errorf("fetch: %w", kafka.Error(answer.ErrorCode))
	}
	for _, topic := range answer.Topics {
		for i := range topic.Partitions {
			p := &topic.Partitions[i]
			switch kafka.Error(p.ErrorCode) {
			case 0:
			case kafka.OffsetOutOfRange:
				// Retention took what was next, or the topic was made anew.
				tt.next[int(p.Partition)] = max(p.LogStartOffset, 0)
				fallthrough
			default:
				return fmt.Errorf("fetch partition %d: %w", p.Partition, kafka.Error(p.ErrorCode))
			}
			if err := tt.takeSet(int(p.Partition), &p.RecordSet); err != nil {
				return err
			}
		}
	}
	return nil
}

func (tt *topicTail) takeSet(partition int, set *protocol.RecordSet) error {
	stream, ok := set.Records.(*protocol.RecordStream)
	if !ok {
		return nil // empty
	}
	for _, batch := range stream.Records {
		_, control := batch.(*protocol.ControlBatch)
		for {
			r, err := batch.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return fmt.Errorf("read partition %d: %w", partition, err)
			}
			m, err := newMessage(tt.link.name, partition, r)
			if err != nil {
				return fmt.Errorf("read partition %d: %w", partition, err)
			}
			// A batch may begin before what was asked for.
			if !control && m.Offset >= tt.next[partition] {
				if err := tt.tail.hand(m); err != nil {
					return err
				}
			}
			tt.next[partition] = max(tt.next[partition], m.Offset+1)
		}
	}
	return nil
}
