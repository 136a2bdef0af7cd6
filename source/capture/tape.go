package capture

import (
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"
)

// maxQueued bounds the bytes that wait to be written. A disk that stops for some
// seconds costs nothing; one that stops for good costs the transcript, never the
// desktops.
const maxQueued = 8 << 20

// tape writes records in the order in which they are put, by a goroutine of its
// own, so that who puts one never waits.
type tape struct {
	out   io.Writer
	limit int64
	log   *slog.Logger

	mu      sync.Mutex // guards what follows, but for written, which is run's own
	ready   *sync.Cond
	queue   []line
	queued  int
	lost    map[loss]int // bytes by connection and side, until they are reported
	ended   bool         // nothing more comes
	stopped bool         // nothing more is written
	err     error
	written int64
}

type loss struct {
	connection int64
	of         Kind
}

// lineCost is what a record costs beside its bytes.
const lineCost = 200

// newTape writes the header.
func newTape(out io.Writer, limit int64, log *slog.Logger, h header) (*tape, error) {
	t := &tape{out: out, limit: limit, log: log, lost: map[loss]int{}}
	t.ready = sync.NewCond(&t.mu)
	text, err := appendLine(nil, h)
	if err != nil {
		return nil, err
	}
	if _, err := out.Write(text); err != nil {
		return nil, fmt.Errorf("write the transcript: %w", err)
	}
	t.written = int64(len(text))
	return t, nil
}

// put takes a record; the bytes belong to the tape from then on.
func (t *tape) put(l line) {
	l.At = time.Now().UTC()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped || t.ended {
		return
	}
	cost := len(l.Bytes) + lineCost
	if t.queued+cost > maxQueued {
		switch {
		case len(l.Bytes) > 0:
			t.lost[loss{l.Connection, l.Event}] += len(l.Bytes)
			return
		case l.Event == Open && t.queued+cost > 2*maxQueued:
			t.stopLocked("the transcript cannot be written as fast as clients connect: recording ends")
			return
		}
		// How a connection begins and ends is small, and the rest makes no sense
		// without it.
	}
	if n := t.lost[loss{l.Connection, l.Event}]; n > 0 {
		delete(t.lost, loss{l.Connection, l.Event})
		t.addLocked(line{Connection: l.Connection, At: l.At, Event: Lost, Of: l.Event, Count: n})
	}
	t.addLocked(l)
}

func (t *tape) addLocked(l line) {
	t.queue = append(t.queue, l)
	t.queued += len(l.Bytes) + lineCost
	t.ready.Signal()
}

func (t *tape) stopLocked(why string) {
	if !t.stopped {
		t.stopped = true
		t.queue, t.queued = nil, 0
		t.log.Error(why + "; connections go on")
		t.ready.Signal()
	}
}

// end says that nothing more comes; run returns once all is written.
func (t *tape) end() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now().UTC()
	for l, n := range t.lost {
		if !t.stopped {
			t.addLocked(line{Connection: l.connection, At: now, Event: Lost, Of: l.of, Count: n})
		}
	}
	clear(t.lost)
	t.ended = true
	t.ready.Signal()
}

// run writes until end has been called and all is written. The error is the
// writer's; what comes after it is not recorded.
func (t *tape) run() error {
	var text []byte
	for {
		t.mu.Lock()
		for len(t.queue) == 0 && !t.ended {
			t.ready.Wait()
		}
		batch := t.queue
		t.queue, t.queued = nil, 0
		done := len(batch) == 0 && t.ended
		err := t.err
		t.mu.Unlock()
		if done {
			return err
		}
		var full bool
		text, full = t.render(text[:0], batch)
		_, err = t.out.Write(text)
		t.mu.Lock()
		if err != nil {
			t.err = fmt.Errorf("write the transcript: %w", err)
			t.stopLocked("the transcript cannot be written any more: " + err.Error())
		} else if full {
			t.stopLocked(fmt.Sprintf("the transcript has reached its limit of %d bytes: recording ends", t.limit))
		}
		t.mu.Unlock()
	}
}

// render appends the batch as lines, up to the limit.
func (t *tape) render(text []byte, batch []line) (lines []byte, full bool) {
	for _, l := range batch {
		before := len(text)
		// A line holds nothing that JSON cannot, so there is no error.
		text, _ = appendLine(text, l)
		if t.written+int64(len(text)) > t.limit {
			text, _ = appendLine(text[:before], line{At: l.At, Event: Full})
			return text, true
		}
	}
	t.written += int64(len(text))
	return text, false
}
