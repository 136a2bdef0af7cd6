package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel/metric"
)

// Options are what a spool is made of.
type Options struct {
	Config   Config
	Embedded Embedded
	// Logger takes what an operator has to know; nil for none.
	Logger *slog.Logger
	// Meter takes the spool's metrics; nil for none.
	Meter metric.Meter
	// Successor opens a spool that another process has suspended for this one. Who
	// is not that gets none until the other one has resumed it, or ceded it.
	Successor bool
}

// Spool is an open log. Its methods may be called from any goroutine.
type Spool struct {
	config   Config
	limits   atomic.Pointer[Config] // config with other limits, see SetLimits; nil without
	embedded Embedded
	logger   *slog.Logger
	metrics  *metrics
	logins   logins
	id       string
	lock     *flock.Flock
	// passing is held while the spool is suspended.
	passing atomic.Pointer[flock.Flock]
	addr    net.Addr // of embedded.listen, nil without

	books books

	acks  [len(streams)]atomic.Uint64
	tails [len(streams)]tail

	// life ends when Close is called.
	life   context.Context
	end    context.CancelFunc
	faults chan fault
	// turns are the calls of Suspend and Resume.
	turns  chan turn
	ended  sync.WaitGroup // the supervisor, and what keeps the ledger
	closed chan struct{}  // closed when everything has stopped
	once   sync.Once
	// closeError is set before closed is closed.
	closeError error

	// Owned by Open, then by the supervisor.
	free       freeSpace
	low, blind bool
	// cursorsDamaged is set where the last check found damage in the cursors' bucket.
	cursorsDamaged bool
	// exact is set once this process has had the log open: from then on the ledger
	// in memory knows all that was acknowledged.
	exact bool
	// doubtful is set from a fault until a write to the disk succeeds.
	doubtful      bool
	started       time.Time
	backoff       time.Duration
	spaceInterval time.Duration
	minBackoff    time.Duration

	ackTimeout   time.Duration
	keepInterval time.Duration
	// syncEach has the server sync each message by itself, to compare with.
	syncEach bool

	mu      sync.Mutex
	engine  *engine       // guarded by mu; nil while none runs
	status  Status        // guarded by mu
	changed chan struct{} // guarded by mu; closed when engine or phase change
}

// Open opens the log in o.Config.Dir, which it makes where it is missing, and
// runs the embedded server until [Spool.Close]. An existing log keeps its events
// and gets the configuration's limits. ctx bounds the opening.
//
// It fails, with an error that names the directory and the cause, where the
// configuration is wrong, the directory cannot be written or is in use, or the
// address to listen on cannot be had.
func Open(ctx context.Context, o Options) (*Spool, error) {
	return open(ctx, o, nil)
}

// open is Open with a last word on the spool before it starts, for tests of times
// and free space.
func open(ctx context.Context, o Options, tweak func(*Spool)) (_ *Spool, err error) {
	if err := errors.Join(prefix("spool.", o.Config.Validate()), prefix("embedded.", o.Embedded.Validate())); err != nil {
		return nil, err
	}
	s := &Spool{
		config: o.Config, embedded: o.Embedded, logger: o.Logger,
		faults: make(chan fault, 1), turns: make(chan turn), closed: make(chan struct{}), changed: make(chan struct{}),
		free: statfs, spaceInterval: spaceInterval, minBackoff: minBackoff, ackTimeout: ackTimeout, keepInterval: ledgerInterval,
	}
	if s.logger == nil {
		s.logger = slog.New(slog.DiscardHandler)
	}
	if tweak != nil {
		tweak(s)
	}
	if s.logins, err = newLogins(); err != nil {
		return nil, err
	}
	if s.lock, s.id, err = openDir(s.config.Dir, o.Successor); err != nil {
		return nil, err
	}
	if s.books.ledger, err = readLedger(s.config.Dir); err != nil {
		s.logger.Warn("damage at the spool's ends will not show", "error", err)
	}
	if s.books.ledger == nil {
		s.books.ledger = newLedger()
	}
	// What was begun is undone in reverse by close.
	s.life, s.end = context.WithCancel(context.Background())
	var e *engine
	if s.metrics, err = newMetrics(s, o.Meter); err == nil {
		if e, err = s.start(ctx); err != nil {
			err = errors.Join(err, s.metrics.observer.Unregister())
		}
	}
	if err != nil {
		s.end()
		return nil, errors.Join(fmt.Errorf("open spool: %w", err), s.lock.Close())
	}
	s.addr = e.addr()
	s.startTails(e)
	s.started = time.Now()
	s.settle(e)
	s.ended.Go(s.supervise)
	s.ended.Go(s.keep)
	return s, nil
}

// prefix puts the place of a package's keys before each of its messages.
func prefix(place string, err error) error {
	if err == nil {
		return nil
	}
	var many interface{ Unwrap() []error }
	if !errors.As(err, &many) {
		return fmt.Errorf("%s%w", place, err)
	}
	var errs []error
	for _, one := range many.Unwrap() {
		errs = append(errs, fmt.Errorf("%s%w", place, one))
	}
	return errors.Join(errs...)
}

// ID returns the spool's id: 20 hex digits, made once with the directory. It is
// the first part of [Record.SpoolSequence].
func (s *Spool) ID() string { return s.id }

// ServerID returns the id of the embedded server, as its clients see it; "" while
// none runs. A restart changes it.
func (s *Spool) ServerID() string {
	if e := s.current(); e != nil {
		return e.server.ID()
	}
	return ""
}

// Addr returns the address that embedded.listen got, nil without one. It stays
// the same through restarts.
func (s *Spool) Addr() net.Addr { return s.addr }

// Connect returns a connection to the embedded server within this process, with
// the rights of a client of embedded.listen, whether or not there is one. It
// reconnects after a restart. The caller closes it, before the spool.
func (s *Spool) Connect(name string, opts ...nats.Option) (*nats.Conn, error) {
	conn, err := nats.Connect("", append([]nats.Option{
		nats.Name(name),
		nats.InProcessServer(s.provider()),
		s.logins.client.option(),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(100 * time.Millisecond),
	}, opts...)...)
	if err != nil {
		return nil, fmt.Errorf("connect %s to the embedded server: %w", name, err)
	}
	return conn, nil
}

// provider gives connections to whichever engine runs.
func (s *Spool) provider() nats.InProcessConnProvider { return provider{s} }

type provider struct{ spool *Spool }

// InProcessConn implements [nats.InProcessConnProvider].
func (p provider) InProcessConn() (net.Conn, error) {
	e := p.spool.current()
	if e == nil {
		return nil, ErrRestarted
	}
	return e.server.InProcessConn()
}

// Close stops the embedded server and unlocks the directory. It drains nothing:
// what is in the log stays for the next [Open]. Calls under way return
// [ErrClosed]. It returns when all has stopped or ctx is done; the stopping then
// goes on by itself, and a second Close waits for it again.
func (s *Spool) Close(ctx context.Context) error {
	s.once.Do(func() {
		s.set(s.current(), Closed, "")
		s.end()
		go s.close()
	})
	select {
	case <-s.closed:
		return s.closeError
	case <-ctx.Done():
		return fmt.Errorf("close spool: %w", ctx.Err())
	}
}

func (s *Spool) close() {
	defer close(s.closed)
	s.ended.Wait()
	s.mu.Lock()
	e := s.engine
	s.engine = nil
	s.mu.Unlock()
	var errs []error
	if err := s.metrics.observer.Unregister(); err != nil {
		errs = append(errs, fmt.Errorf("unregister the spool's metrics: %w", err))
	}
	if e != nil {
		s.closeBooks(e)
	}
	if err := errors.Join(s.unlock(), s.Cede()); err != nil {
		errs = append(errs, fmt.Errorf("unlock spool directory %s: %w", s.config.Dir, err))
	}
	s.closeError = errors.Join(errs...)
}
