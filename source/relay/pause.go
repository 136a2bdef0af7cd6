package relay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// errParted ends what serves a desktop that is another process's.
var errParted = errors.New("the desktop was handed over")

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// pause has all desktops wait, each direction between two reads or writes.
type pause struct {
	// over is closed when they go on.
	over chan struct{}
}

// way is one direction of a desktop.
type way struct {
	// parked is what it waits in; waking that it was told to look for a pause.
	parked atomic.Pointer[pause]
	waking atomic.Bool
	// over: it has ended.
	over atomic.Bool
	// rest was read and shown to the tap, and is still to be passed on. Only the
	// direction's goroutine uses it, or whoever finds it parked.
	rest []byte
}

// dialling is what a pause of the source does to attempts under way.
type dialling struct {
	under   map[*desktop]context.CancelFunc
	waiting map[*desktop]struct{} // those that dial when the pause ends
}

func newDialling() *dialling {
	return &dialling{under: map[*desktop]context.CancelFunc{}, waiting: map[*desktop]struct{}{}}
}

// beginDial waits until the source is not paused and gives the context of an
// attempt; done ends it. The desktop is errParted where it went to another process.
func (s *Source) beginDial(ctx context.Context, d *desktop) (attempt context.Context, done func(), err error) {
	for {
		s.mu.Lock()
		closed, parted := s.closed, s.parted
		if closed == nil {
			attempt, cancel := context.WithCancel(ctx)
			s.dialled.under[d] = cancel
			s.mu.Unlock()
			return attempt, func() {
				s.mu.Lock()
				defer s.mu.Unlock()
				cancel()
				delete(s.dialled.under, d)
			}, nil
		}
		s.dialled.waiting[d] = struct{}{}
		s.mu.Unlock()
		if parted {
			return nil, nil, errParted
		}
		select {
		case <-closed:
		case <-ctx.Done():
		}
		s.mu.Lock()
		delete(s.dialled.waiting, d)
		parted = s.parted
		s.mu.Unlock()
		switch {
		case parted:
			return nil, nil, errParted
		case ctx.Err() != nil:
			return nil, nil, ctx.Err()
		}
	}
}

// dialGrace is how long attempts under way may go on in a pause.
const dialGrace = time.Second

// pausePoll is how often a pause is looked after.
const pausePoll = 2 * time.Millisecond

// Pause accepts nobody until Unpause: who connects waits in the listener. It returns
// when no server is being dialled; ctx bounds that.
func (s *Source) Pause(ctx context.Context) error {
	s.mu.Lock()
	if s.closed == nil {
		s.closed = make(chan struct{})
	}
	s.mu.Unlock()
	// For one that was closed, nothing is accepted any more in any case.
	_ = s.listener.SetDeadline(longAgo)
	began := time.Now()
	return poll(ctx, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if time.Since(began) > dialGrace {
			for _, cancel := range s.dialled.under {
				cancel()
			}
		}
		if len(s.dialled.under) > 0 {
			return fmt.Errorf("source %s: a server is still being dialled", s.config.Name)
		}
		return nil
	})
}

// poll calls ready until it returns nil, or ctx is done: then it returns its error.
func poll(ctx context.Context, ready func() error) error {
	ticker := time.NewTicker(pausePoll)
	defer ticker.Stop()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		}
	}
}

// Unpause ends Pause and HandOver.
func (s *Source) Unpause() {
	s.goOn()
	_ = s.listener.SetDeadline(time.Time{})
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed != nil {
		close(s.closed)
		s.closed = nil
	}
}

// goOn ends the wait of the desktops.
func (s *Source) goOn() {
	if p := s.pausing.Swap(nil); p != nil {
		close(p.over)
	}
}

// awaitReopening waits for the end of a pause.
func (s *Source) awaitReopening(ctx context.Context) {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed != nil {
		select {
		case <-closed:
		case <-ctx.Done():
		}
	}
}

// Part says that all desktops and the listener are another process's: here they end
// without anybody's noticing. It follows HandOver.
func (s *Source) Part() {
	s.mu.Lock()
	s.parted = true
	desktops := make([]*desktop, 0, len(s.desktops))
	for d := range s.desktops {
		desktops = append(desktops, d)
	}
	closed := s.closed
	s.mu.Unlock()
	_ = s.listener.Close() // which leaves the successor's open
	for _, d := range desktops {
		d.close() // this process's hold on the sockets
	}
	s.goOn()
	close(closed)
}

// interrupt has the directions of all desktops look for p.
func (s *Source) interrupt(p *pause) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d := range s.desktops {
		d.mu.Lock()
		for _, sender := range []peer{lqServer, client} {
			w := &d.ways[sender]
			if d.server == nil || d.closed || w.over.Load() || w.parked.Load() == p {
				continue
			}
			from, to := d.pair(sender)
			w.waking.Store(true)
			_ = from.SetReadDeadline(longAgo) // these fail for one that ends now
			_ = to.SetWriteDeadline(longAgo)
		}
		d.mu.Unlock()
	}
}

// pair gives who sends and who receives in a direction.
func (d *desktop) pair(sender peer) (from, to *net.TCPConn) {
	if sender == lqServer {
		return d.server, d.client
	}
	return d.client, d.server
}

// interrupted reports whether err is that of a deadline which a pause has set.
func (d *desktop) interrupted(sender peer, err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && d.ways[sender].waking.Load()
}

// wait waits as long as the desktops are to wait. errParted means for ever.
func (d *desktop) wait(sender peer, from, to *net.TCPConn) error {
	w := &d.ways[sender]
	if p := d.source.pausing.Load(); p != nil {
		w.parked.Store(p)
		<-p.over
		w.parked.Store(nil)
	}
	d.source.mu.Lock()
	parted := d.source.parted
	d.source.mu.Unlock()
	if parted {
		return errParted
	}
	w.waking.Store(false)
	_ = from.SetReadDeadline(time.Time{})
	_ = to.SetWriteDeadline(time.Time{})
	return nil
}

// passRest passes on what a wait found, or another process left.
func (d *desktop) passRest(sender peer, to *net.TCPConn) error {
	w := &d.ways[sender]
	for len(w.rest) > 0 {
		n, err := to.Write(w.rest)
		w.rest = w.rest[n:]
		if err != nil && d.interrupted(sender, err) {
			from, _ := d.pair(sender)
			err = d.wait(sender, from, to)
		}
		if err != nil {
			return err
		}
	}
	w.rest = nil
	return nil
}

// serveAdopted goes on with the desktops of another process.
func (s *Source) serveAdopted(ctx context.Context, clients *sync.WaitGroup) {
	s.mu.Lock()
	adopted := s.adopted
	s.adopted = nil
	s.mu.Unlock()
	for _, d := range adopted {
		if d.server == nil {
			clients.Go(func() { d.serve(ctx, clients) })
		} else {
			d.begin(clients)
		}
	}
}
