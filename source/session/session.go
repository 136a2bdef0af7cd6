package session

import (
	"bytes"
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/frame"
)

// taker is what a session hands its pops to: [source.Intake].
type taker interface {
	Pop(o *source.Origin, at time.Time, raw []byte)
	DeadLetter(o *source.Origin, at time.Time, raw []byte, reason, detail string)
}

// sessions is what all sessions of one source share.
type sessions struct {
	dialer   net.Dialer
	target   atomic.Pointer[target]
	expiry   *Expiry
	intake   taker
	counters *counters
	start    time.Time

	// pausing is set while all sessions are to wait, see pause.
	pausing atomic.Pointer[pause]

	mu   sync.Mutex // guards live
	live map[*reader]struct{}
}

// target is what new sessions connect to, and how.
type target struct {
	address      string
	registration frame.Registration
}

// same reports whether a session of agent would be just the same with other.
func (t *target) same(other *target, agent, channel string) bool {
	return t.address == other.address &&
		bytes.Equal(t.registration.Append(nil, agent, channel), other.registration.Append(nil, agent, channel))
}

// connectTimeout bounds connecting and registering; a server that is slower than
// this to accept will not be quick enough to pop.
const connectTimeout = 10 * time.Second

// connect dials and registers; a [source.Connect].
func (s *sessions) connect(ctx context.Context, o *source.Origin) (source.Session, error) {
	timed, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	to := s.target.Load()
	conn, err := s.dialer.DialContext(timed, "tcp", to.address)
	if err != nil {
		return nil, classify(cause(ctx, err), phase{})
	}
	r := &reader{sessions: s, origin: o, conn: conn.(*net.TCPConn)} // which "tcp" always gives
	if err := r.register(timed, to.registration); err != nil {
		_ = conn.Close()
		return nil, classify(cause(ctx, err), phase{})
	}
	s.join(r)
	return r, nil
}

func (r *reader) register(ctx context.Context, registration frame.Registration) error {
	deadline, _ := ctx.Deadline()
	if err := r.conn.SetWriteDeadline(deadline); err != nil {
		return err
	}
	if _, err := r.conn.Write(registration.Append(nil, r.origin.Agent, r.origin.Channel)); err != nil {
		return err
	}
	return r.conn.SetWriteDeadline(time.Time{}) // from here on the watch sets them
}

// cause is ctx's error where that is why anything failed.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// leaveTime is how long a session that is to end still reads: what the server had
// sent before it learns of the end is in the socket's buffer, and never sent again.
const leaveTime = time.Second

// Leave tells the server that the session ends, and gives the reader leaveTime to
// come to the last byte; see [source.Session].
func (r *reader) Leave() {
	if r.leaving.Swap(true) {
		return
	}
	if r.parted.Load() {
		return // whose socket it is now decides
	}
	_ = r.conn.CloseWrite()
	_ = r.conn.SetReadDeadline(time.Now().Add(leaveTime))
}

// end closes the session, keeps the bytes of a frame that did not become whole,
// and says why it ended.
func (r *reader) end(err error) error {
	if r.parted.Load() {
		r.part(r)
		_ = r.conn.Close() // this process's hold on it
		return source.ErrParted
	}
	if r.leaving.Load() {
		err = context.Canceled
	}
	r.part(r)
	_ = r.conn.Close()
	pending := r.decoder.Pending()
	if pending > 0 {
		r.intake.DeadLetter(r.origin, r.lastHeard, r.decoder.Rest(), schema.ReasonCutFrame,
			"the session ended inside this frame: its first byte says how long it should be")
	}
	return classify(err, phase{heard: r.lastHeard, pending: pending, expiry: r.expiry.Of()})
}
