package natssink

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// Options are the code's part of a NATS sink.
type Options struct {
	// Name is the sink's name in the configuration.
	Name string
	// OwnServerID gives the id of the connector's embedded server, which the sink
	// must not lead to; it is another one after a restart of that server. nil: there
	// is none.
	OwnServerID func() string
	// Logger is told of what nobody waits for; nil: nobody is.
	Logger *slog.Logger
}

// clientName is the connection's name, as the server's monitoring shows it.
func (o Options) clientName() string { return "callpop-connector " + o.Name }

// Sink publishes to JetStream. See [sink.Sink] for its contract; it is also a
// [sink.Checker], a [sink.DuplicateCounter] and [sink.Located].
type Sink struct {
	config Config
	link   *link
	routes map[schema.Type]*route

	cancel context.CancelFunc // ends the link
	done   chan struct{}      // closed when it has ended
	close  sync.Once
}

// route is where an event type goes, and what became of it.
type route struct {
	destination
	duplicates atomic.Uint64
	// exists is true once the stream was found or created; only with Create.
	exists atomic.Bool
}

var (
	_ sink.Sink             = (*Sink)(nil)
	_ sink.Checker          = (*Sink)(nil)
	_ sink.DuplicateCounter = (*Sink)(nil)
	_ sink.Located          = (*Sink)(nil)
)

// New makes a sink and begins to connect. It does not wait for the connection:
// a broker that is away is no reason not to start. Its errors are those of the
// configuration, the files it names included.
func New(c Config, o Options) (*Sink, error) {
	log := o.Logger
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	log = log.With(slog.String("sink", o.Name))
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("nats sink %s: %w", o.Name, err)
	}
	login, err := c.loginOptions(log)
	if err != nil {
		return nil, fmt.Errorf("nats sink %s: %w", o.Name, err)
	}
	security, err := c.tlsOptions()
	if err != nil {
		return nil, fmt.Errorf("nats sink %s: %w", o.Name, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Sink{
		config: c,
		link:   newLink(c, o, log, append(login, security...)),
		routes: make(map[schema.Type]*route),
		cancel: cancel,
		done:   make(chan struct{}),
	}
	for _, d := range c.destinations() {
		s.routes[d.typ] = &route{destination: d}
	}
	go func() {
		defer close(s.done)
		s.link.run(ctx)
	}()
	return s, nil
}

// Types returns the event types that the sink takes.
func (s *Sink) Types() []schema.Type { return s.config.Types() }

// Duplicates returns how many events of a type the stream has dropped because it
// had them; see [sink.DuplicateCounter].
func (s *Sink) Duplicates(t schema.Type) uint64 {
	if r := s.routes[t]; r != nil {
		return r.duplicates.Load()
	}
	return 0
}

// Refused returns an error that wraps [ErrOwnServer] once the sink was found to
// lead to the connector's own server. It stays so.
func (s *Sink) Refused() error {
	s.link.mu.Lock()
	defer s.link.mu.Unlock()
	return s.link.refused
}

// Close ends the connection; see [sink.Sink]. If ctx is done first, the
// connection is cut.
func (s *Sink) Close(ctx context.Context) error {
	s.close.Do(s.cancel)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	s.link.abort()
	select {
	case <-s.done: // now it takes no time
		return nil
	default:
		return fmt.Errorf("close nats sink: %w", context.Cause(ctx))
	}
}
