package relay

import (
	"fmt"
	"log/slog"
	"regexp"
	"runtime"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/callpop/connector/source"
)

// taker is what the tap hands to: [source.Intake].
type taker interface {
	Pop(o *source.Origin, at time.Time, raw []byte)
	DeadLetter(o *source.Origin, at time.Time, raw []byte, reason, detail string)
	Session(o *source.Origin, change source.SessionChange)
}

// Bounds, in bytes, of what waits for the tap: in all, and of one desktop, so that
// one server connection gone wild does not take the others' place.
const (
	tapBytes        = 16 << 20
	tapDesktopBytes = 512 << 10
	// itemCost is what an item costs beside its bytes.
	itemCost = 96
)

// checkInterval is how often silence is looked for at the seldomest, as the OCX
// does (manual, chapter 6).
const checkInterval = 5 * time.Second

type tapOptions struct {
	intake      taker
	pattern     *regexp.Regexp
	metrics     *metrics
	log         *slog.Logger
	origin      *source.Origin // of every desktop, but for agent and channel
	expireAfter time.Duration
	absences    *source.Absences
	maxClients  int
}

// tap sees what the desktops' streams carry, in the order in which it came, and
// makes pops and session events of it. One goroutine does, behind a queue that
// never waits: so that the order of a call's pops holds over several connections,
// and nothing it does can touch a stream.
type tap struct {
	o      tapOptions
	agents *agents
	// up counts the connections over which the server has been heard.
	up atomic.Int64
	// ready holds a token when there may be something in the queue.
	ready chan struct{}
	// asks are for the goroutine to do when nothing is in the queue.
	asks chan func()

	mu sync.Mutex // guards what follows, and what desktops say it does
	// queue is what has come; bytes its cost, that which is being handled included.
	queue  batch
	bytes  int
	closed bool

	// What follows is the goroutine's own.

	live map[*desktop]struct{}
	// longest is the longest interval between two heartbeats of a connection.
	longest time.Duration
	// panicked and unnamed: that a bug was caught, that the pattern did not fit, has
	// been logged.
	panicked, unnamed bool
}

// batch is what came while the tap was at something else. Its memory is used again,
// so that a desktop's goroutine hardly ever allocates: the stack that takes is kept
// for as long as the desktop stays.
type batch struct {
	items []item
	data  []byte // of all items
}

// item is something that came over a desktop's connections.
type item struct {
	d    *desktop
	at   time.Time
	kind itemKind
	// size is the length of its data, which lies behind that of the item before.
	size int
	// lost is what could not be taken just before it; most often nil.
	lost *loss
}

func (it *item) cost() int { return it.size + itemCost }

type itemKind uint8

const (
	openedItem itemKind = iota
	serverItem
	clientItem
	endedItem
)

// loss is a piece of a stream that the tap did not see, from and to the times at
// which its bytes came.
type loss struct {
	bytes    int
	from, to time.Time
}

// merge returns both in one; either may be nil.
func (l *loss) merge(later *loss) *loss {
	switch {
	case l == nil:
		return later
	case later == nil:
		return l
	}
	return &loss{bytes: l.bytes + later.bytes, from: l.from, to: later.to}
}

func newTap(o tapOptions) *tap {
	return &tap{
		o: o, agents: newAgents(o.maxClients, o.absences, o.origin.Name), queue: newBatch(),
		ready: make(chan struct{}, 1), asks: make(chan func()), live: map[*desktop]struct{}{},
	}
}

// opened says that the server has accepted; server, client and ended what came
// after. None of them blocks or keeps data. ended comes last and once, when the
// desktop knows its ending, also where opened did not come; what comes behind it is
// ignored.
func (t *tap) opened(d *desktop, at time.Time) { t.push(openedItem, d, at, nil) }

func (t *tap) server(d *desktop, at time.Time, data []byte) { t.push(serverItem, d, at, data) }

func (t *tap) client(d *desktop, at time.Time, data []byte) { t.push(clientItem, d, at, data) }

func (t *tap) ended(d *desktop, at time.Time) { t.push(endedItem, d, at, nil) }

func (t *tap) push(kind itemKind, d *desktop, at time.Time, data []byte) {
	cost := len(data) + itemCost
	t.mu.Lock()
	if len(data) > 0 && (t.bytes+cost > tapBytes || d.waiting+cost > tapDesktopBytes) {
		t.dropLocked(kind, d, at, len(data))
		t.mu.Unlock()
		return
	}
	t.queue.items = append(t.queue.items, item{})
	it := &t.queue.items[len(t.queue.items)-1]
	it.d, it.at, it.kind, it.size = d, at, kind, len(data)
	if kind != clientItem {
		it.lost, d.unseen = d.unseen, nil
	}
	t.queue.data = append(t.queue.data, data...)
	t.bytes += cost
	d.waiting += cost
	t.mu.Unlock()
	t.wake()
}

// dropLocked counts what there is no room for.
func (t *tap) dropLocked(kind itemKind, d *desktop, at time.Time, size int) {
	if kind == serverItem {
		d.unseen = d.unseen.merge(&loss{bytes: size, from: at, to: at})
	}
	t.o.metrics.add(t.o.metrics.tapLost, int64(size))
}

func (t *tap) wake() {
	select {
	case t.ready <- struct{}{}:
	default:
	}
}

// close says that nothing more will come: run returns once all is handled.
func (t *tap) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.wake()
}

// run handles what comes until close has been called and nothing is left.
func (t *tap) run() {
	every := checkInterval
	if t.o.expireAfter > 0 {
		every = min(every, t.o.expireAfter/4)
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	spare := newBatch()
	for {
		t.mu.Lock()
		now, closed := t.queue, t.closed
		t.queue = spare
		t.mu.Unlock()
		if len(now.items) == 0 {
			if closed {
				return
			}
			select {
			case <-t.ready:
			case do := <-t.asks:
				do()
			case <-ticker.C:
				// The queue is empty: nothing that has come is still to be seen.
				t.guard(nil, func() { t.sweep(time.Now()) })
			}
		}
		spare = t.take(now)
	}
}

// take handles a batch and returns its memory for another.
func (t *tap) take(b batch) batch {
	rest := b.data
	for i := range b.items {
		it := &b.items[i]
		data := rest[:it.size]
		rest = rest[it.size:]
		t.guard(it, func() { t.handle(it, data) })
		t.mu.Lock()
		t.bytes -= it.cost()
		it.d.waiting -= it.cost()
		t.mu.Unlock()
	}
	clear(b.items)
	if cap(b.items) > 2*batchItems || cap(b.data) > 2*batchBytes {
		return newBatch()
	}
	return batch{b.items[:0], b.data[:0]}
}

// batchItems and batchBytes are the room that a batch begins with: that of some
// thousand pops that come at once.
const (
	batchItems = 1 << 10
	batchBytes = 128 << 10
)

func newBatch() batch {
	return batch{items: make([]item, 0, batchItems), data: make([]byte, 0, batchBytes)}
}

// guard calls handle and catches its panic: a bug costs what it was handling, of
// one desktop, and is counted. Framing is then found again as after a loss.
func (t *tap) guard(it *item, handle func()) {
	defer func() {
		bug := recover()
		if bug == nil {
			return
		}
		m := t.o.metrics
		m.add(m.tapPanics, 1)
		if !t.panicked {
			t.panicked = true
			// The value may hold what was being decoded, a customer's number with it.
			what := fmt.Sprintf("%T", bug)
			if known, ok := bug.(runtime.Error); ok {
				what = known.Error()
			}
			t.o.log.Error("a bug in the tap was caught: events are missing, desktops are served; this is logged once",
				"panic", what, "stack", string(debug.Stack()))
		}
		if it != nil && it.kind == serverItem {
			m.add(m.tapLost, int64(it.size))
			it.d.resync(&loss{bytes: it.size, from: it.at, to: it.at})
		}
	}()
	handle()
}
