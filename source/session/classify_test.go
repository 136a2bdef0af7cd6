package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
)

func TestEveryWayASocketDiesIsClassified(t *testing.T) {
	up := phase{heard: time.Now(), expiry: 30 * time.Second}
	cut := phase{heard: time.Now(), pending: 12, expiry: 30 * time.Second}
	silent := phase{expiry: 30 * time.Second}
	op := func(err error) error {
		return &net.OpError{Op: "read", Net: "tcp", Err: os.NewSyscallError("read", err)}
	}
	for _, c := range []struct {
		name   string
		err    error
		phase  phase
		state  schema.SessionState
		reason string
		cause  string
	}{
		{"EOF at a frame's edge", io.EOF, up, schema.Reconnecting, "closed_by_server", "closed by the server"},
		{"EOF inside a frame", io.EOF, cut, schema.Reconnecting, "closed_in_frame", "inside a frame, 12 bytes of it received"},
		{"EOF before anything was heard", io.EOF, silent, schema.Failed, "closed_by_server", "closed by the server"},
		{"reset", op(syscall.ECONNRESET), up, schema.Reconnecting, "reset", "connection reset"},
		{"reset before anything was heard", op(syscall.ECONNRESET), silent, schema.Failed, "reset", "connection reset"},
		{"broken pipe", op(syscall.EPIPE), up, schema.Reconnecting, "reset", "broken pipe"},
		{"refused", op(syscall.ECONNREFUSED), silent, schema.Failed, "refused", "connection refused"},
		{"no route", op(syscall.EHOSTUNREACH), silent, schema.Failed, "unreachable", "no route to host"},
		{"unknown name", &net.DNSError{Name: "lq", Err: "no such host"}, silent, schema.Failed, "dns", "no such host"},
		{"no descriptors", op(syscall.EMFILE), silent, schema.Failed, "descriptors", "ulimit -n"},
		{"silent", fmt.Errorf("read: %w", os.ErrDeadlineExceeded), up, schema.Expired, "silent", "no heartbeat for 30s"},
		{"accepted and never heard", fmt.Errorf("read: %w", os.ErrDeadlineExceeded), silent, schema.Failed, "never_heard", "nothing was heard for 30s"},
		{"keepalive", op(syscall.ETIMEDOUT), up, schema.Expired, "peer_gone", "timed out"},
		{"dial time-out", context.DeadlineExceeded, phase{}, schema.Failed, "timeout", "deadline exceeded"},
		{"our own end", context.Canceled, up, schema.Closed, "closed", "closed by the connector"},
		{"anything else", errors.New("the moon"), up, schema.Reconnecting, "other", "the moon"},
	} {
		got := classify(c.err, c.phase)
		if got.State != c.state || got.Reason != c.reason || !strings.Contains(got.Error(), c.cause) {
			t.Errorf("%s: got %s, %s, %v; want %s, %s, %q", c.name, got.State, got.Reason, got, c.state, c.reason, c.cause)
		}
		if got.LastHeard != c.phase.heard {
			t.Errorf("%s: last heard %v, want %v", c.name, got.LastHeard, c.phase.heard)
		}
	}
}

func TestExpiryIsTheLongerOfTheSettingAndThreeHeartbeats(t *testing.T) {
	e := NewExpiry(30 * time.Second)
	for _, c := range []struct{ saw, want time.Duration }{
		{5 * time.Second, 30 * time.Second},
		{20 * time.Second, time.Minute},
		{10 * time.Second, time.Minute}, // the longest counts
		{2 * time.Minute, 6 * time.Minute},
	} {
		e.Saw(c.saw)
		if got := e.Of(); got != c.want {
			t.Errorf("after %v: %v, want %v", c.saw, got, c.want)
		}
	}
	never := NewExpiry(0)
	never.Saw(time.Hour)
	if got := never.Of(); got != 0 {
		t.Errorf("0 became %v, want never", got)
	}
}
