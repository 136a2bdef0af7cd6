package relay

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// The pauses after accepting failed: most often no descriptors are left, and those
// that end make room.
const (
	firstAcceptPause = 5 * time.Millisecond
	maxAcceptPause   = time.Second
)

// acceptAll takes connections until the listener is closed.
func (s *Source) acceptAll(ctx context.Context, clients *sync.WaitGroup) {
	refused := newRefusals(s.log)
	var pause time.Duration
	for {
		conn, err := s.accept()
		switch {
		case err == nil:
			if pause > 0 {
				s.log.Info("desktops are accepted again")
				pause = 0
			}
			s.admit(ctx, conn, refused, clients)
		case errors.Is(err, net.ErrClosed):
			return
		case errors.Is(err, os.ErrDeadlineExceeded):
			s.awaitReopening(ctx)
		default:
			if pause == 0 {
				s.log.Error("desktops cannot be accepted", "error", err)
			}
			pause = min(max(2*pause, firstAcceptPause), maxAcceptPause)
			timer := time.NewTimer(pause)
			select {
			case <-timer.C:
			case <-ctx.Done():
			}
			timer.Stop()
		}
	}
}

// admit starts serving a desktop, or turns it away with a reset.
func (s *Source) admit(ctx context.Context, conn *net.TCPConn, refused *refusals, clients *sync.WaitGroup) {
	remote, ok := conn.RemoteAddr().(*net.TCPAddr)
	if !ok { // gone already
		_ = conn.Close()
		return
	}
	address := remote.AddrPort().Addr().Unmap()
	if reason := s.door.enter(address); reason != "" {
		s.metrics.addFor(s.metrics.refused, reason)
		refused.note(reason, address, time.Now())
		reset(conn)
		return
	}
	s.metrics.client(1)
	d := &desktop{source: s, address: address, client: conn}
	s.mu.Lock()
	s.desktops[d] = struct{}{}
	s.mu.Unlock()
	_ = conn.SetKeepAliveConfig(keepAlive) // fails only for one that is gone: the first read says so
	clients.Go(func() { d.serve(ctx, clients) })
}

// forget ends what admit began.
func (s *Source) forget(d *desktop) {
	s.mu.Lock()
	delete(s.desktops, d)
	s.mu.Unlock()
	s.metrics.client(-1)
	s.door.leave(d.address)
}

// outage logs when the server cannot be reached and when it can be again, at most
// one outage a minute.
type outage struct {
	mu     sync.Mutex // guards what follows
	logged bool
	at     time.Time
}

func (o *outage) note(log *slog.Logger, address string, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	switch {
	case err != nil && !o.logged && now.Sub(o.at) >= refusalPause:
		o.logged, o.at = true, now
		log.Warn("the LQ server cannot be reached: desktops that connect are reset", "address", address, "error", err)
	case err == nil && o.logged:
		o.logged = false
		log.Info("the LQ server can be reached", "address", address)
	}
}
