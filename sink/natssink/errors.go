package natssink

import "errors"

// What may be wrong with a broker, said with errors.Is. The broker itself says
// "no responders" to the first four alike; the sink looks closer. All of them may
// pass, so that what meets them is tried again.
var (
	// ErrNotConnected: there is no connection to any of the servers.
	ErrNotConnected = error(&brokerError{"not connected", "unreachable"})
	// ErrNoJetStream: the server, or the account on it, has no JetStream.
	ErrNoJetStream = error(&brokerError{"no JetStream on this server, or not for this account", "no_jetstream"})
	// ErrNoStream: there is JetStream, but not the stream.
	ErrNoStream = error(&brokerError{"no stream of this name", "missing_stream"})
	// ErrSubjectNotInStream: the stream exists and does not take the subject.
	ErrSubjectNotInStream = error(&brokerError{"the stream does not take this subject", "configuration"})
	// ErrStreamUnavailable: the stream exists, takes the subject, and does not
	// answer now, as while its cluster elects a leader.
	ErrStreamUnavailable = error(&brokerError{"the stream does not answer now", "no_leader"})
	// ErrOtherStream: another stream takes the subject.
	ErrOtherStream = error(&brokerError{"another stream takes this subject", "configuration"})
	// ErrNoPermission: the server forbids the user to publish to the subject, or
	// to subscribe to the subjects on which it would answer.
	ErrNoPermission = error(&brokerError{"no permission", "authorization"})
	// ErrNoAnswer: no acknowledgement came in time. The message may be stored.
	ErrNoAnswer = error(&brokerError{"no acknowledgement in time", "timeout"})
)

// brokerError is an error with telemetry's error.type, in the words of package
// kafkasink where both have one.
type brokerError struct{ text, errorType string }

func (e *brokerError) Error() string     { return e.text }
func (e *brokerError) ErrorType() string { return e.errorType }

// ErrOwnServer means that the sink leads to the connector's own embedded server,
// so that every event would come back as a new one. It does not pass: the sink
// publishes nothing any more.
var ErrOwnServer = errors.New("the sink leads to this connector's own embedded server")

// ErrClosed is the error of a sink that was closed.
var ErrClosed = errors.New("the sink is closed")
