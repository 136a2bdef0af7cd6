package natssink

import "errors"

// What may be wrong with a broker, said with errors.Is. The broker itself says
// "no responders" to the first four alike; the sink looks closer. All of them may
// pass, so that what meets them is tried again.
var (
	// ErrNotConnected: there is no connection to any of the servers.
	ErrNotConnected = errors.New("not connected")
	// ErrNoJetStream: the server, or the account on it, has no JetStream.
	ErrNoJetStream = errors.New("no JetStream on this server, or not for this account")
	// ErrNoStream: there is JetStream, but not the stream.
	ErrNoStream = errors.New("no stream of this name")
	// ErrSubjectNotInStream: the stream exists and does not take the subject.
	ErrSubjectNotInStream = errors.New("the stream does not take this subject")
	// ErrStreamUnavailable: the stream exists, takes the subject, and does not
	// answer now, as while its cluster elects a leader.
	ErrStreamUnavailable = errors.New("the stream does not answer now")
	// ErrOtherStream: another stream takes the subject.
	ErrOtherStream = errors.New("another stream takes this subject")
	// ErrNoPermission: the server forbids the user to publish to the subject, or
	// to subscribe to the subjects on which it would answer.
	ErrNoPermission = errors.New("no permission")
	// ErrNoAnswer: no acknowledgement came in time. The message may be stored.
	ErrNoAnswer = errors.New("no acknowledgement in time")
)

// ErrOwnServer means that the sink leads to the connector's own embedded server,
// so that every event would come back as a new one. It does not pass: the sink
// publishes nothing any more.
var ErrOwnServer = errors.New("the sink leads to this connector's own embedded server")

// ErrClosed is the error of a sink that was closed.
var ErrClosed = errors.New("the sink is closed")
