package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// Limits of the socket. Those who can write to it are trusted, their programs are
// not always right.
const (
	maxRequest    = 1 << 20
	maxHeader     = 16 << 10
	maxOperations = 8
	headerTimeout = 5 * time.Second
	// bodyTimeout bounds the reading of a request.
	bodyTimeout = 10 * time.Second
	// flushInterval is how old a part of an answer may get before it is sent.
	flushInterval = 100 * time.Millisecond
	// stopTimeout is how long operations that were told to stop may take to say
	// how far they came.
	stopTimeout = 3 * time.Second
)

// contentType is that of every answer.
const contentType = "application/x-ndjson"

// Server serves the operations of a host on the control socket.
type Server struct {
	path     string
	host     *Host
	listener net.Listener
	http     *http.Server
	log      *slog.Logger

	// life ends the operations.
	life context.Context
	end  context.CancelCauseFunc

	once sync.Once
	err  error // of Close; set under once
	// ceded is set where the socket's name is a successor's.
	ceded atomic.Bool
	// slots has room for the operations that may run at a time.
	slots chan struct{}

	// running counts the handlers: http.Server does not wait for those it cuts off.
	running sync.WaitGroup
	mu      sync.Mutex
	stopped bool // guarded by mu; no handler begins any more
}

// Listen makes the control socket in the spool's directory dir, which the caller
// holds the lock of; connections wait until [Server.Serve]. Its error says why
// there can be none, such as a file system without sockets.
func Listen(ctx context.Context, dir string, h *Host, log *slog.Logger) (*Server, error) {
	s := &Server{path: socketPath(dir), host: h, log: log, slots: make(chan struct{}, maxOperations)}
	var err error
	if s.listener, err = listen(ctx, s.path); err != nil {
		return nil, err
	}
	s.life, s.end = context.WithCancelCause(context.Background())
	s.http = &http.Server{
		Handler:                      s.handler(),
		BaseContext:                  func(net.Listener) context.Context { return s.life },
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		MaxHeaderBytes:               maxHeader,
		ReadHeaderTimeout:            headerTimeout,
		IdleTimeout:                  headerTimeout,
		DisableGeneralOptionsHandler: true,
	}
	return s, nil
}

// Serve answers until ctx is done. Then it ends the operations under way, which
// say how far they came, waits for them and removes the socket. It returns nil, or
// why it cannot serve.
func (s *Server) Serve(ctx context.Context) error {
	served := make(chan error, 1)
	go func() { served <- s.http.Serve(s.listener) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		s.end(errStopping)
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		_ = s.http.Shutdown(stop) // Close cuts off whoever does not finish
		err = errors.Join(s.Close(), filterClosed(<-served))
	}
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.running.Wait()
	if err != nil {
		return fmt.Errorf("serve the control socket %s: %w", s.path, err)
	}
	return nil
}

func filterClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// Close ends everything at once and removes the socket. It is safe to call twice,
// and before Serve.
func (s *Server) Close() error {
	s.once.Do(func() {
		s.end(errStopping)
		// Removed first: who finds it must not find it closed. Another process can
		// have made its own only after the lock was given back.
		if !s.ceded.Load() {
			s.err = os.Remove(s.path)
		}
		if err := s.http.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.err = errors.Join(s.err, err)
		}
		// The http server closes only a listener that it was given, in Serve.
		if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			s.err = errors.Join(s.err, err)
		}
	})
	return s.err
}

// Cede leaves the socket's name to a successor, which puts a socket of its own there.
func (s *Server) Cede() { s.ceded.Store(true) }

func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	handle(s, mux, Stat)
	handle(s, mux, Read)
	handle(s, mux, Count)
	handle(s, mux, Purge)
	handle(s, mux, Replay)
	handle(s, mux, Retry)
	handle(s, mux, Reload)
	handle(s, mux, Plan)
	handle(s, mux, Drain)
	handle(s, mux, LogLevel)
	handle(s, mux, Upgrade)
	mux.HandleFunc("POST /v1/"+takeoverName, s.takeover)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		stopped := s.stopped
		if !stopped {
			s.running.Add(1)
		}
		s.mu.Unlock()
		if !stopped {
			defer s.running.Done()
			mux.ServeHTTP(w, r)
		}
	})
}

// handle serves op.
func handle[P, M any](s *Server, mux *http.ServeMux, op Operation[P, M]) {
	mux.HandleFunc("POST /v1/"+op.name, func(w http.ResponseWriter, r *http.Request) {
		answer := newAnswer(w, op.live)
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			answer.end(http.StatusServiceUnavailable, fmt.Errorf("%d operations are under way, no more are taken", maxOperations))
			return
		}
		var request P
		if err := readRequest(w, r, &request); err != nil {
			answer.end(http.StatusBadRequest, Wrong(err))
			return
		}
		s.log.Debug("control operation", "operation", op.name)
		err := op.run(r.Context(), s.host, request, func(part M) error { return answer.item(part) })
		if err != nil && s.life.Err() != nil && !errors.Is(err, errStopping) {
			err = fmt.Errorf("%w: %w", errStopping, err)
		}
		answer.end(http.StatusInternalServerError, err)
	})
}

// errStopping is why an operation ends with the process.
var errStopping = errors.New("the connector is stopping")

// readRequest reads one JSON value, strictly.
func readRequest(w http.ResponseWriter, r *http.Request, into any) error {
	// Not every connection has deadlines, and this bounds only waste.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequest))
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("read the request: more than one JSON value")
	}
	return nil
}

// answer writes the lines of one answer.
type answer struct {
	w       http.ResponseWriter
	encoder *json.Encoder
	live    bool
	begun   bool
	flushed time.Time
}

func newAnswer(w http.ResponseWriter, live bool) *answer {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return &answer{w: w, encoder: encoder, live: live}
}

// item writes one part. Its error means that nobody takes it any more.
func (a *answer) item(part any) error {
	if !a.begun {
		a.begin(http.StatusOK)
	}
	if err := a.encoder.Encode(struct {
		Item any `json:"item"`
	}{part}); err != nil {
		return fmt.Errorf("send the answer: %w", err)
	}
	if now := time.Now(); a.live || now.Sub(a.flushed) >= flushInterval {
		a.flushed = now
		return http.NewResponseController(a.w).Flush()
	}
	return nil
}

func (a *answer) begin(status int) {
	a.begun, a.flushed = true, time.Now()
	a.w.Header().Set("Content-Type", contentType)
	a.w.WriteHeader(status)
}

// end writes the last line; status is that of an answer that is an error and
// nothing else.
func (a *answer) end(status int, err error) {
	l := line{End: err == nil}
	if err != nil {
		l.Error, l.Wrong = err.Error(), IsWrong(err)
		if l.Wrong {
			status = http.StatusBadRequest
		}
	} else {
		status = http.StatusOK
	}
	if !a.begun {
		a.begin(status)
	}
	_ = a.encoder.Encode(l) // a peer that has gone knows what it needs
}
