package callback

import (
	"golang.org/x/net/netutil"

	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/callpop/connector/internal/certfile"
	"github.com/callpop/connector/internal/httpstop"
)

// What one peer may cost. The process's descriptors belong to the agents'
// sessions; and a browser opens connections ahead of need and keeps them, so idle
// ones are closed soon.
const (
	maxConnections = 2048
	maxHeader      = 32 << 10
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 10 * time.Second
	idleTimeout    = 5 * time.Second
	stopTimeout    = 3 * time.Second
)

// Servers lets the sources of one process share listeners. Its zero value is not
// ready, see [NewServers]; it is safe for concurrent use.
type Servers struct {
	mu        sync.Mutex // guards the map, and each server's members
	byAddress map[string]*server
}

// NewServers makes a set without listeners: they open with the first source that
// listens there, and close with the last.
func NewServers() *Servers { return &Servers{byAddress: map[string]*server{}} }

// server is one listener and the sources behind it.
type server struct {
	set      *Servers
	address  string // in the set; empty for one that is not shared
	listener net.Listener
	socket   *net.TCPListener
	http     *http.Server
	// connections are those that owe an answer at the end.
	connections *httpstop.Connections
	tls         TLS
	log         *slog.Logger
	members     int
	lost        rate.Sometimes // logs of requests for no source

	start sync.Once
	// done is closed when the server has ended; err then says why, if it should
	// not have. Both are made before start.
	done chan struct{}
	err  error

	mu     sync.RWMutex // guards routes
	routes map[string]*Source
}

// join listens where c says, or finds who does, and adds the source.
func (set *Servers) join(c *Config, s *Source, given *net.TCPListener, log *slog.Logger) (*server, error) {
	at, shared := address(c.Listen)
	set.mu.Lock()
	defer set.mu.Unlock()
	v := set.byAddress[at]
	switch {
	case shared && v != nil:
		if given != nil {
			_ = given.Close()
		}
	default:
		var err error
		if v, err = listen(c, given, log); err != nil {
			return nil, err
		}
		v.set = set
		if shared {
			v.address = at
			set.byAddress[at] = v
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if other := v.routes[c.Path]; other != nil {
		return nil, c.Conflict(&other.config)
	}
	for _, other := range v.routes {
		if err := c.Conflict(&other.config); err != nil {
			return nil, err
		}
	}
	v.routes[c.Path] = s
	v.members++
	return v, nil
}

func listen(c *Config, given *net.TCPListener, log *slog.Logger) (_ *server, err error) {
	v := &server{socket: given,
		tls: c.TLS, log: log, lost: rate.Sometimes{Interval: time.Minute},
		done: make(chan struct{}), routes: map[string]*Source{},
	}
	v.http = &http.Server{
		Handler:                      v,
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
		MaxHeaderBytes:               maxHeader,
		ReadHeaderTimeout:            headerTimeout,
		ReadTimeout:                  readTimeout,
		WriteTimeout:                 writeTimeout,
		IdleTimeout:                  idleTimeout,
		DisableGeneralOptionsHandler: true,
	}
	v.connections = httpstop.Watch(v.http)
	defer func() {
		if err != nil && given != nil {
			_ = given.Close()
		}
	}()
	if c.TLS.enabled() {
		certificate, err := certfile.Load(c.TLS.CertFile, c.TLS.KeyFile)
		if err != nil {
			return nil, err
		}
		v.http.TLSConfig = certificate.Config()
	}
	if given != nil {
		v.listener = netutil.LimitListener(given, maxConnections)
		return v, nil
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", c.Listen)
	if err != nil {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // the rest of it says the address again
		}
		return nil, fmt.Errorf("listen on %s: %w", c.Listen, err)
	}
	v.socket, _ = listener.(*net.TCPListener) // as "tcp" always gives
	v.listener = netutil.LimitListener(listener, maxConnections)
	return v, nil
}

// serve begins to serve, unless it has begun.
func (v *server) serve() {
	v.start.Do(func() {
		go func() {
			defer close(v.done)
			var err error
			if v.tls.enabled() {
				err = v.http.ServeTLS(v.listener, "", "")
			} else {
				err = v.http.Serve(v.listener)
			}
			if !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
				v.err = fmt.Errorf("serve on %s: %w", v.listener.Addr(), err)
			}
		}()
	})
}

// leave takes the source out, and closes the listener behind the last one. It
// waits for what the source is answering, which the read time-out bounds; of the
// last source, ctx does.
func (v *server) leave(ctx context.Context, s *Source) {
	v.set.mu.Lock()
	v.members--
	last := v.members == 0
	if last {
		// Closed under the lock: whoever wants the address next can have it.
		delete(v.set.byAddress, v.address)
		_ = v.listener.Close()
	}
	v.set.mu.Unlock()
	if last {
		v.start.Do(func() { close(v.done) }) // it never served
		<-v.done
		v.connections.Stop(ctx)
	}
	// Only now: who was let in last has its answer.
	v.mu.Lock()
	routes := maps.Clone(v.routes)
	delete(routes, s.config.Path)
	v.routes = routes
	v.mu.Unlock()
	s.answering.Wait()
}

// ServeHTTP hands the request to the source of its path.
func (v *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v.mu.RLock()
	s := v.routes[r.URL.Path]
	if s != nil {
		s.answering.Add(1)
	}
	v.mu.RUnlock()
	if s == nil {
		v.notFound(w, r)
		return
	}
	defer s.answering.Done()
	s.ServeHTTP(w, r)
}

// notFound answers a request for a path that no source has. The commonest reason
// is a custURL whose last character, the question mark, was left out.
func (v *server) notFound(w http.ResponseWriter, r *http.Request) {
	text, mark := "no callback source has this path", false
	v.mu.RLock()
	for path := range v.routes {
		mark = mark || strings.HasPrefix(r.URL.Path, path) && strings.Contains(r.URL.Path, "=")
	}
	v.mu.RUnlock()
	if mark {
		text += ": does custURL end with a question mark?"
	}
	v.lost.Do(func() {
		// The path may hold a customer's number.
		v.log.Warn("callback: "+text, "listen", v.listener.Addr().String(), "from", r.RemoteAddr)
	})
	refuse(w, http.StatusNotFound, text)
}
