package bench

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsOptions say where the broker's files go.
type natsOptions struct {
	Dir string `json:"dir"`
}

// natsReady is where the broker listens.
type natsReady struct {
	URL string `json:"url"`
}

// natsServer is a broker: a NATS server with JetStream and its defaults, as
// somebody would set it up beside the connector.
type natsServer struct{ server *server.Server }

// natsStartTimeout bounds the broker's start.
const natsStartTimeout = 20 * time.Second

func startNATS(_ context.Context, options json.RawMessage) (Part, any, error) {
	var o natsOptions
	if err := json.Unmarshal(options, &o); err != nil {
		return nil, nil, err
	}
	s, err := server.NewServer(&server.Options{
		ServerName: "callpop-bench", Host: "127.0.0.1", Port: server.RANDOM_PORT,
		JetStream: true, StoreDir: o.Dir, NoSigs: true, NoLog: true,
	})
	if err != nil {
		return nil, nil, err
	}
	s.Start()
	if !s.ReadyForConnections(natsStartTimeout) {
		s.Shutdown()
		return nil, nil, errors.New("the NATS server does not start")
	}
	return &natsServer{s}, natsReady{URL: "nats://" + s.Addr().String()}, nil
}

// Ask knows nothing.
func (n *natsServer) Ask(_ context.Context, what string, _ json.RawMessage) (any, error) {
	return nil, unknown(what)
}

// Close ends the server.
func (n *natsServer) Close() error {
	n.server.Shutdown()
	n.server.WaitForShutdown()
	return nil
}
