package session

import (
	"context"
	"net"
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
	address      string
	dialer       net.Dialer
	registration frame.Registration
	expiry       *Expiry
	intake       taker
	counters     *counters
}

// dialTimeout bounds the connecting alone; a server that is slower than this to
// accept will not be quick enough to pop.
const dialTimeout = 10 * time.Second

// writeTimeout bounds the answer to a heartbeat. Seven bytes fit any socket's
// buffer, unless the peer has not read for minutes.
const writeTimeout = 10 * time.Second

// attempt is one session from dial to end; a [source.Attempt].
func (s *sessions) attempt(ctx context.Context, o *source.Origin, heard func()) error {
	dialled, cancel := context.WithTimeout(ctx, dialTimeout)
	conn, err := s.dialer.DialContext(dialled, "tcp", s.address)
	cancel()
	if err != nil {
		return classify(err, phase{})
	}
	stop := context.AfterFunc(ctx, func() { leave(conn) })
	defer func() {
		stop()
		_ = conn.Close()
	}()
	if err := s.register(conn, o); err != nil {
		return classify(err, phase{})
	}
	r := reader{sessions: s, origin: o, conn: conn}
	err = r.read(ctx, heard)
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	if pending := r.decoder.Pending(); pending > 0 {
		s.intake.DeadLetter(o, r.lastHeard, r.decoder.Rest(), schema.ReasonCutFrame,
			"the session ended inside this frame: its first byte says how long it should be")
	}
	return classify(err, phase{heard: r.lastHeard, pending: r.decoder.Pending(), expiry: s.expiry.Of()})
}

// leaveTime is how long a session that is to end still reads: what the server had
// sent before it learns of the end is in the socket's buffer, and never sent again.
const leaveTime = time.Second

// leave tells the server that the session ends, and gives the reader leaveTime to
// come to the last byte.
func leave(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.CloseWrite()
	}
	_ = conn.SetReadDeadline(time.Now().Add(leaveTime))
}

func (s *sessions) register(conn net.Conn, o *source.Origin) error {
	if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	_, err := conn.Write(s.registration.Append(nil, o.Agent, o.Channel))
	return err
}

// reader is one session's loop. It only frames, answers heartbeats and hands on:
// what costs more is done by the intake's workers, so that the goroutine keeps
// its first, small stack.
type reader struct {
	*sessions
	origin  *source.Origin
	conn    net.Conn
	decoder frame.Decoder
	// lastHeard is when the last bytes came; lastBeat the last TRY_REQ.
	lastHeard, lastBeat time.Time
	// skipped counts the bytes lost since framing was.
	skipped int
}

// read returns the error that ended the session, never nil. Once ctx is done, leave
// has set the last deadline.
func (r *reader) read(ctx context.Context, heard func()) error {
	for {
		var deadline time.Time
		if expiry := r.expiry.Of(); expiry > 0 {
			deadline = time.Now().Add(expiry)
		}
		if ctx.Err() == nil {
			if err := r.conn.SetReadDeadline(deadline); err != nil {
				return err
			}
			if ctx.Err() != nil { // since the look before: our deadline may have come after leave's
				leave(r.conn)
			}
		}
		n, err := r.conn.Read(r.decoder.Buffer())
		if n > 0 {
			first := r.lastHeard.IsZero()
			r.lastHeard = time.Now()
			if first {
				heard()
			}
			r.decoder.Wrote(n)
			// A session that leaves cannot answer any more, and reads on.
			if err := r.frames(); err != nil && ctx.Err() == nil {
				return err
			}
		}
		if err != nil {
			return err
		}
	}
}

// frames handles every frame that is complete.
func (r *reader) frames() error {
	for {
		f, ok := r.decoder.Next()
		if !ok {
			return nil
		}
		switch f.Kind {
		case frame.Heartbeat:
			if err := r.answer(); err != nil {
				return err
			}
		case frame.Pop:
			r.intake.Pop(r.origin, r.lastHeard, f.Data)
		case frame.Skipped:
			r.skip(f.Data)
		case frame.Empty:
			r.counters.empty()
		}
	}
}

var reply = []byte(frame.Reply)

// answer sends TRY_REP. It comes before anything else that a heartbeat causes: an
// agent whose client does not answer may be signed out.
func (r *reader) answer() error {
	if err := r.conn.SetWriteDeadline(r.lastHeard.Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := r.conn.Write(reply); err != nil {
		return err
	}
	r.counters.beat()
	if !r.lastBeat.IsZero() {
		r.expiry.Saw(r.lastHeard.Sub(r.lastBeat))
	}
	r.lastBeat = r.lastHeard
	r.skipped = 0
	return nil
}

// maxSkipped bounds the dead letters of one loss of framing: a peer that speaks
// another protocol must not fill the log.
const maxSkipped = 16 << 10

// skip keeps what was skipped while looking for the next heartbeat.
func (r *reader) skip(data []byte) {
	if r.skipped < maxSkipped {
		detail := "framing was lost: these bytes were skipped on the way to the next TRY_REQ"
		if r.skipped+len(data) >= maxSkipped {
			detail += "; what follows until then is not kept"
		}
		r.intake.DeadLetter(r.origin, r.lastHeard, data, schema.ReasonLostFraming, detail)
	}
	r.skipped += len(data)
}

// Expiry is how long a server may be silent: the longer of the configured time
// and three times the longest interval seen between its heartbeats, on any
// session. It is shared by all sessions with one server.
type Expiry struct {
	after   time.Duration
	longest atomic.Int64
}

// NewExpiry makes an Expiry of at least after; 0 = never.
func NewExpiry(after time.Duration) *Expiry { return &Expiry{after: after} }

// Of is the time now in force; 0 = never.
func (e *Expiry) Of() time.Duration {
	if e.after == 0 {
		return 0
	}
	return max(e.after, 3*time.Duration(e.longest.Load()))
}

// Saw notes the time between two heartbeats of one session.
func (e *Expiry) Saw(interval time.Duration) {
	for {
		longest := e.longest.Load()
		if int64(interval) <= longest || e.longest.CompareAndSwap(longest, int64(interval)) {
			return
		}
	}
}
