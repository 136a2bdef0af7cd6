package session

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/callpop/connector/source"
)

// Expiry is how long a server may be silent, see [source.Expiry], with the heartbeats
// of any session. It is shared by all sessions with one server.
type Expiry struct {
	after, longest atomic.Int64
}

// NewExpiry makes an Expiry of at least after; 0 = never.
func NewExpiry(after time.Duration) *Expiry {
	e := &Expiry{}
	e.Set(after)
	return e
}

// Set changes the configured time.
func (e *Expiry) Set(after time.Duration) { e.after.Store(int64(after)) }

// Of is the time now in force; 0 = never.
func (e *Expiry) Of() time.Duration {
	return source.Expiry(time.Duration(e.after.Load()), time.Duration(e.longest.Load()))
}

// Saw notes the time between two heartbeats of one session.
func (e *Expiry) Saw(interval time.Duration) {
	for {
		longest := e.longest.Load()
		if int64(interval) <= longest || e.longest.CompareAndSwap(longest, int64(interval)) {
			return
		}
	}
}

// maxCheckInterval is OCX's checkInterval (manual, chapter 6).
const maxCheckInterval = 5 * time.Second

// watch ends the sessions whose server has been silent for too long, until ctx is
// done. One loop looks at all of them: a deadline of its own for each read would
// cost every session a timer and a deeper stack.
func (s *sessions) watch(ctx context.Context) {
	timer := time.NewTimer(s.checkInterval())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			s.expire()
			timer.Reset(s.checkInterval())
		}
	}
}

func (s *sessions) checkInterval() time.Duration {
	if expiry := s.expiry.Of(); expiry > 0 {
		return min(maxCheckInterval, expiry/4)
	}
	return maxCheckInterval
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

func (s *sessions) expire() {
	expiry, now := s.expiry.Of(), time.Since(s.start)
	if expiry == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.live {
		if now-time.Duration(r.heardAt.Load()) > expiry {
			// Whatever the session waits for, reading or writing, ends now.
			_ = r.conn.SetDeadline(longAgo)
		}
	}
}

// join has a connected session watched; part ends that.
func (s *sessions) join(r *reader) {
	at := r.lastHeard
	if at.IsZero() {
		at = time.Now()
	}
	r.heardAt.Store(int64(at.Sub(s.start)))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live[r] = struct{}{}
}

func (s *sessions) part(r *reader) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, r)
}
