package kafkasink

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
)

// Reason classifies what went wrong, in words fit for a metric's label.
type Reason string

// The reasons. Only refused is permanent.
const (
	// Refused: this record is too large, or the broker forbids what is in it.
	Refused Reason = "refused"
	// Unreachable: no connection, or it broke.
	Unreachable Reason = "unreachable"
	// TimedOut: no answer in time. The records may have been stored.
	TimedOut Reason = "timeout"
	// Canceled: the caller gave up. The records may have been stored.
	Canceled Reason = "canceled"
	// Authentication: the login or the certificate was refused.
	Authentication Reason = "authentication"
	// Authorization: the user may not do this.
	Authorization Reason = "authorization"
	// MissingTopic: the topic does not exist.
	MissingTopic Reason = "missing_topic"
	// NoLeader: the partition's leader is away or has moved.
	NoLeader Reason = "no_leader"
	// Replicas: fewer replicas than the topic's min.insync.replicas have it.
	Replicas Reason = "replicas"
	// Configuration: brokers and connector do not fit together.
	Configuration Reason = "configuration"
	// BrokerError: any other error of a broker.
	BrokerError Reason = "broker_error"
)

// explanations say what a reason means for whoever reads the log.
var explanations = map[Reason]string{
	Refused:        "the broker will never take this event",
	Unreachable:    "the broker cannot be reached",
	TimedOut:       "the broker did not answer in time",
	Canceled:       "given up before the broker answered",
	Authentication: "the login was refused; events wait until it works",
	Authorization:  "the user may not do this; events wait until it may",
	MissingTopic:   "the topic does not exist; events wait until it does",
	NoLeader:       "the partition's leader is away or has moved",
	Replicas:       "too few replicas are in sync",
	Configuration:  "the brokers do not take what the sink is set to send; events wait until they do",
	BrokerError:    "the broker failed",
}

// Error is what became of a topic's or a partition's records.
type Error struct {
	Topic string
	// Partition is -1 where the whole topic is concerned.
	Partition int
	Reason    Reason
	Err       error
}

// Error says where, why and what.
func (e *Error) Error() string {
	where := "kafka topic " + e.Topic
	if e.Partition >= 0 {
		where = fmt.Sprintf("%s partition %d", where, e.Partition)
	}
	return fmt.Sprintf("%s: %s: %v", where, explanations[e.Reason], e.Err)
}

// Unwrap returns the client's or the broker's error.
func (e *Error) Unwrap() error { return e.Err }

// ErrorType is the reason, as telemetry's error.type.
func (e *Error) ErrorType() string { return string(e.Reason) }

// byCode classifies brokers' errors; what is not here is BrokerError.
var byCode = map[kafka.Error]Reason{
	kafka.MessageSizeTooLarge: Refused,
	kafka.RecordListTooLarge:  Refused,
	kafka.InvalidRecord:       Refused,
	kafka.InvalidTimestamp:    Refused,
	kafka.PolicyViolation:     Refused,

	kafka.RequestTimedOut: TimedOut,

	kafka.NetworkException:   Unreachable,
	kafka.BrokerNotAvailable: Unreachable,

	kafka.SASLAuthenticationFailed:           Authentication,
	kafka.UnsupportedSASLMechanism:           Authentication,
	kafka.IllegalSASLState:                   Authentication,
	kafka.DelegationTokenExpired:             Authentication,
	kafka.UnacceptableCredential:             Authentication,
	kafka.PrincipalDeserializationFailure:    Authentication,
	kafka.TopicAuthorizationFailed:           Authorization,
	kafka.ClusterAuthorizationFailed:         Authorization,
	kafka.GroupAuthorizationFailed:           Authorization,
	kafka.TransactionalIDAuthorizationFailed: Authorization,

	kafka.UnknownTopicOrPartition: MissingTopic,
	kafka.UnknownTopicID:          MissingTopic,
	kafka.InconsistentTopicID:     MissingTopic,

	kafka.LeaderNotAvailable:    NoLeader,
	kafka.NotLeaderForPartition: NoLeader,
	kafka.ReplicaNotAvailable:   NoLeader,
	kafka.FencedLeaderEpoch:     NoLeader,
	kafka.UnknownLeaderEpoch:    NoLeader,

	kafka.NotEnoughReplicas:            Replicas,
	kafka.NotEnoughReplicasAfterAppend: Replicas,

	kafka.InvalidTopic:                Configuration,
	kafka.InvalidRequiredAcks:         Configuration,
	kafka.UnsupportedVersion:          Configuration,
	kafka.UnsupportedForMessageFormat: Configuration,
	kafka.UnsupportedCompressionType:  Configuration,
	kafka.InvalidConfiguration:        Configuration,
	kafka.InvalidPartitionNumber:      Configuration,
	kafka.InvalidReplicationFactor:    Configuration,
}

// classify finds the reason of an error. PolicyViolation and the like are about
// the record only in the answer to a produce request, see [produceReason].
func classify(err error) Reason {
	var code kafka.Error
	if errors.As(err, &code) {
		if reason, ok := byCode[code]; ok {
			if reason == Refused {
				return Configuration
			}
			return reason
		}
		return BrokerError
	}
	var unrouted *produce.Error
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, errLogin), badCertificate(err):
		return Authentication
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return TimedOut
	case errors.Is(err, protocol.ErrNoTopic), errors.Is(err, protocol.ErrNoPartition):
		return MissingTopic
	case errors.Is(err, protocol.ErrNoLeader):
		return NoLeader
	case errors.As(err, &unrouted):
		return NoLeader // it has moved between the look and the request
	default:
		return Unreachable
	}
}

// produceReason classifies the code of a partition in the answer to a produce
// request; 0 is none of this function's.
func produceReason(code kafka.Error) Reason {
	if reason, ok := byCode[code]; ok {
		return reason
	}
	return BrokerError
}

// badCertificate reports whether one of the two ends did not trust the other, or
// does not speak TLS.
func badCertificate(err error) bool {
	var verification *tls.CertificateVerificationError
	var header tls.RecordHeaderError
	var unknown x509.UnknownAuthorityError
	var host x509.HostnameError
	var invalid x509.CertificateInvalidError
	var op *net.OpError
	return errors.As(err, &verification) || errors.As(err, &header) || errors.As(err, &unknown) ||
		errors.As(err, &host) || errors.As(err, &invalid) ||
		// crypto/tls reports the other end's alerts like this.
		errors.As(err, &op) && op.Op == "remote error"
}

// topicError wraps an error that concerns every record of a call.
func topicError(topic string, err error) *Error {
	return &Error{Topic: topic, Partition: -1, Reason: classify(err), Err: hint(err)}
}

// hint adds what a connection that is closed without a word may mean.
func hint(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return fmt.Errorf("%w (a broker closes the connection without a word when only one of the two uses TLS, or when it wants a login)", err)
	}
	return err
}
