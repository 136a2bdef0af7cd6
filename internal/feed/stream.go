package feed

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
)

const (
	// writeTimeout is how long a peer may take nothing before it is cut off. It
	// comes back and goes on where it was.
	writeTimeout = 10 * time.Second
	// retryMillis is how long an EventSource waits before it connects again.
	retryMillis = "2000"
)

// readyEvent is the data of the first event of each stream.
type readyEvent struct {
	Server           string  `json:"server"`
	Agent            string  `json:"agent"`
	Resume           resume  `json:"resume"`
	From             string  `json:"from,omitempty"`
	HeartbeatSeconds float64 `json:"heartbeat_seconds"`
	MaxAgeSeconds    float64 `json:"max_age_seconds"`
}

// stream is one open feed.
type stream struct {
	feed    *Feed
	w       http.ResponseWriter
	control *http.ResponseController
	queue   *queue
	// joined is the newest pop when the queue began: it has everything after.
	joined uint64
	// last is the sequence of the newest pop that was written or is known to have
	// been seen, lastSession that of the newest session event.
	last, lastSession uint64
	buffer            bytes.Buffer
}

// serveStream writes an agent's events as Server-Sent Events until the peer
// leaves, its token expires or the feed is closed.
func (f *Feed) serveStream(w http.ResponseWriter, r *http.Request) {
	a, err := f.admit(r, true)
	if err != nil {
		f.refuse(w, r, err)
		return
	}
	begin, err := parseStart(r, time.Now(), f.config.MaxSince)
	if err != nil {
		f.refuse(w, r, err)
		return
	}
	if r.Method == http.MethodHead {
		eventStream(w)
		return
	}
	if !f.enter() {
		f.refuse(w, r, &refusal{http.StatusServiceUnavailable, "closed", "the connector is stopping"})
		return
	}
	defer f.under.Done()
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(f.life, cancel)()
	if !a.until.IsZero() {
		defer time.AfterFunc(time.Until(a.until), cancel).Stop()
	}
	queue, joined, err := f.hub.join(a.agent, f.config.MaxConnections, f.config.MaxPerAgent)
	if err != nil {
		f.refuse(w, r, err)
		return
	}
	defer f.hub.leave(queue)
	f.metrics.open(ctx, 1)
	defer f.metrics.open(context.WithoutCancel(ctx), -1)
	s := &stream{feed: f, w: w, control: http.NewResponseController(w), queue: queue, joined: joined, last: joined}
	if err := s.begin(ctx, begin); err != nil {
		f.refuse(w, r, err)
		return
	}
	s.live(ctx)
}

func eventStream(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // a proxy that gathers events would delay them
}

func (s *stream) line(t schema.Type) spool.AgentLine {
	return spool.AgentLine{Type: t, Server: s.queue.agent.server, Agent: s.queue.agent.agent}
}

// read waits until few enough reads of the spool are under way and makes one.
func (s *stream) read(ctx context.Context, one func() ([]spool.Record, error)) ([]spool.Record, error) {
	select {
	case s.feed.reads <- struct{}{}:
		defer func() { <-s.feed.reads }()
		return one()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// catchUp writes what the spool has of the agent after the last event written.
func (s *stream) catchUp(ctx context.Context) error {
	for {
		records, err := s.read(ctx, func() ([]spool.Record, error) {
			return s.feed.spool.AgentEvents(ctx, s.line(schema.TypeCallPop), s.last)
		})
		if err != nil || len(records) == 0 {
			return err
		}
		for _, r := range records {
			s.pass(ctx, r)
		}
		if err := s.flush(); err != nil {
			return err
		}
	}
}

// live writes what comes until ctx is done or the peer takes nothing more.
func (s *stream) live(ctx context.Context) {
	heartbeat := time.NewTimer(s.feed.config.Heartbeat)
	defer heartbeat.Stop()
	for {
		if s.flush() != nil {
			return
		}
		heartbeat.Reset(s.feed.config.Heartbeat)
		select {
		case <-ctx.Done():
			return
		case <-heartbeat.C:
			s.buffer.WriteString(":\n\n")
		case <-s.queue.ready:
			if !s.drain(ctx) {
				return
			}
		}
	}
}

// drain writes what is queued, or, where that did not fit, what the spool has.
func (s *stream) drain(ctx context.Context) bool {
	records, behind := s.feed.hub.take(s.queue)
	for _, r := range records {
		s.pass(ctx, r)
	}
	if !behind {
		return true
	}
	s.feed.metrics.fellBehind(ctx)
	if s.catchUp(ctx) != nil {
		return false
	}
	var session spool.Record
	_, err := s.read(ctx, func() (_ []spool.Record, err error) {
		session, _, err = s.feed.spool.LatestOfAgent(ctx, s.line(schema.TypeSessionChanged))
		return nil, err
	})
	if len(session.Body) > 0 {
		s.pass(ctx, session)
	}
	return err == nil
}

// pass puts a record into the buffer unless it was written already.
func (s *stream) pass(ctx context.Context, r spool.Record) {
	if r.Type == schema.TypeSessionChanged {
		if r.Sequence > s.lastSession {
			s.lastSession = r.Sequence
			s.event("session", "", r.Body)
		}
		return
	}
	if r.Sequence <= s.last {
		return
	}
	s.last = r.Sequence
	age := time.Since(r.Time)
	name := "pop"
	if isLate(age, s.feed.config) {
		name = "late"
	}
	s.event(name, r.SpoolSequence, r.Body)
	s.feed.metrics.sent(ctx, name, age)
}

func isLate(age time.Duration, c Config) bool { return age > c.MaxAge }

// event puts an event into the buffer. One without data sets the reader's last id
// and is otherwise nothing to it.
func (s *stream) event(name, id string, data []byte) {
	b := &s.buffer
	if id != "" {
		b.WriteString("id: ")
		b.WriteString(id)
		b.WriteByte('\n')
	}
	if name != "" {
		b.WriteString("event: ")
		b.WriteString(name)
		b.WriteByte('\n')
		// A body has no line ends, but what reads as one must not end the line.
		for line := range bytes.SplitSeq(bytes.ReplaceAll(data, []byte("\r"), []byte("\n")), []byte("\n")) {
			b.WriteString("data: ")
			b.Write(line)
			b.WriteByte('\n')
		}
	}
	b.WriteByte('\n')
}

// flush writes the buffer, which it then lets go of: thousands of streams wait
// most of the time.
func (s *stream) flush() error {
	if s.buffer.Len() == 0 {
		return nil
	}
	_ = s.control.SetWriteDeadline(time.Now().Add(s.feed.writeTimeout))
	_, err := s.w.Write(s.buffer.Bytes())
	if err == nil {
		err = s.control.Flush()
	}
	// In HTTP/2 a time that passes ends the stream, written or not.
	_ = s.control.SetWriteDeadline(time.Time{})
	s.buffer = bytes.Buffer{}
	return err
}
