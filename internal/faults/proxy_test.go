//go:build linux

package faults

import (
	"context"
	"fmt"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// link is what carries the connector's connections to a peer, well or badly.
type link interface {
	address() string
	spoil(networkFault)
	heal()
}

// newLink makes the one that can do the fault.
func newLink(t testing.TB, port int, upstream string, f networkFault) link {
	t.Helper()
	if f.drop || f.cut > 0 {
		return newWire(t, port, upstream)
	}
	return newNetwork(t, port, upstream)
}

// network is a proxy between the connector and one of its peers.
type network struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
}

func newNetwork(t testing.TB, port int, upstream string) *network {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	n := &network{t, toxiproxy.NewProxy(server, "network", fmt.Sprintf("127.0.0.1:%d", port), upstream)}
	if err := n.proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.proxy.Stop)
	return n
}

// address is where the connector finds its peer.
func (n *network) address() string { return n.proxy.Listen }

// spoil adds toxics, in toxiproxy's own JSON.
func (n *network) spoil(f networkFault) {
	n.t.Helper()
	for _, toxic := range f.toxics {
		if _, err := n.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			n.t.Fatal(err)
		}
	}
	if f.renewed {
		// The connections of before go; those that follow meet the fault.
		n.proxy.Stop()
		if err := n.proxy.Start(); err != nil {
			n.t.Fatal(err)
		}
	}
}

// heal removes them all.
func (n *network) heal() { n.proxy.Toxics.ResetToxics(context.Background()) }

// both makes a toxic for both directions.
func both(kind, attributes string) []string {
	return []string{
		fmt.Sprintf(`{"name":"up","type":%q,"stream":"upstream","attributes":%s}`, kind, attributes),
		fmt.Sprintf(`{"name":"down","type":%q,"stream":"downstream","attributes":%s}`, kind, attributes),
	}
}

// down makes one from the peer to the connector.
func down(kind, attributes string) []string { return both(kind, attributes)[1:] }
