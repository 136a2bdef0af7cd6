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
)

const (
	// registerTimeout is how long a client may take to register.
	registerTimeout = 10 * time.Second
	// settle is how long to wait where a registration is whole but could go on, or
	// where the recorded client sent none.
	settle = 200 * time.Millisecond
	// betweenPieces is how long a registration that has begun may stand still.
	betweenPieces    = time.Second
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
