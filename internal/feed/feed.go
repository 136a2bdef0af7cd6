package feed

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"
	"golang.org/x/time/rate"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
)

// Options are what a feed is made of.
type Options struct {
	Config Config
	// Spool is what is read; it outlives the feed.
	Spool *spool.Spool
	// KnownServer says whether a server of this name is configured, so that a slip
	// in a name is an answer and not a silent page; nil takes every name.
	KnownServer func(name string) bool
	// Logger takes what an operator has to know; nil drops it.
	Logger *slog.Logger
	// Meter takes the feed's metrics; nil drops them.
	Meter metric.Meter
}

// maxReads bounds the reads of the spool by single streams that are under way.
const maxReads = 8

// Feed serves the agents' pops. Its methods may be called from any goroutine.
type Feed struct {
	config  Config
	spool   *spool.Spool
	known   func(string) bool
	log     *slog.Logger
	metrics *metrics
	keys    *keys
	tickets *tickets
	hub     *hub
	handler http.Handler
	// begin is where the hub begins, of each type that it follows.
	begin map[schema.Type]uint64
	// writeTimeout is how long a peer may take nothing.
	writeTimeout time.Duration
	// reads has an element for each read under way.
	reads chan struct{}
	// refused keeps a flood of wrong tokens out of the log.
	refused rate.Sometimes

	// life ends with Close.
	life context.Context
	end  context.CancelFunc
	mu   sync.Mutex
	// under is what Close waits for: Run and the streams. Guarded by mu: nothing
	// is added once closed is set.
	under  sync.WaitGroup
	closed bool // guarded by mu
}

// New makes a feed that begins with what enters the spool from now on. ctx bounds
// the call. The error says what is wrong with the configuration or the spool.
func New(ctx context.Context, o Options) (*Feed, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	f := &Feed{
		config: o.Config, spool: o.Spool, known: o.KnownServer, log: o.Logger,
		keys: newKeys(o.Config), tickets: newTickets(), reads: make(chan struct{}, maxReads),
		writeTimeout: writeTimeout, begin: map[schema.Type]uint64{}, refused: rate.Sometimes{Interval: time.Minute},
	}
	if f.known == nil {
		f.known = func(string) bool { return true }
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	f.hub = &hub{spool: o.Spool, log: f.log, queues: map[agentKey][]*queue{}}
	for _, t := range []schema.Type{schema.TypeCallPop, schema.TypeSessionChanged} {
		state, err := o.Spool.State(ctx, t)
		if err != nil {
			return nil, fmt.Errorf("feed: %w", err)
		}
		f.begin[t] = state.Last
	}
	f.hub.pops = f.begin[schema.TypeCallPop]
	var err error
	if f.metrics, err = newMetrics(o.Meter); err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	if f.handler, err = f.routes(); err != nil {
		return nil, fmt.Errorf("feed: %w", err)
	}
	f.life, f.end = context.WithCancel(context.Background())
	return f, nil
}

// Handler serves everything that stands in the package's comment.
func (f *Feed) Handler() http.Handler { return f.handler }

// Run follows the spool until ctx is done or Close is called. It is called once.
func (f *Feed) Run(ctx context.Context) {
	if !f.enter() {
		return
	}
	defer f.under.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(f.life, cancel)()
	var tails sync.WaitGroup
	for t, after := range f.begin {
		tails.Go(func() { f.hub.follow(ctx, t, after) })
	}
	tails.Wait()
}

// Close ends every stream and Run, and waits for them; their peers connect again,
// to whoever is there then. It is safe to call twice, and before Run.
func (f *Feed) Close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.end()
	f.under.Wait()
}

// enter says whether the feed is still open; if so, Close waits for under.Done.
func (f *Feed) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.closed {
		f.under.Add(1)
	}
	return !f.closed
}
