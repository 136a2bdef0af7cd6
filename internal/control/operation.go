package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// Host is what operations work on.
type Host struct {
	Spool *spool.Spool
	// Sinks gives the names of the configured sinks; nil where no configuration is
	// known.
	Sinks func() []string
	// OpenSink gives a configured sink; the error of a name that is not configured
	// is a [Wrong] one. nil where no configuration is known.
	OpenSink func(name string) (Target, error)
	// Decode makes the event of an undecodable pop's dead letter, with the
	// configuration of the source that it came through. nil where no configuration
	// is known.
	Decode func(letter *schema.DeadLetter) (schema.Event, error)
	// Daemon is the connector that has the spool open; nil in a command that has.
	Daemon Daemon
	// LogLevel is the level of the running connector's log, and Log that log; nil
	// where no connector runs.
	LogLevel *slog.LevelVar
	Log      *slog.Logger
}

// Target is a sink to send to.
type Target struct {
	Sink sink.Sink
	// Types are the event types that it takes.
	Types []schema.Type
	// Release is called once, when it is no longer needed.
	Release func()
}

// errNoConfig is for what needs more than the directory.
var errNoConfig = Wrong(errors.New("this needs --config: the directory alone says nothing of sinks and sources"))

// openSink gives a sink that takes events of type t.
func (h *Host) openSink(name string, t schema.Type) (Target, error) {
	if h.OpenSink == nil {
		return Target{}, errNoConfig
	}
	target, err := h.OpenSink(name)
	if err != nil {
		return Target{}, err
	}
	for _, taken := range target.Types {
		if taken == t {
			return target, nil
		}
	}
	target.Release()
	return Target{}, Wrong(fmt.Errorf("sink %s does not take events of type %s", name, t))
}

// Operation is something that can be asked of a spool: P is the request, M each
// part of the answer. Both are JSON.
type Operation[P, M any] struct {
	name string
	// live operations tell how far they are: each part is sent at once.
	live bool
	// run gives the parts to yield, whose error ends it.
	run func(ctx context.Context, h *Host, request P, yield func(M) error) error
}

// wrongError is a request that is at fault itself.
type wrongError struct{ err error }

func (e *wrongError) Error() string { return e.err.Error() }
func (e *wrongError) Unwrap() error { return e.err }

// Wrong marks err as the fault of the request. Wrong(nil) is nil.
func Wrong(err error) error {
	if err == nil {
		return nil
	}
	return &wrongError{err}
}

// IsWrong reports whether err was marked by [Wrong], here or at the other end of
// the socket.
func IsWrong(err error) bool {
	var w *wrongError
	return errors.As(err, &w)
}

// Client gets operations done, see [Local] and [Remote].
type Client interface {
	// Place says in words how the spool is reached.
	Place() string
	// Close lets go of it; it is safe to call twice.
	Close(ctx context.Context) error

	// host is that of a spool in this process, else nil.
	host() *Host
	// request asks the other process; it gives each part as JSON.
	request(ctx context.Context, name string, request any, yield func(json.RawMessage) error) error
}

// Call has c do op. It gives each part of the answer to yield, whose error ends
// the operation and is returned.
func Call[P, M any](ctx context.Context, c Client, op Operation[P, M], request P, yield func(M) error) error {
	if h := c.host(); h != nil {
		return op.run(ctx, h, request, yield)
	}
	return c.request(ctx, op.name, request, func(text json.RawMessage) error {
		var part M
		if err := json.Unmarshal(text, &part); err != nil {
			return fmt.Errorf("%s: the connector's answer is not understood: %w", op.name, err)
		}
		return yield(part)
	})
}

// CallOne is Call for an operation whose last part is all that matters.
func CallOne[P, M any](ctx context.Context, c Client, op Operation[P, M], request P) (last M, err error) {
	err = Call(ctx, c, op, request, func(part M) error {
		last = part
		return nil
	})
	return last, err
}
