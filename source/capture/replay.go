package capture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/callpop/connector/source/frame"
)

const (
	// registerTimeout is how long a client may take to register.
	registerTimeout = 10 * time.Second
	// settle is how long to wait where a registration is whole but could go on, or
	// where the recorded client sent none.
	settle           = 200 * time.Millisecond
	defaultHeartbeat = 10 * time.Second
	replayWrite      = 5 * time.Second
	lingerAfterClose = time.Second
	// maxRegistration bounds what a client may send before it is known.
	maxRegistration = 64 << 10
)

// ReplayOptions configure a [Replay].
type ReplayOptions struct {
	// Listener takes the clients; the replay closes it.
	Listener net.Listener
	// Speed is how many times faster than recorded; 1 = as recorded, 0 = without
	// any pause.
	Speed float64
	// Strict closes the connection of a client that registers with other bytes than
	// those recorded, or made by their template. Else it gets what was recorded
	// next.
	Strict bool
	// Loop plays a connection again for a client that comes back. Else it gets
	// heartbeats alone.
	Loop  bool
	Hints Hints
	// OnPlayed, where not nil, is called when a connection has been played to its
	// end. Calls overlap.
	OnPlayed func(Played)
	Logger   *slog.Logger
}

// Played is a recorded connection that was played.
type Played struct {
	Connection int64
	// Agent is empty where it is not known. From is the client's address.
	Agent, From string
}

// Replay is the server of a transcript: it sends each client what the recorded
// server sent to the one who registered alike, byte for byte, and keeps it alive
// with heartbeats afterwards.
type Replay struct {
	options    ReplayOptions
	templates  []Template
	recordings []*recording
	heartbeat  time.Duration
	// done is closed when every recording has been played once.
	done chan struct{}

	mu   sync.Mutex // guards started of the recordings, and left
	left int        // recordings that have not been played to their end
}

// recording is one connection's server side.
type recording struct {
	number       int64
	registration []byte
	agent        string
	begun        time.Time
	entries      []Entry
	// serverEnds says that the server ended the connection, reset that it broke it.
	serverEnds, reset bool
	started, finished bool
}

// NewReplay makes the server of a transcript, which has to hold a connection.
func NewReplay(t *Transcript, o ReplayOptions) (*Replay, error) {
	if o.Speed < 0 {
		return nil, fmt.Errorf("speed is %v: expected 0 or more", o.Speed)
	}
	dialogues := takeAllApart(t)
	r := &Replay{options: o, heartbeat: defaultHeartbeat, done: make(chan struct{})}
	r.templates, _ = infer(dialogues, o.Hints)
	seats := seatsOf(dialogues, o.Hints)
	for _, d := range dialogues {
		if d.connection.Refused != "" {
			continue
		}
		if d.incomplete {
			o.Logger.Warn("replay: bytes are missing in a connection: frames near them may be wrong", "connection", d.connection.Number)
		}
		r.recordings = append(r.recordings, newRecording(d, seats[d.connection.Number].Agent))
	}
	if r.left = len(r.recordings); r.left == 0 {
		return nil, errors.New("the transcript holds no connection to play")
	}
	decoding, err := orDefault(nil)
	if err != nil {
		return nil, err
	}
	if seen := summarize(t, dialogues, o.Hints, decoding).Heartbeats.Interval; seen > 0 {
		r.heartbeat = min(max(seen, time.Second), time.Minute)
	}
	return r, nil
}

func newRecording(d *dialogue, agent string) *recording {
	c := d.connection
	r := &recording{number: c.Number, registration: d.registration, agent: agent, begun: c.Opened}
	clientEnded := false
	begun := false
	for _, e := range c.Entries {
		switch e.Kind {
		case Client:
			if !begun {
				begun, r.begun = true, e.At
			}
		case Server:
			r.entries = append(r.entries, e)
		case ClientEnd:
			clientEnded = true
		case ServerEnd:
			r.serverEnds = !clientEnded && e.Cause != causeStopped
			r.reset = r.serverEnds && e.Cause != causeClosed
		}
	}
	return r
}

// Done is closed when every recorded connection has been played once.
func (r *Replay) Done() <-chan struct{} { return r.done }

// Run serves until ctx is done, then closes every connection, waits for all it has
// started and returns nil. An error is the listener's.
func (r *Replay) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = r.options.Listener.Close() })
	defer stop()
	places := make(chan struct{}, MaxConnections)
	for {
		conn, err := r.options.Listener.Accept()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case isTemporary(err):
			select {
			case <-time.After(100 * time.Millisecond):
			case <-ctx.Done():
			}
			continue
		default:
			_ = r.options.Listener.Close()
			return fmt.Errorf("replay: accept at %s: %w", r.options.Listener.Addr(), err)
		}
		select {
		case places <- struct{}{}:
			all.Go(func() {
				defer func() { <-places }()
				r.serve(ctx, conn)
			})
		default:
			_ = conn.Close()
		}
	}
}

func (r *Replay) serve(ctx context.Context, conn net.Conn) {
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	log := r.options.Logger.With("from", conn.RemoteAddr().String())
	received, err := r.register(conn)
	if err != nil {
		log.Info("replay: a client left before it registered", "error", err)
		return
	}
	recording, agent, ok := r.choose(received)
	switch {
	case !ok:
		log.Warn("replay: the registration is none of those recorded: closed", "bytes", len(received))
		return
	case recording == nil:
		log.Info("replay: nothing is left to play: heartbeats alone", "agent", agent)
	default:
		log.Info("replay: plays", "agent", agent, "connection", recording.number)
	}
	// What a client says from here on is for the script to know, not for us.
	gone := make(chan struct{})
	_ = conn.SetReadDeadline(time.Time{})
	go func() {
		defer close(gone)
		var buffer [512]byte
		for {
			if _, err := conn.Read(buffer[:]); err != nil {
				return
			}
		}
	}()
	defer func() {
		_ = conn.Close()
		<-gone
	}()
	p := player{replay: r, conn: conn, gone: gone, edge: true}
	if recording != nil {
		if !p.play(ctx, recording) {
			return
		}
		r.finish(recording, conn.RemoteAddr().String())
		if recording.serverEnds {
			p.end(ctx, recording.reset)
			return
		}
	}
	p.keepAlive(ctx)
}

// register reads what a client sends first, until it is one of the registrations
// that are known, or cannot become one.
func (r *Replay) register(conn net.Conn) (received []byte, err error) {
	deadline := time.Now().Add(registerTimeout)
	buffer := make([]byte, 4096)
	for {
		whole, more := r.known(received)
		if whole && !more || !whole && !more && len(received) > 0 || len(received) > maxRegistration {
			return received, nil
		}
		until := deadline
		if soon := time.Now().Add(settle); whole && soon.Before(until) {
			until = soon
		}
		_ = conn.SetReadDeadline(until)
		n, err := conn.Read(buffer)
		received = append(received, buffer[:n]...)
		var timeout net.Error
		switch {
		case err == nil || n > 0:
		case errors.As(err, &timeout) && timeout.Timeout():
			return received, nil
		case whole && len(received) > 0: // a half close behind the registration
			return received, nil
		default:
			return nil, err
		}
	}
}

// known says whether received is a whole registration, and whether a longer one
// begins with it.
func (r *Replay) known(received []byte) (whole, more bool) {
	for _, recorded := range r.recordings {
		whole = whole || bytes.Equal(received, recorded.registration)
		more = more || len(received) < len(recorded.registration) && bytes.HasPrefix(recorded.registration, received)
	}
	for i := range r.templates {
		_, _, n, ok, longer := r.templates[i].registration.Match(received)
		whole = whole || ok && n == len(received) && n > 0
		more = more || longer
	}
	return whole, more
}

// choose finds what to play; ok is false for a client that is turned away. The
// recording is nil where the agent has none left.
func (r *Replay) choose(received []byte) (chosen *recording, agent string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fits := func(*recording) bool { return true }
	known := false
	for _, recorded := range r.recordings {
		if bytes.Equal(recorded.registration, received) {
			known, agent = true, recorded.agent
			fits = func(r *recording) bool {
				return bytes.Equal(r.registration, received) || agent != "" && r.agent == agent
			}
			break
		}
	}
	for i := range r.templates {
		if known {
			break
		}
		name, _, n, matched, _ := r.templates[i].registration.Match(received)
		if matched && n == len(received) && n > 0 {
			known, agent = true, name
			fits = func(r *recording) bool { return r.agent == agent }
		}
	}
	if !known && r.options.Strict {
		return nil, "", false
	}
	for range 2 {
		for _, recorded := range r.recordings {
			if !recorded.started && fits(recorded) {
				recorded.started = true
				return recorded, recorded.agent, true
			}
		}
		if !r.options.Loop {
			break
		}
		for _, recorded := range r.recordings {
			if fits(recorded) {
				recorded.started = false
			}
		}
	}
	return nil, agent, true
}

// finish books that a recording was played to its end.
func (r *Replay) finish(recorded *recording, from string) {
	r.mu.Lock()
	if !recorded.finished {
		recorded.finished = true
		if r.left--; r.left == 0 {
			close(r.done)
		}
	}
	r.mu.Unlock()
	if r.options.OnPlayed != nil {
		r.options.OnPlayed(Played{Connection: recorded.number, Agent: recorded.agent, From: from})
	}
}

// player plays to one client.
type player struct {
	replay *Replay
	conn   net.Conn
	// gone is closed when the client will send no more.
	gone    chan struct{}
	decoder frame.Decoder
	// edge says that what was sent ends with a whole frame.
	edge bool
}

// play sends what the server sent; false means that it could not be sent.
func (p *player) play(ctx context.Context, recorded *recording) bool {
	begun := time.Now()
	for _, e := range recorded.entries {
		if speed := p.replay.options.Speed; speed > 0 {
			due := begun.Add(time.Duration(float64(e.At.Sub(recorded.begun)) / speed))
			if !p.wait(ctx, time.Until(due)) {
				return false
			}
		}
		if !p.send(e.Data) {
			return false
		}
		p.follow(e.Data)
	}
	return true
}

// wait waits; false means that there is no use in going on.
func (p *player) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.gone:
	case <-ctx.Done():
	}
	return false
}

func (p *player) send(data []byte) bool {
	_ = p.conn.SetWriteDeadline(time.Now().Add(replayWrite))
	_, err := p.conn.Write(data)
	return err == nil
}

// follow finds out where the frames end.
func (p *player) follow(data []byte) {
	for len(data) > 0 {
		n := copy(p.decoder.Buffer(), data)
		p.decoder.Wrote(n)
		data = data[n:]
		for _, ok := p.decoder.Next(); ok; _, ok = p.decoder.Next() {
		}
	}
	p.edge = p.decoder.Pending() == 0
}

// end closes the connection as the server did.
func (p *player) end(ctx context.Context, broken bool) {
	if broken {
		reset(p.conn)
		return
	}
	if half, ok := p.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		p.wait(ctx, lingerAfterClose) // so that what was sent last is not lost to a reset
	}
}

// keepAlive sends heartbeats until the client leaves.
func (p *player) keepAlive(ctx context.Context) {
	for p.wait(ctx, p.replay.heartbeat) {
		if p.edge && !p.send([]byte(frame.Request)) {
			return
		}
	}
}
