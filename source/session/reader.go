package session

import (
	"net"
	"sync/atomic"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/frame"
)

// reader is one session: its socket, the half-read frame in its decoder, and the
// loop on them. It only frames, answers heartbeats and hands on: what costs more is
// done by the intake's workers or apart, so that the goroutine keeps its first, small
// stack. Where that has grown all the same, the loop goes on with a new goroutine once
// the next heartbeat is answered: two kilobytes a session, which are a quarter of all
// that it takes.
type reader struct {
	*sessions
	origin  *source.Origin
	conn    *net.TCPConn
	decoder frame.Decoder
	// leaving is set once the session is to end.
	leaving atomic.Bool
	// lastHeard is when the last bytes came; lastBeat the last TRY_REQ.
	lastHeard, lastBeat time.Time
	// parked is what the session waits in, between two reads; see pause.
	parked      atomic.Pointer[pause]
	interrupted atomic.Bool // its read was ended for that
	// parted is set once the socket is another process's.
	parted atomic.Bool
	// heardAt is lastHeard for the watch, since the source's start.
	heardAt atomic.Int64
	// skipped counts the bytes lost since framing was.
	skipped int
	// grown: the stack may be larger than a new one's.
	grown bool
}

var reply = []byte(frame.Reply)

// Read is the session's life; see [source.Session]. It is one flat loop, because a
// call more on the way to the socket would double the stack of every session.
func (r *reader) Read(heard func()) error {
	for {
		n, err := r.conn.Read(r.decoder.Buffer())
		renew := false
		if n > 0 {
			first := r.lastHeard.IsZero()
			r.hear(n)
			if first {
				heard()
			}
			for {
				f, ok := r.decoder.Next()
				if !ok {
					break
				}
				if f.Kind != frame.Heartbeat {
					r.take(f)
					continue
				}
				// The answer comes before anything else that a heartbeat causes: an agent
				// whose client does not answer may be signed out. A session that leaves
				// cannot answer any more, and reads on.
				if _, broken := r.conn.Write(reply); broken != nil && !r.leaving.Load() {
					err = broken
				}
				renew = r.beat() || renew
			}
		}
		if err != nil && !r.paused(err) {
			return r.end(err)
		}
		if renew {
			return source.ErrAgain
		}
	}
}

// hear notes that n bytes came.
func (r *reader) hear(n int) {
	r.decoder.Wrote(n)
	r.lastHeard = time.Now()
	r.heardAt.Store(int64(r.lastHeard.Sub(r.start)))
}

// take hands on what is no heartbeat.
func (r *reader) take(f frame.Frame) {
	r.grown = true
	switch f.Kind {
	case frame.Pop:
		r.intake.Pop(r.origin, r.lastHeard, f.Data)
	case frame.Skipped:
		r.skip(f.Data)
	case frame.Empty:
		r.counters.empties.Add(1)
	}
}

// beat notes an answered heartbeat, and reports whether to go on with a new goroutine.
func (r *reader) beat() (renew bool) {
	r.counters.answered(time.Since(r.lastHeard))
	if !r.lastBeat.IsZero() {
		r.expiry.Saw(r.lastHeard.Sub(r.lastBeat))
	}
	// A session may have begun with a large stack, among many that were opened.
	renew, r.grown = r.grown, r.lastBeat.IsZero()
	r.lastBeat = r.lastHeard
	r.skipped = 0
	return renew
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
