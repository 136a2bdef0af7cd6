package console

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/schema"
)

// Options are what a console is made of.
type Options struct {
	// Host is the open spool and what dead letters are retried with; it outlives the
	// console.
	Host *control.Host
	// Readiness gives the body of /readyz. Calls do not overlap, and come at most
	// once in [statusAge] however many viewers there are.
	Readiness func() web.Readiness
	// Logger takes what an operator has to know; nil drops it.
	Logger *slog.Logger
}

const (
	// backfill is how far back, in time and in events of a kind, a console reads when
	// it starts: what the chart shows, in a second of work or so.
	backfill       = time.Hour
	backfillEvents = 100_000
	// maxReads bounds the reads of the spool for viewers that are under way.
	maxReads = 4
	// statusAge is how old the answer of Readiness may be.
	statusAge = time.Second
	// pruneInterval is how often agents are looked for that are no longer any.
	pruneInterval = time.Minute
)

// Console is the operators' page. Its methods may be called from any goroutine.
type Console struct {
	host      *control.Host
	client    *control.Local
	readiness func() web.Readiness
	log       *slog.Logger
	handler   http.Handler
	wall      *wall
	// starts are where the readers begin; what comes after live is new.
	starts, live map[schema.Type]uint64
	// reads has an element for each read under way, retrying one while a retry is.
	reads, retrying chan struct{}

	statusMu sync.Mutex
	status   status    // guarded by statusMu
	statusAt time.Time // guarded by statusMu

	// life ends with Close.
	life   context.Context
	end    context.CancelFunc
	mu     sync.Mutex
	under  sync.WaitGroup // Run; nothing is added once closed is set
	closed bool           // guarded by mu
}

// New makes a console that knows of the sessions from now on, and of the events of
// the past hour. ctx bounds the call. Make it before the sources run.
func New(ctx context.Context, o Options) (*Console, error) {
	c := &Console{
		host: o.Host, client: &control.Local{Host: o.Host}, readiness: o.Readiness, log: o.Logger,
		starts: map[schema.Type]uint64{}, live: map[schema.Type]uint64{},
		reads: make(chan struct{}, maxReads), retrying: make(chan struct{}, 1),
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	now := time.Now()
	c.wall = newWall(now)
	for _, t := range schema.Types {
		state, err := o.Host.Spool.State(ctx, t)
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		after, err := o.Host.Spool.Since(ctx, t, now.Add(-backfill))
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		if state.Last > backfillEvents && after < state.Last-backfillEvents {
			after = state.Last - backfillEvents
			c.wall.cut(t)
		}
		// The lists show what there is, also of last night.
		if state.Last < after+maxRecent {
			after = state.Last - min(state.Last, maxRecent)
		}
		c.starts[t], c.live[t] = after, state.Last
	}
	var err error
	if c.handler, err = c.routes(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c.life, c.end = context.WithCancel(context.Background())
	return c, nil
}

// Handler serves everything that stands in the package's comment, below /console/.
func (c *Console) Handler() http.Handler { return c.handler }

// Run follows the spool until ctx is done or Close is called. It is called once.
func (c *Console) Run(ctx context.Context) {
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.under.Add(1)
	}
	c.mu.Unlock()
	if closed {
		return
	}
	defer c.under.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.life, cancel)()
	var tails sync.WaitGroup
	for t, after := range c.starts {
		tails.Go(func() {
			warn := rate.Sometimes{Interval: time.Minute}
			c.host.Spool.Follow(ctx, t, after,
				func(r spool.Record) { c.wall.take(r, r.Sequence > c.live[t]) },
				func(err error) {
					warn.Do(func() { c.log.Warn("the console cannot read the spool; it tries again", "error", err) })
				})
		})
	}
	tails.Go(func() {
		ticker := time.NewTicker(pruneInterval)
		defer ticker.Stop()
		for {
			select {
			case now := <-ticker.C:
				c.wall.prune(now)
			case <-ctx.Done():
				return
			}
		}
	})
	tails.Wait()
}

// Close ends Run and what is under way for viewers, and waits for Run. It is safe to
// call twice, and before Run.
func (c *Console) Close() {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.end()
	c.under.Wait()
}

// errStopping is why a viewer's request ends with the console.
var errStopping = errors.New("the connector is stopping")

// enter bounds the reads of the spool; leave must be called.
func (c *Console) enter(ctx context.Context) (leave func(), err error) {
	select {
	case c.reads <- struct{}{}:
		return func() { <-c.reads }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-c.life.Done():
		return nil, errStopping
	}
}
