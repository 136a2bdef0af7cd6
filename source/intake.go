package source

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/internal/tracing"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/pop"
)

// shards is how many events may be on their way to the log at once. A worker has
// one event in flight, which keeps the order of its keys; with a log that answers
// in a fraction of a millisecond, this many store tens of thousands a second.
const shards = 64

// DefaultBufferBytes bounds the memory for what the log has not taken yet: at 250
// bytes a pop, some ten minutes of a large call centre's.
const DefaultBufferBytes = 64 * bytesize.MiB

// IntakeOptions say where an Intake stores events and what it may use.
type IntakeOptions struct {
	Emit Emit
	// BufferBytes bounds what waits in memory; zero means DefaultBufferBytes.
	BufferBytes bytesize.Size
	Logger      *slog.Logger
	Meter       metric.Meter
	// Tracer begins the events' traces; nil: there are none.
	Tracer *tracing.Tracer
}

// Intake stands between the sources, which must never wait, and the log, which
// may. It takes what was received, shards it by call, and stores it in the order
// received, trying again until the log has it. What memory cannot hold meanwhile
// is dropped, oldest first, counted, and reported as a gap of its agents.
type Intake struct {
	emit    Emit
	limit   int64
	log     *slog.Logger
	metrics *intakeMetrics
	tracer  *tracing.Tracer
	silence *silence
	clocks  *clocks
	shards  [shards]shard

	mu sync.Mutex // guards the shards' queues and everything below
	// bytes is the cost of everything queued.
	bytes  int64
	closed bool
	// dropped has an entry for each origin that lost something, until the loss
	// has been reported.
	dropped map[*Origin]*overflow

	// dropping is set while dropped has an entry, stuck while the log refuses
	// events: looked at for each event, changed hardly ever.
	dropping, stuck atomic.Bool
}

type shard struct {
	queue []item
	// room is where a queue begins that was empty: mostly it has one item at a time.
	room [4]item
	// last is the time of the newest item, inHand that of the one that the worker is
	// storing; zero for none.
	last, inHand time.Time
	// ready holds a token when there may be something in the queue.
	ready chan struct{}
}

// item is something received, before it is an event.
type item struct {
	kind   itemKind
	origin *Origin
	at     time.Time
	raw    []byte
	letter *letter        // of a dead letter
	change *SessionChange // of a session
	stored func()         // called once the event is stored; may be nil
	// overlapped: another replica may have received the same pop.
	overlapped bool
}

type itemKind uint8

const (
	popItem itemKind = iota
	callbackItem
	letterItem
	sessionItem
	markItem // no event, see Flush
)

type letter struct{ reason, detail string }

// itemCost is what an item costs beside its bytes.
const itemCost = 160

func (it *item) cost() int64 { return int64(len(it.raw)) + itemCost }

type overflow struct {
	count    int
	from, to time.Time
}

// NewIntake makes an Intake. Nothing is stored until Run is called.
func NewIntake(o IntakeOptions) (*Intake, error) {
	in := &Intake{
		emit: o.Emit, limit: int64(o.BufferBytes), log: o.Logger, tracer: o.Tracer, silence: newSilence(), clocks: newClocks(),
		dropped: map[*Origin]*overflow{},
	}
	if in.limit == 0 {
		in.limit = int64(DefaultBufferBytes)
	}
	for i := range in.shards {
		in.shards[i].ready = make(chan struct{}, 1)
		in.shards[i].queue = in.shards[i].room[:0]
	}
	var err error
	in.metrics, err = newIntakeMetrics(o.Meter, in)
	return in, err
}

// Pop takes a pop string as it came from a socket. It never blocks; raw is copied.
func (in *Intake) Pop(o *Origin, at time.Time, raw []byte) {
	hash, ok := pop.KeyHash(raw)
	if !ok {
		hash = hashString(o.Agent)
	}
	o.popped(at)
	in.silence.popped(o, at)
	in.push(hash^hashString(o.Server), item{kind: popItem, origin: o, at: at, raw: bytes.Clone(raw), overlapped: o.overlaps(at)})
}

// Callback takes the query of an HTTP callback (manual, chapter 3). It never
// blocks; query is copied. stored, where not nil, is called once the event is
// stored; for one that memory could not hold it is never called.
func (in *Intake) Callback(o *Origin, at time.Time, query []byte, stored func()) {
	hash := hashString(o.Agent)
	var decoder pop.Decoder
	var p pop.Pop
	if decoder.DecodeCallback(query, &p) == nil {
		if of, ok := p.KeyHash(); ok {
			hash = of
		}
	}
	in.push(hash^hashString(o.Server), item{kind: callbackItem, origin: o, at: at, raw: bytes.Clone(query), stored: stored})
}

// DeadLetter takes bytes that cannot become a pop. It never blocks; raw is copied.
func (in *Intake) DeadLetter(o *Origin, at time.Time, raw []byte, reason, detail string) {
	in.push(hashString(o.Agent)^hashString(o.Server), item{
		kind: letterItem, origin: o, at: at, raw: bytes.Clone(raw), letter: &letter{reason, detail},
	})
}

// Session takes a change of the session that o stands for. It never blocks.
func (in *Intake) Session(o *Origin, change SessionChange) {
	in.mu.Lock()
	o.state = change.State
	in.mu.Unlock()
	in.silence.session(o, change.State, change.At)
	in.metrics.gap(o, change.Gap)
	in.push(hashString(o.Agent)^hashString(o.Server), item{kind: sessionItem, origin: o, at: change.At, change: &change})
}

func (in *Intake) push(hash uint64, it item) {
	s := &in.shards[hash%shards]
	in.mu.Lock()
	for in.bytes+it.cost() > in.limit && in.dropOldest() {
	}
	// Two sockets' pops of one call are in the order in which they come here; their
	// times say the same, though each was taken before.
	if !it.at.After(s.last) {
		it.at = s.last.Add(1)
	}
	s.last = it.at
	s.queue = append(s.queue, it)
	in.bytes += it.cost()
	in.mu.Unlock()
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

// dropOldest makes room, and reports whether there was anything to drop.
func (in *Intake) dropOldest() bool {
	var oldest *shard
	for i := range in.shards {
		s := &in.shards[i]
		if len(s.queue) > 0 && (oldest == nil || s.queue[0].at.Before(oldest.queue[0].at)) {
			oldest = s
		}
	}
	if oldest == nil {
		return false
	}
	it := in.take(oldest)
	if it.kind == markItem {
		it.stored() // all before it is gone, one way or the other
		return true
	}
	if len(in.dropped) == 0 {
		in.log.Error("memory for what the log cannot take is full: the oldest is dropped", "source.buffer_bytes", in.limit)
	}
	o := in.dropped[it.origin]
	if o == nil {
		o = &overflow{from: it.at}
		in.dropped[it.origin] = o
	}
	o.count++
	o.to = it.at
	in.dropping.Store(true)
	in.metrics.drop(it.origin)
	return true
}

// take removes the head of a queue that has one.
func (in *Intake) take(s *shard) item {
	it := s.queue[0]
	s.queue[0] = item{}
	if s.queue = s.queue[1:]; len(s.queue) == 0 {
		s.queue = s.room[:0]
	}
	in.bytes -= it.cost()
	return it
}

// Close says that nothing more will come: Run returns once all that waits is
// stored. It is safe to call it twice.
func (in *Intake) Close() {
	in.mu.Lock()
	in.closed = true
	in.mu.Unlock()
	for i := range in.shards {
		select {
		case in.shards[i].ready <- struct{}{}:
		default:
		}
	}
}

// Run stores what comes until Close has been called and nothing is left, or until
// ctx is done. The error says how many events were left in memory then.
func (in *Intake) Run(ctx context.Context) error {
	var workers, watching sync.WaitGroup
	watch, stopWatching := context.WithCancel(ctx)
	watching.Go(func() { in.silence.watch(watch, in.log) })
	// More than once, since what the last worker reports as lost can be for a shard
	// whose worker has ended.
	for again := true; again; again = ctx.Err() == nil && in.Queued() > 0 {
		for i := range in.shards {
			workers.Go(func() { in.work(ctx, &in.shards[i]) })
		}
		workers.Wait()
	}
	stopWatching()
	watching.Wait()
	in.mu.Lock()
	defer in.mu.Unlock()
	left := 0
	for i := range in.shards {
		left += len(in.shards[i].queue)
	}
	if left > 0 {
		return fmt.Errorf("%d events were still in memory when the intake was stopped: the log did not take them", left)
	}
	return nil
}

func (in *Intake) work(ctx context.Context, s *shard) {
	assembler := NewAssembler()
	recorder := in.recorder()
	for {
		it, ok := in.next(ctx, s)
		if !ok {
			return
		}
		if it.kind == markItem {
			it.stored()
			continue
		}
		j := begin(ctx, in.tracer, &it)
		event, labels := it.assemble(assembler)
		j.decoded(&it, &event, labels)
		stored := in.store(j.ctx, event)
		j.end(stored)
		if !stored {
			in.putBack(s, it)
			return
		}
		if it.stored != nil {
			it.stored()
		}
		recorder.record(ctx, &it, labels, assembler.began())
		in.reportDropped()
	}
}

func (it *item) assemble(a *Assembler) (event schema.Event, labels Labels) {
	switch it.kind {
	case callbackItem:
		event, labels, _ = a.Callback(it.origin, it.at, it.raw) // the dead letter has the error
		return event, labels
	case letterItem:
		return a.DeadLetter(it.origin, it.at, it.raw, it.letter.reason, it.letter.detail), Labels{Reason: it.letter.reason}
	case sessionItem:
		return a.SessionChanged(it.origin, *it.change), Labels{}
	default:
		var err error
		event, labels, err = a.Pop(it.origin, it.at, it.raw)
		if err == nil && it.overlapped {
			event.Overlap = strings.Clone(a.fingerprint)
		}
		return event, labels
	}
}

// next waits for the head of s's queue; false means that there will be none.
func (in *Intake) next(ctx context.Context, s *shard) (item, bool) {
	for ctx.Err() == nil {
		in.mu.Lock()
		if len(s.queue) > 0 {
			it := in.take(s)
			s.inHand = it.at
			in.mu.Unlock()
			return it, true
		}
		s.inHand = time.Time{}
		closed := in.closed
		in.mu.Unlock()
		if closed {
			return item{}, false
		}
		select {
		case <-s.ready:
		case <-ctx.Done():
		}
	}
	return item{}, false
}

// putBack returns what could not be stored, so that it is counted.
func (in *Intake) putBack(s *shard, it item) {
	in.mu.Lock()
	defer in.mu.Unlock()
	s.queue = append([]item{it}, s.queue...)
	in.bytes += it.cost()
}

// The pauses between attempts to store an event.
const (
	firstStorePause = 20 * time.Millisecond
	maxStorePause   = time.Second
)

// store offers event to the log until it is there; false means that ctx was done
// first. The order of a key holds because the shard waits meanwhile.
func (in *Intake) store(ctx context.Context, event schema.Event) bool {
	pause := firstStorePause
	for {
		err := in.emit(ctx, event)
		if err == nil {
			in.noteStuck(ctx, nil)
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		in.noteStuck(ctx, err)
		select {
		case <-time.After(rand.N(pause)):
		case <-ctx.Done():
			return false
		}
		pause = min(2*pause, maxStorePause)
	}
}

// noteStuck logs each change between a log that takes events and one that does
// not, once.
func (in *Intake) noteStuck(ctx context.Context, err error) {
	stuck := err != nil
	if in.stuck.Load() == stuck || !in.stuck.CompareAndSwap(!stuck, stuck) {
		return
	}
	if stuck {
		in.log.ErrorContext(ctx, "the log does not take events: they wait in memory", "error", err, "waiting", in.Queued())
	} else {
		in.log.InfoContext(ctx, "the log takes events again", "waiting", in.Queued())
	}
}

// reportDropped turns what was dropped into gaps, once half the memory is free
// again.
func (in *Intake) reportDropped() {
	if !in.dropping.Load() {
		return
	}
	in.mu.Lock()
	if len(in.dropped) == 0 || in.bytes > in.limit/2 {
		in.mu.Unlock()
		return
	}
	dropped := in.dropped
	in.dropped = map[*Origin]*overflow{}
	in.dropping.Store(false)
	states := make(map[*Origin]schema.SessionState, len(dropped))
	for o := range dropped {
		states[o] = cmp.Or(o.state, schema.Connected)
	}
	in.mu.Unlock()

	count := 0
	for origin, lost := range dropped {
		count += lost.count
		in.Session(origin, SessionChange{
			State: states[origin], At: time.Now(),
			Cause: fmt.Sprintf("%d received while the log was stuck could not be held in memory", lost.count),
			Gap:   &schema.Gap{From: lost.from.UTC(), To: lost.to.UTC()},
		})
	}
	in.log.Error("what memory could not hold was dropped and is reported as gaps", "dropped", count, "agents", len(dropped))
}

// hashString is FNV-1a.
func hashString(s string) uint64 {
	hash := uint64(14695981039346656037)
	for i := range len(s) {
		hash = (hash ^ uint64(s[i])) * 1099511628211
	}
	return hash
}

// Oldest is when the oldest was received of what is neither in the log nor in a gap
// yet; zero where all is. Were the process to end now, everything from then on could
// be lost.
func (in *Intake) Oldest() (oldest time.Time) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, lost := range in.dropped {
		if oldest.IsZero() || lost.from.Before(oldest) {
			oldest = lost.from
		}
	}
	for i := range in.shards {
		s := &in.shards[i]
		at := s.inHand
		if at.IsZero() && len(s.queue) > 0 {
			at = s.queue[0].at
		}
		if !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	return oldest
}

// SetBuffer changes what may wait in memory. Where more waits already, the oldest
// is dropped with the next event that comes.
func (in *Intake) SetBuffer(limit bytesize.Size) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.limit = int64(limit)
}
