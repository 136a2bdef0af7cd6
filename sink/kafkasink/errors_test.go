package kafkasink

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/produce"
)

func TestEachWayToFailHasItsReason(t *testing.T) {
	for _, test := range []struct {
		err  error
		want Reason
	}{
		{io.EOF, Unreachable},
		{io.ErrUnexpectedEOF, Unreachable},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, Unreachable},
		{&net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}, Unreachable},
		{&net.DNSError{Err: "no such host", Name: "kafka"}, Unreachable},
		{&net.OpError{Op: "remote error", Err: errors.New("tls: certificate required")}, Authentication},
		{x509.UnknownAuthorityError{}, Authentication},
		{x509.HostnameError{Certificate: &x509.Certificate{}, Host: "kafka"}, Authentication},
		{fmt.Errorf("%w: read sasl.password_file", errLogin), Authentication},
		{kafka.SASLAuthenticationFailed, Authentication},
		{context.DeadlineExceeded, TimedOut},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, TimedOut},
		{context.Canceled, Canceled},
		{produce.NewError(protocol.NewErrNoTopic("t")), MissingTopic},
		{produce.NewError(protocol.NewErrNoLeader("t", 1)), NoLeader},
		{produce.NewError(errors.New("mismatching leaders (1!=2)")), NoLeader},
		{kafka.BrokerNotAvailable, Unreachable},
		// Outside an answer to a produce request, a policy is about topics.
		{kafka.PolicyViolation, Configuration},
		{kafka.Unknown, BrokerError},
	} {
		for _, err := range []error{test.err, fmt.Errorf("wrapped: %w", test.err)} {
			if got := classify(err); got != test.want {
				t.Errorf("%v: got %s, want %s", err, got, test.want)
			}
		}
	}
}

func TestEveryReasonIsExplained(t *testing.T) {
	for code, reason := range byCode {
		if explanations[reason] == "" {
			t.Errorf("%v: reason %q has no explanation", code, reason)
		}
	}
	if got := topicError("t", io.ErrUnexpectedEOF).Error(); !strings.Contains(got, "wants a login") {
		t.Errorf("a connection closed without a word: got %q, want what it may mean", got)
	}
}
