package spool

import (
	"context"
	"sync"
	"time"
)

// ledgerInterval is how often it is brought up to date. What was stored since, and
// is then damaged, may be counted short; its sequences are given to no other event
// all the same, see [tailMargin].
const ledgerInterval = time.Second

// keep brings the ledger up to date, and lets go of events that are no longer recent,
// until the spool is closed.
func (s *Spool) keep() {
	ticker := time.NewTicker(s.keepInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.life.Done():
			return
		case <-ticker.C:
		}
		if e := s.current(); e != nil {
			s.keepNow(s.life, e)
			for i := range e.recents {
				e.recents[i].age()
			}
		}
	}
}

// keepNow brings the ledger up to date with what engine e holds, and writes it if
// that is something new.
func (s *Spool) keepNow(ctx context.Context, e *engine) {
	limited, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	var states [len(streams)]State
	for i, st := range streams {
		// First the sequence that was acknowledged: the state is then no older.
		last, _ := s.tails[i].wait()
		state, err := streamState(limited, e, st)
		if err != nil {
			return // the next round
		}
		state.Last = last
		states[i] = state
	}
	b := &s.books
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-e.retired:
		return // what comes after it may have been written already
	default:
	}
	s.enter(states)
	s.writeBooks()
}

// books are the ledger in memory.
type books struct {
	mu     sync.Mutex
	ledger *ledger // guarded by mu
	dirty  bool    // guarded by mu; there is something to write
	failed bool    // guarded by mu; the last write did
}

// enter takes the streams' states down. The caller holds books.mu.
func (s *Spool) enter(states [len(streams)]State) {
	b := &s.books
	if b.ledger.Clean {
		b.ledger.Clean, b.dirty = false, true
	}
	for i, st := range streams {
		l := b.ledger.Streams[st.name]
		before := *l
		l.First, l.Last, l.MaxBytes, l.Blocks = states[i].First, max(l.Last, states[i].Last), int64(s.config.MaxBytes), nil
		if l.First != before.First || l.Last != before.Last || l.MaxBytes != before.MaxBytes {
			b.dirty = true
			l.prune(time.Now().Add(-s.config.MaxAge))
		}
	}
}

// writeBooks writes the ledger where it is not written. On a full disk that fails,
// and the log goes on with the one before. The caller holds books.mu.
func (s *Spool) writeBooks() {
	b := &s.books
	if !b.dirty {
		return
	}
	err := writeLedger(s.config.Dir, b.ledger)
	if err != nil && !b.failed {
		s.logger.Warn("what the spool has to hold cannot be written down; damage may be counted short", "error", err)
	}
	b.dirty, b.failed = err != nil, err != nil
}

// noteCursor takes a sink's place down, for the next time that the ledger is
// written.
func (s *Spool) noteCursor(key string, sequence uint64) {
	b := &s.books
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, ok := b.ledger.Cursors[key]; !ok || known != sequence {
		b.ledger.Cursors[key], b.dirty = sequence, true
	}
}

// forgetCursor takes it out.
func (s *Spool) forgetCursor(key string) {
	b := &s.books
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.ledger.Cursors[key]; ok {
		delete(b.ledger.Cursors, key)
		b.dirty = true
		s.writeBooks()
	}
}
