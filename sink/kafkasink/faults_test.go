package kafkasink

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/sinktest"
)

var produceOnly = []kmsg.Key{kmsg.Produce}

// What a broker answers, and what becomes of the records: refused for good, or
// published again and then stored, in some cases twice.
func TestEachAnswerOfABrokerIsForGoodOrIsGotOver(t *testing.T) {
	for _, test := range []struct {
		answer *kerr.Error
		reason Reason
		// copies that the log holds after the records were published again
		copies int
	}{
		{kerr.MessageTooLarge, Refused, 0},
		{kerr.RecordListTooLarge, Refused, 0},
		{kerr.InvalidRecord, Refused, 0},
		{kerr.InvalidTimestamp, Refused, 0},
		{kerr.PolicyViolation, Refused, 0},

		{kerr.RequestTimedOut, TimedOut, 2},
		{kerr.NotEnoughReplicasAfterAppend, Replicas, 2},
		{kerr.NotEnoughReplicas, Replicas, 1},
		{kerr.NotLeaderForPartition, NoLeader, 1},
		{kerr.LeaderNotAvailable, NoLeader, 1},
		{kerr.ReplicaNotAvailable, NoLeader, 1},
		{kerr.FencedLeaderEpoch, NoLeader, 1},
		{kerr.UnknownTopicOrPartition, MissingTopic, 1},
		{kerr.UnknownTopicID, MissingTopic, 1},
		{kerr.NetworkException, Unreachable, 1},
		{kerr.BrokerNotAvailable, Unreachable, 1},
		{kerr.TopicAuthorizationFailed, Authorization, 1},
		{kerr.ClusterAuthorizationFailed, Authorization, 1},
		{kerr.SaslAuthenticationFailed, Authentication, 1},
		{kerr.UnsupportedCompressionType, Configuration, 1},
		{kerr.UnsupportedForMessageFormat, Configuration, 1},
		{kerr.InvalidRequiredAcks, Configuration, 1},
		{kerr.InvalidTopicException, Configuration, 1},
		{kerr.UnsupportedVersion, Configuration, 1},
		{kerr.CorruptMessage, BrokerError, 1},
		{kerr.KafkaStorageError, BrokerError, 1},
		{kerr.ThrottlingQuotaExceeded, BrokerError, 1},
		{kerr.UnknownServerError, BrokerError, 1},
	} {
		t.Run(test.answer.Message, func(t *testing.T) {
			fake := newFake(t, 1)
			c := testConfig(fake.ListenAddrs()...)
			s := open(t, c)
			all := records(1, 1)
			fake.Fault(kfake.Fault{Keys: produceOnly, Err: test.answer})

			err := s.Publish(t.Context(), all)
			got := errorOf(t, err)
			if got.Reason != test.reason || got.Topic != c.Topic || got.Partition != 0 {
				t.Errorf("got reason %s of %s/%d, want %s of %s/0: %v", got.Reason, got.Topic, got.Partition, test.reason, c.Topic, err)
			}
			if permanent := test.reason == Refused; sink.IsPermanent(batchOf(t, err)[0]) != permanent {
				t.Errorf("permanent: got %v, want %v: %v", !permanent, permanent, err)
			}
			if test.copies > 0 {
				publishRest(t, s, all)
			}
			if n := len(stored(t, c, c.Topic)); n != test.copies {
				t.Errorf("the log holds %d copies, want %d", n, test.copies)
			}
		})
	}
}

func batchOf(t *testing.T, err error) sink.BatchError {
	t.Helper()
	var batch sink.BatchError
	if !errors.As(err, &batch) {
		t.Fatalf("got %v (%T), want a BatchError", err, err)
	}
	return batch
}

// poisoned faults the batches that hold a word; the batches must not be
// compressed.
func poisoned(request kmsg.Request) bool {
	for _, topic := range request.(*kmsg.ProduceRequest).Topics {
		for _, p := range topic.Partitions {
			if bytes.Contains(p.Records, []byte("poison")) {
				return true
			}
		}
	}
	return false
}

func TestOneBadRecordOfABatchIsFoundAndTheOthersAreStored(t *testing.T) {
	for _, answer := range []*kerr.Error{kerr.InvalidRecord, kerr.MessageTooLarge, kerr.PolicyViolation} {
		t.Run(answer.Message, func(t *testing.T) {
			fake := newFake(t, 1)
			c := testConfig(fake.ListenAddrs()...)
			c.Compression = "none"
			s := open(t, c)
			all := records(64, 16)
			const bad = 21 // of key hq/5, as are 5, 37 and 53
			all[bad].Body = []byte(`{"poison":true}`)
			fake.Fault(kfake.Fault{Keys: produceOnly, Err: answer, Count: -1, When: poisoned})

			var rest []sink.Record
			for i, e := range checkOneBad(t, s, all, bad) {
				if errors.Is(e, sink.ErrNotAttempted) {
					rest = append(rest, all[i])
				}
			}
			publishRest(t, s, rest)
			checkAllButOne(t, c, all, bad)
		})
	}
}

func TestARecordThatTheBrokerNamesIsTheOnlyOneRefused(t *testing.T) {
	fake := newFake(t, 1)
	c := testConfig(fake.ListenAddrs()...)
	c.Compression = "none"
	s := open(t, c)
	all := records(64, 16)
	const bad = 21
	all[bad].Body = []byte(`{"poison":true}`)
	requests := 0
	fake.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		requests++
		if !poisoned(request) {
			return nil, nil, false
		}
		res := request.ResponseKind().(*kmsg.ProduceResponse)
		topic := kmsg.NewProduceResponseTopic()
		topic.Topic = c.Topic
		partition := kmsg.NewProduceResponseTopicPartition()
		partition.ErrorCode = kerr.InvalidRecord.Code
		named := kmsg.NewProduceResponseTopicPartitionErrorRecord()
		named.RelativeOffset = bad
		named.ErrorMessage = kmsg.StringPtr("rejected by a plug-in\n")
		partition.ErrorRecords = append(partition.ErrorRecords, named)
		topic.Partitions = append(topic.Partitions, partition)
		res.Topics = append(res.Topics, topic)
		return res, nil, true
	})

	err := checkOneBad(t, s, all, bad)
	if text := err[bad].Error(); !strings.Contains(text, "rejected by a plug-in") || strings.Contains(text, "\n") {
		t.Errorf("got error %q, want the broker's words on one line", text)
	}
	if requests != 2 {
		t.Errorf("it took %d requests, want 2", requests)
	}
}

// checkOneBad publishes records of which one is refused: it alone for good, the
// later ones of its key are held back, all others stored.
func checkOneBad(t *testing.T, s *Sink, all []sink.Record, bad int) sink.BatchError {
	t.Helper()
	var err sink.BatchError
	if !errors.As(s.Publish(t.Context(), all), &err) {
		t.Fatalf("got %v, want a BatchError", err)
	}
	for i, e := range err {
		later := i > bad && all[i].Key == all[bad].Key
		switch {
		case i == bad:
			if !sink.IsPermanent(e) || errorOf(t, e).Reason != Refused {
				t.Errorf("the bad record: got %v, want it refused for good", e)
			}
		case later != errors.Is(e, sink.ErrNotAttempted), !later && e != nil:
			t.Errorf("record %d of key %s: got %v", i, all[i].Key, e)
		}
	}
	return err
}

// checkAllButOne checks that the log holds every record but one, once, those of
// a key in order.
func checkAllButOne(t *testing.T, c Config, all []sink.Record, bad int) {
	t.Helper()
	good := slices.Delete(slices.Clone(all), bad, bad+1)
	if n := sinktest.CheckDelivered(t, eventsOf(good), suiteMessages(stored(t, c, c.Topic))); n != 0 {
		t.Errorf("%d duplicates, want none: a refused batch is not stored", n)
	}
}

func TestAnOversizedRecordAmongOthersIsRefusedAlone(t *testing.T) {
	const limit = 20_000
	fake := newFake(t, 1, kfake.BrokerConfigs(map[string]string{"message.max.bytes": "20000"}))
	c := testConfig(fake.ListenAddrs()...)
	c.Compression = "none"
	s := open(t, c)
	all := records(200, 200) // some 100 kB: far more than a batch may have
	const bad = 77
	all[bad].Body = bytes.Repeat([]byte("x"), limit)

	_ = checkOneBad(t, s, all, bad)
	checkAllButOne(t, c, all, bad)
	// What the topic takes has been learnt, so that calls after this one do not
	// begin with a refusal.
	refusals := fake.Fault(kfake.Fault{Keys: produceOnly, Observe: true, Count: -1})
	if err := s.Publish(t.Context(), records(1, 1)); err != nil {
		t.Fatal(err)
	}
	if n := refusals.Hits(); n != 1 {
		t.Errorf("one small record took %d requests, want 1", n)
	}
}

func TestABrokenConnectionIsGotOver(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer func() (kmsg.Response, error, bool)
		reason Reason
	}{
		{"cut before the answer", func() (kmsg.Response, error, bool) { return nil, errors.New("cut"), true }, Unreachable},
		{"no answer", func() (kmsg.Response, error, bool) { return nil, nil, true }, TimedOut},
	} {
		t.Run(test.name, func(t *testing.T) {
			fake := newFake(t, 1)
			c := testConfig(fake.ListenAddrs()...)
			s := open(t, c)
			all := records(10, 3)
			publishRest(t, s, all[:1])
			short := testConfig(fake.ListenAddrs()...)
			short.PublishTimeout = 300 * time.Millisecond
			faulty := open(t, short)
			fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) { return test.answer() })

			err := faulty.Publish(t.Context(), all[1:])
			if got := errorOf(t, err); got.Reason != test.reason {
				t.Errorf("got %s (%v), want %s", got.Reason, err, test.reason)
			}
			for i, e := range batchOf(t, err) {
				if e == nil || sink.IsPermanent(e) {
					t.Errorf("record %d: got %v, want a passing failure", i, e)
				}
			}
			publishRest(t, s, all[1:])
			sinktest.CheckDelivered(t, eventsOf(all), suiteMessages(stored(t, c, c.Topic)))
		})
	}
}

func TestACancelledCallReturnsWhileTheBrokerIsSilent(t *testing.T) {
	fake := newFake(t, 1)
	c := testConfig(fake.ListenAddrs()...)
	s := open(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		cancel()
		return nil, nil, true
	})
	all := records(3, 3)
	if got := errorOf(t, s.Publish(ctx, all)); got.Reason != Canceled {
		t.Errorf("got %v, want it to be given up", got)
	}
	publishRest(t, s, all)
	sinktest.CheckDelivered(t, eventsOf(all), suiteMessages(stored(t, c, c.Topic)))
}

func TestCloseDoesNotWaitForABrokerThatIsSilent(t *testing.T) {
	fake := newFake(t, 1)
	c := testConfig(fake.ListenAddrs()...)
	s, err := New(c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		close(asked)
		return nil, nil, true
	})
	published := make(chan error, 1)
	go func() { published <- s.Publish(t.Context(), records(1, 1)) }()
	<-asked
	// The contract has nobody close a sink that publishes. It must not hang all
	// the same, and it frees the call.
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-published; err == nil {
		t.Error("the call succeeded without an answer")
	}
}

func TestABatchThatFailsHoldsBackTheRestOfItsPartition(t *testing.T) {
	fake := newFake(t, 1)
	c := testConfig(fake.ListenAddrs()...)
	c.BatchRecords = 10
	s := open(t, c)
	all := records(35, 5)
	var seen atomic.Int32
	fake.ControlKey(int16(kmsg.Produce), func(kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		seen.Add(1)
		return nil, nil, false
	})
	fake.Fault(kfake.Fault{Keys: produceOnly, Err: kerr.NotEnoughReplicasAfterAppend, When: func(kmsg.Request) bool { return seen.Load() == 2 }})
	var err sink.BatchError
	if !errors.As(s.Publish(t.Context(), all), &err) {
		t.Fatal("no BatchError")
	}
	for i, e := range err {
		switch {
		case i < 10 && e != nil,
			i >= 10 && i < 20 && (e == nil || errors.Is(e, sink.ErrNotAttempted)),
			i >= 20 && !errors.Is(e, sink.ErrNotAttempted):
			t.Errorf("record %d: got %v", i, e)
		}
	}
	if n := seen.Load(); n != 2 {
		t.Errorf("%d requests were sent, want 2: nothing after the one that failed", n)
	}
	publishRest(t, s, all[10:])
	duplicates := sinktest.CheckDelivered(t, eventsOf(all), suiteMessages(stored(t, c, c.Topic)))
	if duplicates != 10 {
		t.Errorf("got %d duplicates, want the 10 of the batch that was appended in spite of its error", duplicates)
	}
}

func TestACallIsOneRequestWithOneBatchForEachPartition(t *testing.T) {
	fake := newFake(t, 8, kfake.NumBrokers(1))
	c := testConfig(fake.ListenAddrs()...)
	s := open(t, c)
	var partitions []int32
	requests := 0
	fake.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		requests++
		for _, p := range request.(*kmsg.ProduceRequest).Topics[0].Partitions {
			partitions = append(partitions, p.Partition)
			var batch kmsg.RecordBatch
			if err := batch.ReadFrom(p.Records); err != nil {
				t.Error(err)
			} else if int(batch.Length)+12 != len(p.Records) {
				t.Errorf("partition %d: a batch of %d bytes in %d bytes", p.Partition, batch.Length+12, len(p.Records))
			}
		}
		return nil, nil, false
	})
	if err := s.Publish(t.Context(), records(1000, 500)); err != nil {
		t.Fatal(err)
	}
	slices.Sort(partitions)
	if want := []int32{0, 1, 2, 3, 4, 5, 6, 7}; requests != 1 || !slices.Equal(partitions, want) {
		t.Errorf("got %d requests with partitions %v, want 1 with %v", requests, partitions, want)
	}
}
