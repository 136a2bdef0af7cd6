// Package kafkasink publishes events to Kafka, with segmentio/kafka-go.
//
// A record's key is the event's key, its value the body as the spool holds it,
// its time the event's, its headers CloudEvents' binary mode: ce_ and the name of
// each attribute, content-type, traceparent and tracestate, ce_spoolsequence, and
// in a replay callpop-replay, and of a pop that another replica may have received
// too callpop-overlap: Kafka keeps both copies. Keys are placed by the hash of Java's clients
// (murmur2), so that other producers and consumers agree on a key's partition; the
// hashes of librdkafka and Sarama can be chosen. Each of the three types of event
// has a topic, and one whose topic is empty is switched off.
//
// Kafka counts a topic's retention.ms from the time of a record: keep it longer
// than the spool keeps events (spool.max_age), or what waited out a long outage is
// deleted as it arrives.
//
// # One call of Publish
//
// The records are grouped by partition here, and all partitions of one leader go
// in one produce request, all leaders at once. A request holds one batch of a
// partition, cut by batch_bytes (before compression) and batch_records. What
// exceeds the batch goes in further rounds: a partition's next batch is sent only
// once the one before was stored, so that nothing overtakes a record that failed.
// A batch that fails ends its partition's part of the call: the rest is reported
// as not attempted. Nothing is sent twice by a call; the forwarder decides on
// that. publish_timeout bounds finding the leaders, and then each round.
//
// # What becomes of a record
//
//   - Stored: the leader and every replica in sync have it (acks all), or the
//     leader (acks 1).
//   - Refused for good (sink.Permanent): it is too large, or the broker forbids
//     what is in it (MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE, INVALID_RECORD,
//     INVALID_TIMESTAMP, POLICY_VIOLATION). A broker takes a batch whole or not
//     at all, so where it does not say which record it means the batch is halved
//     until one is alone; the others are stored by the same call.
//   - Anything else may be stored or not, and is to be published again with the
//     same id: time-outs, broken connections, leaders that moved, too few
//     replicas. So are refusals of a login, of permissions, and a topic that does
//     not exist: these events wait, and the error says for what. [Error] has the
//     reason in one word.
//
// Duplicates are possible, since kafka-go has no idempotent producer: consumers
// tell them by ce_id. After a failure the connections are dropped with what is
// unsent in them, so that no copy of an earlier attempt comes late; one that the
// broker has already read may still be stored after the repeated one.
//
// # Why not the library's Writer
//
// Measured side by side against a fake broker, calls in turn, 300-byte records,
// zstd, three runs on two busy cores (go test -bench Ways): with eight partitions
// and 100 records a call this sink does 2.8 to 4.5 times the rate of a Writer with
// a batch time-out of 1 ms, 6.5 to 12 times that of one with 5 ms, and 1.2 to 2.5
// times that of the client's Produce, one request for each partition at once;
// with 1,000 records 1.2 to 2.3, 1.9 to 3.4 and 1.0 to 1.2 times. With one
// partition, or one record, all are within
// the noise of each other. The Writer waits for its batch time-out on every
// part-filled batch, goes on to a partition's next batch after one has failed,
// drops the broker's word on single records, sends with a context of its own and
// not the caller's, retries by itself, and can hang in Close.
//
// Each topic has connections of its own (kafka-go's Transport), which a failure
// of another topic does not disturb. Close closes them and waits for nobody.
//
// Logins are by PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER (RFC 7628;
// the token from a file or by client credentials, RFC 6749 section 4.4), with or
// without TLS. Passwords, tokens and client certificates in files are read again
// for each connection. A broker that ends a session when its token expires costs
// one failed attempt, which stores nothing.
package kafkasink
