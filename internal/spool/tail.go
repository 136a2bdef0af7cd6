package spool

import "sync"

// tail tells readers that a stream has grown. Every event comes in through Emit,
// so nothing has to be asked of the server.
type tail struct {
	mu    sync.Mutex
	last  uint64        // guarded by mu; the newest sequence known
	grown chan struct{} // guarded by mu; nil while nobody waits
}

// wait returns the newest sequence known and a channel that is closed when there
// may be a newer one. Get them before looking at the stream.
func (t *tail) wait() (last uint64, grown <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.grown == nil {
		t.grown = make(chan struct{})
	}
	return t.last, t.grown
}

// wake has readers look at the stream; last is its newest sequence, as far as the
// caller knows.
func (t *tail) wake(last uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = max(t.last, last)
	if t.grown != nil {
		close(t.grown)
		t.grown = nil
	}
}

// startTails begins anew with what an engine found.
func (s *Spool) startTails(e *engine) {
	for i, last := range e.last {
		t := &s.tails[i]
		t.mu.Lock()
		t.last = last
		t.mu.Unlock()
		t.wake(last)
	}
}
