// Package natssink publishes events to the streams of a NATS JetStream.
//
// In go the records of the spool, out go messages in CloudEvents' binary mode:
// the body as it is, the attributes as ce- headers, the subject
// <prefix>.<server>.<agent> with each name as one token (package schema). Every
// message carries the event's id as Nats-Msg-Id, by which the stream drops
// duplicates within its window, and the stream's name as Nats-Expected-Stream, so
// that a subject which another stream has taken is an error and not a success. One
// that a replay sends has <id>.replay.<replay> there, which the window lets pass,
// and the header callpop-replay. One that another replica may have received too has
// overlap.<fingerprint> there, so that of the two copies the stream keeps one.
//
// A call keeps at most one unacknowledged message of a key, and many keys, under
// way. nats.go would send again on a timer what met no responder, and so let a
// later message of the key overtake it; here it tries once, and the forwarder
// sends again. What was under way when the connection broke may be stored: it is
// unknown, and sent again with the same id.
//
// Only three answers are for good: a message larger than the server takes, than
// the stream takes, or with larger headers than it takes. All others may pass,
// and say what is wrong: see [ErrNoJetStream] and its neighbours.
//
// Sources: docs.nats.io, "JetStream: Headers" and "Client protocol".
package natssink
