package natssink_test

import (
	"io"
	"net"
	"sync"
	"testing"
)

// proxy stands between a sink and its broker, and can stop passing on what the
// broker says, as a network does that drops packets: nobody sees an end.
type proxy struct {
	listener net.Listener
	target   string

	mu    sync.Mutex
	held  chan struct{} // closed while the broker's words pass
	conns []net.Conn
	work  sync.WaitGroup
}

func startProxy(t *testing.T, target string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: listener, target: target, held: make(chan struct{})}
	close(p.held)
	p.work.Go(p.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		p.release()
		p.cut()
		p.work.Wait()
	})
	return p
}

func (p *proxy) url() string { return "nats://" + p.listener.Addr().String() }

func (p *proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		broker, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		p.mu.Lock()
		p.conns = append(p.conns, client, broker)
		p.mu.Unlock()
		p.work.Go(func() {
			_, _ = io.Copy(broker, client)
			_ = broker.Close()
		})
		p.work.Go(func() {
			_, _ = io.Copy(client, gated{broker, p})
			_ = client.Close()
		})
	}
}

// gated reads from the broker, and gives what it has read when nothing is held.
type gated struct {
	net.Conn
	proxy *proxy
}

func (g gated) Read(b []byte) (int, error) {
	n, err := g.Conn.Read(b)
	g.proxy.mu.Lock()
	held := g.proxy.held
	g.proxy.mu.Unlock()
	<-held
	return n, err
}

// hold stops what the broker says.
func (p *proxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = make(chan struct{})
}

// release lets it pass again.
func (p *proxy) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.held:
	default:
		close(p.held)
	}
}

// cut breaks all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}
