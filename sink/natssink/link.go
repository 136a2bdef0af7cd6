package natssink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Settings of nats.go, each with the reason why its default will not do.
const (
	// A server that fell silent is noticed after three of these; the default is
	// after six minutes.
	pingInterval = 10 * time.Second
	pingsOut     = 2
	// One attempt to connect, TLS and login included.
	connectTimeout = 5 * time.Second
	// The pause after all servers were tried, with full jitter: it doubles between
	// these. The default, 2 s and a tenth of a second of jitter, has every client of
	// a server that restarts come back at once.
	minReconnect = 100 * time.Millisecond
	maxReconnect = 5 * time.Second
)

// session is one connection while it is up.
type session struct {
	nc *nats.Conn
	js jetstream.JetStream
	// ctx is done when the connection breaks.
	ctx context.Context
	end context.CancelFunc
}

// bound returns a context that is done with ctx, after a time, and when the
// connection breaks: nats.go would wait on for the answer to a request.
func (s *session) bound(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx, timedOut := context.WithTimeout(ctx, timeout)
	ctx, cancel := context.WithCancelCause(ctx)
	unhook := context.AfterFunc(s.ctx, func() { cancel(nats.ErrDisconnected) })
	return ctx, func() { unhook(); cancel(nil); timedOut() }
}

// link keeps one connection to the servers, for as long as run runs.
//
// What it knows of the connection it has from nats.go's callbacks, not from
// nats.Conn: while that one dials, it holds its lock, and every question waits.
type link struct {
	urls      string
	options   []nats.Option
	maxPub    int // unacknowledged messages on the connection
	timeout   time.Duration
	ownServer func() string
	log       *slog.Logger

	mu      sync.Mutex
	session *session      // nil while down
	ups     int           // sessions so far
	changed chan struct{} // closed and replaced when what follows or session changes
	lastErr error         // why there is no session
	refused error         // for good
	conn    net.Conn      // the newest, for abort
	denials map[string]time.Time
	denied  chan struct{} // closed and replaced when the server denies something
}

func newLink(c Config, o Options, log *slog.Logger, security []nats.Option) *link {
	return &link{
		urls: strings.Join(c.urls(), ","),
		options: slices.Concat([]nats.Option{
			nats.Name(o.clientName()),
			nats.Timeout(connectTimeout),
			nats.PingInterval(pingInterval),
			nats.MaxPingsOutstanding(pingsOut),
			nats.MaxReconnects(-1),
			nats.CustomReconnectDelay(reconnectDelay),
			// Starting with the broker away works as a broker that goes away later.
			nats.RetryOnFailedConnect(true),
			// A password that is wrong today may be changed tomorrow.
			nats.IgnoreAuthErrorAbort(),
			// No buffer: what is written into it counts as sent, and goes out after
			// the reconnection in an order and at a time that are not ours.
			nats.ReconnectBufSize(-1),
			// The dialer resolves names itself, within its time.
			nats.SkipHostLookup(),
			// The default lets a write hang for a minute, with the lock held.
			nats.FlusherTimeout(c.PublishTimeout),
			nats.CustomInboxPrefix(c.InboxPrefix),
			nats.NoEcho(),
		}, security),
		maxPub:    4 * c.MaxInFlight,
		timeout:   c.PublishTimeout,
		ownServer: o.OwnServerID,
		log:       log,
		changed:   make(chan struct{}),
		lastErr:   errors.New("still connecting"),
		denials:   make(map[string]time.Time),
		denied:    make(chan struct{}),
	}
}

// reconnectDelay is the pause after the n-th round through all servers.
func reconnectDelay(n int) time.Duration {
	ceiling := min(maxReconnect, minReconnect<<min(max(n-1, 0), 10))
	return rand.N(ceiling + 1)
}

// run keeps a connection until ctx is done. nats.go reconnects by itself; but a
// protocol error from the server closes a connection for good, and then a new one
// is made.
func (l *link) run(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; failures++ {
		closed := make(chan struct{})
		ups := l.count()
		// Connect blocks for the first attempt, up to connectTimeout for each URL.
		nc, err := nats.Connect(l.urls, append(slices.Clone(l.options),
			nats.SetCustomDialer(&dialer{ctx: ctx, link: l}),
			nats.ConnectHandler(l.up),
			nats.ReconnectHandler(l.up),
			nats.DisconnectErrHandler(func(_ *nats.Conn, err error) { l.down(err) }),
			nats.ReconnectErrHandler(func(_ *nats.Conn, err error) { l.down(err) }),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { l.fault(err) }),
			nats.ClosedHandler(func(nc *nats.Conn) {
				l.down(nc.LastError())
				close(closed)
			}),
		)...)
		if err == nil {
			l.watch(ctx, nc, closed)
		} else {
			l.down(err)
		}
		if l.count() > ups {
			failures = 0 // it was up in between
		}
		pause := time.NewTimer(reconnectDelay(failures))
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
	l.down(ErrClosed)
}

// lastErrorPoll is how often nats.go is asked why it does not connect.
const lastErrorPoll = 500 * time.Millisecond

// watch waits until nc is closed, and closes it when ctx is done. Meanwhile it
// asks for what no callback tells: why a server that was reached did not let us
// in.
func (l *link) watch(ctx context.Context, nc *nats.Conn, closed <-chan struct{}) {
	poll := time.NewTicker(lastErrorPoll)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			nc.Close()
			<-closed // its callbacks have run
			return
		case <-closed:
			return
		case <-poll.C:
			if l.isDown() {
				if err := nc.LastError(); err != nil {
					l.down(err)
				}
			}
		}
	}
}

// count returns how often the connection has come up.
func (l *link) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ups
}

func (l *link) isDown() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session == nil
}

// up is called when the connection is there, for the first time or again.
func (l *link) up(nc *nats.Conn) {
	id := nc.ConnectedServerId()
	if id == "" {
		return // it is gone already
	}
	if l.ownServer != nil && id == l.ownServer() {
		err := fmt.Errorf("%w (%s): remove this sink, or give it the URL of another server", ErrOwnServer, nc.ConnectedAddr())
		l.log.Error("the sink is refused", slog.String("error", err.Error()))
		l.mu.Lock()
		defer l.mu.Unlock()
		l.refused = err
		l.end(err)
		return
	}
	js, err := jetstream.New(nc,
		jetstream.WithPublishAsyncTimeout(l.timeout), // the default waits for ever
		jetstream.WithPublishAsyncMaxPending(l.maxPub),
		jetstream.WithDefaultTimeout(l.timeout),
	)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.end(err)
		return
	}
	if l.session != nil {
		l.session.end()
	}
	ctx, end := context.WithCancel(context.Background())
	l.session = &session{nc: nc, js: js, ctx: ctx, end: end}
	l.ups++
	l.lastErr = nil
	l.signal()
}

// down is called when the connection broke, or one more attempt failed.
func (l *link) down(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(err)
}

// end ends the session, if there is one; the lock is held.
func (l *link) end(err error) {
	if l.session != nil {
		l.session.end()
		l.session = nil
	}
	clear(l.denials) // the next connection may have other permissions
	if err != nil {
		l.lastErr = err
	}
	l.signal()
}

func (l *link) signal() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// get returns the session, and waits for one until ctx is done.
func (l *link) get(ctx context.Context) (*session, error) {
	for {
		l.mu.Lock()
		session, changed, lastErr, refused := l.session, l.changed, l.lastErr, l.refused
		l.mu.Unlock()
		switch {
		case refused != nil:
			return nil, refused
		case errors.Is(lastErr, ErrClosed):
			return nil, ErrClosed
		case session != nil:
			return session, nil
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w to %s: %w", ErrNotConnected, l.urls, errors.Join(lastErr))
		case <-changed:
		}
	}
}

// dialer is nats.go's way to the network, with an end: nats.go itself cannot be
// called back from dialling.
type dialer struct {
	ctx  context.Context
	link *link
}

// Dial implements nats.CustomDialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(d.ctx, connectTimeout)
	defer cancel()
	var plain net.Dialer
	conn, err := plain.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	d.link.mu.Lock()
	d.link.conn = conn
	d.link.mu.Unlock()
	return conn, nil
}

// abort breaks the connection under nats.go, which otherwise may sit in a write
// or a handshake until its time is over.
func (l *link) abort() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.conn != nil {
		_ = l.conn.Close()
	}
}
