package lqsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/callpop/connector/source/frame"
)

// Server is a scripted LQ server (manual chapter 7). Its methods may be called
// from any goroutine, while [Server.Run] runs.
type Server struct {
	opts         Options
	registration frame.Registration
	address      net.Addr
	known        map[string]bool // nil: every agent may register

	// listeners hands a listener to Run: the first one, and each that follows a
	// Refuse(false).
	listeners chan net.Listener

	// mu guards all below, and every session's and agent's fields that say so.
	mu       sync.Mutex
	listener net.Listener // nil while refusing, and once stopped
	stopped  bool
	muted    bool
	hangUp   bool
	sockets  map[*session]struct{} // every open one, registered or not
	agents   map[string]*agent
	totals   Totals
	ended    []Session // a ring of Options.History, its oldest at endedAt once full
	endedAt  int
	sent     []Sent
	sequence uint64
	// changed is closed and forgotten at each change, nil while nobody waits.
	changed chan struct{}
}

// agent is one agent's record. Server.mu guards it.
type agent struct {
	Agent
	silent   bool
	sessions []*session // live, oldest first: pops go to the last
}

// New listens. The port is taken from here on, but connections are served from
// [Server.Run] on. A server that will not run is given up by a Run with a context
// that is done.
func New(opts Options) (*Server, error) {
	opts, registration, err := opts.withDefaults()
	if err != nil {
		return nil, err
	}
	listener := opts.Listener
	if listener == nil {
		if listener, err = listen(opts.Address); err != nil {
			return nil, err
		}
	}
	s := &Server{
		opts:         opts,
		registration: registration,
		address:      listener.Addr(),
		listeners:    make(chan net.Listener, 1),
		listener:     listener,
		sockets:      make(map[*session]struct{}),
		agents:       make(map[string]*agent),
	}
	if len(opts.Agents) > 0 {
		s.known = make(map[string]bool, len(opts.Agents))
		for _, id := range opts.Agents {
			s.known[id] = true
		}
	}
	s.listeners <- listener
	return s, nil
}

// listen listens without TCP keepalive: what the script does not send, the
// simulator does not send.
func listen(address string) (net.Listener, error) {
	lc := net.ListenConfig{KeepAlive: -1}
	listener, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("lq server: %w", err)
	}
	return listener, nil
}

// Addr is where the server listens, also while it refuses.
func (s *Server) Addr() net.Addr { return s.address }

// Run serves until ctx is done, then closes every socket, waits for all its
// goroutines and returns nil. An error is the listener's. It may be called once.
func (s *Server) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() {
		<-ctx.Done()
		s.stop()
	})
	var err error
	for err == nil && ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case listener := <-s.listeners:
			err = s.accept(ctx, listener, &wg)
		}
	}
	cancel()
	wg.Wait()
	return err
}

// stop closes the listener and every socket.
func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	if s.listener != nil {
		_ = s.listener.Close()
		s.listener = nil
	}
	for socket := range s.sockets {
		s.endLocked(socket, EndStopped)
		socket.wakeLocked()
		_ = socket.conn.Close()
	}
	s.notifyLocked()
}

// accept takes connections until the listener is closed, which is no error.
func (s *Server) accept(ctx context.Context, listener net.Listener, wg *sync.WaitGroup) error {
	const longest = time.Second
	var pause time.Duration
	for {
		conn, err := listener.Accept()
		switch {
		case err == nil:
			pause = 0
			s.admit(conn, wg)
		case errors.Is(err, net.ErrClosed) || ctx.Err() != nil:
			return nil
		case isTemporary(err):
			// Out of descriptors: those that end make room.
			pause = min(max(2*pause, 5*time.Millisecond), longest)
			timer := time.NewTimer(pause)
			select {
			case <-ctx.Done():
			case <-timer.C:
			}
			timer.Stop()
		default:
			return fmt.Errorf("lq server: accept at %s: %w", s.address, err)
		}
	}
}

// admit starts a socket's goroutine, or turns the socket away.
func (s *Server) admit(conn net.Conn, wg *sync.WaitGroup) {
	s.mu.Lock()
	s.totals.Accepted++
	socket := &session{server: s, conn: conn, muted: s.muted}
	socket.info.Number = int64(s.totals.Accepted)
	socket.info.Remote = remote(conn)
	if s.stopped {
		s.mu.Unlock()
		_ = conn.Close()
		return
	}
	s.sockets[socket] = struct{}{}
	hangUp := s.hangUp
	if socket.muted && !hangUp {
		s.totals.Muted++
	}
	s.notifyLocked()
	s.mu.Unlock()

	if hangUp {
		socket.finish(EndHungUp)
		return
	}
	wg.Go(socket.run)
}

// Refuse switched on stops listening, so that the kernel refuses connections;
// sessions stay. Off listens again at the same address, which fails if another
// process has taken it meanwhile.
func (s *Server) Refuse(on bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped || on == (s.listener == nil):
		return nil
	case on:
		err := s.listener.Close()
		s.listener = nil
		select {
		case <-s.listeners: // Run had not taken it yet
		default:
		}
		if err != nil {
			return fmt.Errorf("lq server: stop listening at %s: %w", s.address, err)
		}
		return nil
	default:
		listener, err := listen(s.address.String())
		if err != nil {
			return err
		}
		s.listener = listener
		s.listeners <- listener // room: Run has taken, or Refuse emptied, the last
		return nil
	}
}

// HangUp switched on accepts new connections and closes them at once.
func (s *Server) HangUp(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hangUp = on
}

// Mute switched on accepts new connections and never says anything on them; they
// stay mute for good. Sessions that are up go on.
func (s *Server) Mute(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.muted = on
}

// isTemporary tells apart what accept gets over (a connection gone before it was
// taken, no descriptors left) from a broken listener.
func isTemporary(err error) bool {
	var temporary interface{ Temporary() bool }
	return errors.As(err, &temporary) && temporary.Temporary()
}
