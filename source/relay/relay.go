package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
)

// Options are the parts of the daemon that a source works with.
type Options struct {
	Intake *source.Intake
	// Absences say since when agents have had no session, also from before the
	// connector started: where that is known, an agent's first gap begins there; an
	// agent's first session has no gap where it is not. nil knows nothing.
	Absences *source.Absences
	// Listener is used where given, instead of listening on the configured address;
	// a *net.TCPListener. The source closes it.
	Listener net.Listener
	Logger   *slog.Logger
	Meter    metric.Meter
}

// Source relays the desktops of one LQ server; a [source.Source].
type Source struct {
	config   Config // as it was made with; see Update
	decoding *source.Decoding
	// dialTimeout is a duration.
	dialTimeout atomic.Int64
	listener    *net.TCPListener
	accept      func() (*net.TCPConn, error)
	dialer      net.Dialer
	door        *door
	tap         *tap
	metrics     *metrics
	log         *slog.Logger
	outage      outage
	// large lends buffers to streams that carry more than a pop now and then.
	large sync.Pool

	// pausing is set while all desktops are to wait, see HandOver.
	pausing atomic.Pointer[pause]

	mu       sync.Mutex // guards what follows
	desktops map[*desktop]struct{}
	stopping bool
	// closed is set while nobody is accepted and no server dialled, see Pause: it is
	// closed when that ends, dialling ended before. parted: all is another process's.
	closed  chan struct{}
	dialled *dialling
	parted  bool
	// adopted are desktops that were another process's, until Run.
	adopted []*desktop
}

// keepAlive finds what vanished while the line was quiet, on both sides, so that
// nothing is held for ever. It is far slower than an agent's client is to give up:
// an outage of some minutes that a direct connection would live through must not
// end one through the relay. Where data waits to be acknowledged the kernel's own
// patience counts, as it does for a direct connection.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 30 * time.Second, Count: 10}

// New makes a Source of a valid Config and listens, so that a port in use is known
// at once. Desktops are served from Run on; a Source that will not run must be
// closed.
func New(c Config, o Options) (*Source, error) {
	pattern, err := c.pattern()
	if err != nil {
		return nil, err
	}
	decoding, err := c.decoding()
	if err != nil {
		return nil, err
	}
	allow, err := source.ParseAllow(c.Allow)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics(o.Meter, &c)
	if err != nil {
		return nil, err
	}
	s := &Source{
		config: c, decoding: decoding,
		dialer: net.Dialer{KeepAliveConfig: keepAlive},
		door: &door{
			allow: allow, max: c.MaxClients, perAddress: c.MaxClientsPerAddress,
			byAddress: map[netip.Addr]int{},
		},
		metrics:  m,
		log:      o.Logger.With("source", c.Name),
		large:    sync.Pool{New: func() any { return new([largeRead]byte) }},
		desktops: map[*desktop]struct{}{},
	}
	s.dialTimeout.Store(int64(c.DialTimeout))
	s.tap = newTap(tapOptions{
		intake: o.Intake, pattern: pattern, metrics: m, log: s.log,
		origin:      &source.Origin{Type: c.Type, Name: c.Name, Server: c.Server, Decoding: decoding},
		expireAfter: c.ExpireAfter, absences: cmp.Or(o.Absences, source.NoAbsences()), maxClients: c.MaxClients,
	})
	if s.listener, err = listen(&c, o.Listener); err != nil {
		return nil, err
	}
	s.accept = s.listener.AcceptTCP
	s.dialled = newDialling()
	s.warnOfDescriptors()
	return s, nil
}

func listen(c *Config, given net.Listener) (*net.TCPListener, error) {
	var err error
	if given == nil {
		// Each connection's keepalive is set when it is accepted.
		lc := net.ListenConfig{KeepAlive: -1}
		if given, err = lc.Listen(context.Background(), "tcp", c.Listen); err != nil {
			return nil, fmt.Errorf("listen for desktops on %s: %w", c.Listen, err)
		}
	}
	listener, ok := given.(*net.TCPListener)
	if !ok {
		_ = given.Close()
		return nil, fmt.Errorf("listen for desktops on %s: a %T is not a TCP listener", given.Addr(), given)
	}
	own, _ := net.InterfaceAddrs() // without them less is found, and nothing wrongly
	if at, ok := listener.Addr().(*net.TCPAddr); ok && c.dialsItself(at.AddrPort(), own) {
		_ = listener.Close()
		return nil, fmt.Errorf("address is %s: %w", c.Address, errDialsItself)
	}
	return listener, nil
}

// warnOfDescriptors says so where the process may not open as many files as the
// clients need, two for each.
func (s *Source) warnOfDescriptors() {
	const others = 256 // the spool, the sinks, the log
	need := uint64(2*s.config.MaxClients + others)
	if limit, ok := descriptorLimit(); ok && limit < need {
		s.log.Warn("the limit of open files is too low for max_clients: raise it (ulimit -n)",
			"limit", limit, "needed", need, "max_clients", s.config.MaxClients)
	}
}

// Update puts in force what a valid Config has of charset, timezone, area_code,
// dial_timeout, max_clients, max_clients_per_address and allow. All else stays as
// it was made, and so does every connection.
func (s *Source) Update(c Config) error {
	decoding, err := c.decoding()
	if err != nil {
		return err
	}
	allow, err := source.ParseAllow(c.Allow)
	if err != nil {
		return err
	}
	s.decoding.Become(decoding)
	s.door.change(allow, c.MaxClients, c.MaxClientsPerAddress)
	s.dialTimeout.Store(int64(c.DialTimeout))
	return nil
}

// Addr is where the desktops connect.
func (s *Source) Addr() net.Addr { return s.listener.Addr() }

// Socket is what is listened on, to be handed to a successor. It stays the source's.
func (s *Source) Socket() *net.TCPListener { return s.listener }

// Close gives up the port of a Source that will not run. It is safe to call it
// twice, and for one that runs it ends the accepting alone.
func (s *Source) Close() error {
	if err := s.listener.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("stop listening on %s: %w", s.listener.Addr(), err)
	}
	return nil
}

// Run serves desktops until ctx is done. Then it stops listening, closes every
// connection, which the desktops will feel as a restart of the server, and returns
// nil once all of it has ended and what the tap had taken is with the intake. It
// may be called once.
func (s *Source) Run(ctx context.Context) error {
	var tapping, clients sync.WaitGroup
	tapping.Go(s.tap.run)
	stop := context.AfterFunc(ctx, func() { _ = s.Close() })
	defer stop()

	s.serveAdopted(ctx, &clients)
	s.acceptAll(ctx, &clients)
	<-ctx.Done() // the listener may have been closed before
	s.stop()
	clients.Wait()
	s.tap.close()
	tapping.Wait()
	return nil
}

// stop closes every connection.
func (s *Source) stop() {
	s.mu.Lock()
	s.stopping = true
	if s.parted {
		s.mu.Unlock()
		return
	}
	desktops := make([]*desktop, 0, len(s.desktops))
	for d := range s.desktops {
		desktops = append(desktops, d)
	}
	s.mu.Unlock()
	for _, d := range desktops {
		d.stop()
	}
}

// Status counts the connections: those open, and those over which the server has
// been heard.
func (s *Source) Status() source.Status {
	up := int(s.tap.up.Load())
	open := max(s.door.count(), up) // the tap learns of an end a little later
	return source.Status{
		Name: s.config.Name, Type: s.config.Type, Server: s.config.Server, Wanted: open, Up: up,
		States: map[schema.SessionState]int{schema.Connected: up, schema.Connecting: open - up},
	}
}
