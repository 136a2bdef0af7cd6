package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"

	"github.com/callpop/connector/schema"
)

// verdict is what the end of a connection means.
type verdict struct {
	state schema.SessionState
	// reason is one of a small set of words, for a metric's label.
	reason string
	// cause is in words for people.
	cause string
}

// classify says what an ending means for the agent's session: heard whether the
// server had been, pending how much of an unfinished frame had come.
func classify(e ending, heard bool, pending int) verdict {
	v := verdict{state: schema.Failed, reason: "other", cause: e.err.Error()}
	switch e.by {
	case connector:
		return verdict{schema.Closed, "closed", "closed by the connector"}
	case dial:
		v.reason, v.cause = classifyDial(e.err)
		return v
	case client:
		v.state, v.reason, v.cause = schema.Closed, "closed_by_desktop", "closed by the desktop"
		switch {
		case errors.Is(e.err, io.EOF):
		case isReset(e.err):
			v.reason, v.cause = "reset_by_desktop", "reset by the desktop"
		case errors.Is(e.err, syscall.ETIMEDOUT):
			v.reason, v.cause = "desktop_gone", "the desktop does not acknowledge any more"
		default:
			v.reason, v.cause = "other", fmt.Sprintf("the desktop's connection broke: %v", e.err)
		}
	case lqServer:
		v.state = schema.Reconnecting
		switch {
		case errors.Is(e.err, io.EOF) && pending > 0:
			v.reason = "closed_in_frame"
			v.cause = fmt.Sprintf("closed by the server inside a frame, %d bytes of it received", pending)
		case errors.Is(e.err, io.EOF):
			v.reason, v.cause = "closed_by_server", "closed by the server"
		case isReset(e.err):
			v.reason, v.cause = "reset", "reset by the server"
		case errors.Is(e.err, syscall.ETIMEDOUT):
			v.state, v.reason, v.cause = schema.Expired, "peer_gone", "the server does not acknowledge any more"
		}
	}
	if !heard {
		v.state = schema.Failed
		v.cause += " before anything was heard from the server"
	}
	return v
}

func classifyDial(err error) (reason, cause string) {
	var dns *net.DNSError
	cause = err.Error()
	switch {
	case errors.As(err, &dns):
		reason = "dns"
	case errors.Is(err, syscall.ECONNREFUSED):
		reason = "refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		reason = "unreachable"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		reason, cause = "descriptors", cause+": raise the limit of open files (ulimit -n)"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, syscall.ETIMEDOUT):
		reason = "timeout"
	default:
		reason = "other"
	}
	return reason, cause
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
