package spool

import "sync"

// tail tells readers that a stream has grown. Every event comes in through Emit,
// so nothing has to be asked of the server.
type tail struct {
	mu    sync.Mutex
	grown chan struct{} // guarded by mu; nil while nobody waits
}

// wait returns a channel that is closed when the stream grows. Get it before
// looking at the stream.
func (t *tail) wait() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.grown == nil {
		t.grown = make(chan struct{})
	}
	return t.grown
}

func (t *tail) wake() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.grown != nil {
		close(t.grown)
		t.grown = nil
	}
}

func (s *Spool) wakeReaders() {
	for i := range s.tails {
		s.tails[i].wake()
	}
}
