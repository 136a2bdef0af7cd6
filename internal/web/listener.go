package web

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/netutil"

	"github.com/callpop/connector/internal/certfile"
	"github.com/callpop/connector/internal/httpstop"
	"github.com/callpop/connector/internal/secret"
)

// limits are what one peer may cost. A listener may stand open to a network, and
// the process's descriptors belong to the sessions.
type limits struct {
	connections   int
	headerBytes   int
	headerTimeout time.Duration
	readTimeout   time.Duration
	// writeTimeout bounds an answer; a handler that streams sets its own by
	// [http.ResponseController].
	writeTimeout time.Duration
	idleTimeout  time.Duration
	stopTimeout  time.Duration
	// userTimeout is how long a peer may leave data unacknowledged; 0 is the
	// system's own time.
	userTimeout time.Duration
}

// Listener is one HTTP listener.
type Listener struct {
	// key of the configuration, for errors.
	key      string
	listener net.Listener // nil where it is switched off
	socket   *net.TCPListener
	server   *http.Server
	// connections are those that owe an answer at the end.
	connections *httpstop.Connections
	// secure is set where it speaks TLS. The server's own configuration of TLS does
	// not tell: Serve makes one for itself.
	secure bool
	guard  *Guard // of the admin listener, else nil
	limits limits
	// closed is closed by Close.
	closed chan struct{}
	once   sync.Once
}

// Option is more that a listener is made of.
type Option func(*opening)

type opening struct{ given *net.TCPListener }

// On has the listener use one that is open already, such as a predecessor's, in
// place of opening its own; nil changes nothing. It is closed like its own, and where
// it is not used at once.
func On(given *net.TCPListener) Option { return func(o *opening) { o.given = given } }

// listen takes the address that stands under key; connections wait until Serve.
// Where the address is empty it takes none, and Serve only waits. The error names
// key, address and cause, and wraps the cause.
func listen(ctx context.Context, key, address string, files TLS, handler http.Handler, log *slog.Logger, l limits, options ...Option) (*Listener, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &Listener{key: key, limits: l, closed: make(chan struct{}), server: &http.Server{
		Handler:                      handler,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		MaxHeaderBytes:               l.headerBytes,
		ReadHeaderTimeout:            l.headerTimeout,
		ReadTimeout:                  l.readTimeout,
		WriteTimeout:                 l.writeTimeout,
		IdleTimeout:                  l.idleTimeout,
		DisableGeneralOptionsHandler: true,
	}}
	s.connections = httpstop.Watch(s.server)
	var o opening
	for _, option := range options {
		option(&o)
	}
	if o.given != nil {
		defer func() {
			if s.socket == nil {
				_ = o.given.Close()
			}
		}()
	}
	if address == "" {
		return s, nil
	}
	if files.CertFile != "" {
		certificate, err := certfile.Load(files.CertFile, files.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("%s_%w", key, err)
		}
		s.server.TLSConfig, s.secure = certificate.Config(), true
	}
	if o.given != nil {
		s.socket = o.given
		s.listener = netutil.LimitListener(o.given, l.connections)
		return s, nil
	}
	bound := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error { return boundUnacknowledged(raw, l.userTimeout) }}
	listener, err := bound.Listen(ctx, "tcp", address)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // the rest of it says the address again
		}
		return nil, fmt.Errorf("%s: listen on %s: %w", key, address, err)
	}
	s.socket, _ = listener.(*net.TCPListener) // as "tcp" always gives
	s.listener = netutil.LimitListener(listener, l.connections)
	return s, nil
}

// Socket is what is listened on, to be handed to a successor; nil where it is
// switched off. It stays the listener's.
func (l *Listener) Socket() *net.TCPListener { return l.socket }

// Addr is the address that is listened on, with the port that the system chose
// for port 0; nil where there is none.
func (l *Listener) Addr() net.Addr {
	if l.listener == nil {
		return nil
	}
	return l.listener.Addr()
}

// SetToken changes the token of the admin listener; see [Guard.SetToken].
func (l *Listener) SetToken(token secret.Value) {
	if l.guard != nil {
		l.guard.SetToken(token)
	}
}

// URL is the listener's address for a browser, without a path; empty where it is
// switched off.
func (l *Listener) URL() string {
	switch {
	case l.listener == nil:
		return ""
	case l.secure:
		return "https://" + l.Addr().String()
	default:
		return "http://" + l.Addr().String()
	}
}

// Serve answers until ctx is done or Close is called, lets requests under way
// finish for three seconds, and returns nil; or it returns why it cannot serve.
// It is called once.
func (l *Listener) Serve(ctx context.Context) error {
	if l.listener == nil {
		select {
		case <-ctx.Done():
		case <-l.closed:
		}
		return nil
	}
	served := make(chan error, 1)
	go func() {
		if l.secure {
			served <- l.server.ServeTLS(l.listener, "", "")
		} else {
			served <- l.server.Serve(l.listener)
		}
	}()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.limits.stopTimeout)
		defer cancel()
		_ = l.listener.Close()
		err = <-served
		l.connections.Stop(stop)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("%s: serve on %s: %w", l.key, l.Addr(), err)
	}
	return nil
}

// Close gives the address back and ends Serve at once, cutting off requests under
// way. It is safe to call twice, and before Serve.
func (l *Listener) Close() error {
	var err error
	l.once.Do(func() {
		close(l.closed)
		err = l.server.Close()
		if l.listener != nil {
			// The server closes only a listener that it was given, in Serve.
			err = errors.Join(err, l.listener.Close())
		}
	})
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("%s: close: %w", l.key, err)
	}
	return nil
}

// private keeps answers out of caches, and browsers from taking them for what
// they are not.
func private(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}
