package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
)

// phase is how far a session had come when it ended.
type phase struct {
	// heard is when the server was last heard; zero if never.
	heard time.Time
	// pending is the length of the unfinished frame.
	pending int
	// expiry is the silence that was allowed.
	expiry time.Duration
}

// classify says what an error means for the session: the one place that knows the
// ways in which a socket dies.
func classify(err error, p phase) *source.Ended {
	end := &source.Ended{State: schema.Reconnecting, LastHeard: p.heard, Err: err}
	up := !p.heard.IsZero()
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		end.State, end.Reason, end.Err = schema.Closed, "closed", errors.New("closed by the connector")
		return end
	case errors.As(err, &dns):
		end.Reason = "dns"
	case errors.Is(err, syscall.ECONNREFUSED):
		end.Reason = "refused"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		end.Reason = "unreachable"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		end.Reason = "descriptors"
		end.Err = fmt.Errorf("%w: raise the limit of open files (ulimit -n)", err)
	case errors.Is(err, io.EOF) && p.pending > 0:
		end.Reason = "closed_in_frame"
		end.Err = fmt.Errorf("closed by the server inside a frame, %d bytes of it received", p.pending)
	case errors.Is(err, io.EOF):
		end.Reason = "closed_by_server"
		end.Err = errors.New("closed by the server")
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		end.Reason = "reset"
	case errors.Is(err, syscall.ETIMEDOUT):
		// Keepalive or TCP_USER_TIMEOUT: the peer does not acknowledge any more.
		end.Reason = "peer_gone"
		if up {
			end.State = schema.Expired
		}
	case errors.Is(err, os.ErrDeadlineExceeded) && p.expiry > 0:
		end.Reason = "silent"
		end.State = schema.Expired
		end.Err = fmt.Errorf("no heartbeat for %v", p.expiry)
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		end.Reason = "timeout"
	default:
		end.Reason = "other"
	}
	if !up {
		end.State = schema.Failed
		if end.Reason == "silent" {
			end.Reason = "never_heard"
			end.Err = fmt.Errorf("accepted, but nothing was heard for %v", p.expiry)
		}
	}
	return end
}
