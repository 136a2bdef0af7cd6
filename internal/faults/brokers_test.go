//go:build linux

package faults

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
)

// natsServer is a real NATS server with JetStream in this process; stop and start
// keep its port and its data.
type natsServer struct {
	t    testing.TB
	dir  string
	port int
	s    *server.Server
}

// newNATS makes a server that does not run yet.
func newNATS(t testing.TB) *natsServer {
	t.Helper()
	n := &natsServer{t: t, dir: t.TempDir(), port: freePort(t)}
	t.Cleanup(n.stop)
	return n
}

func startNATS(t testing.TB) *natsServer {
	t.Helper()
	n := newNATS(t)
	n.start()
	return n
}

// start starts it, unless it runs.
func (n *natsServer) start() {
	n.t.Helper()
	if n.s != nil {
		return
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: n.port, JetStream: true, StoreDir: n.dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		n.t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(patience) {
		n.t.Fatal("the NATS server does not start")
	}
	n.s = s
}

func (n *natsServer) stop() {
	if n.s != nil {
		n.s.Shutdown()
		n.s.WaitForShutdown()
		n.s = nil
	}
}

func (n *natsServer) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", n.port) }
