package kafkatest

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/internal/freeport"
)

// Options say what a cluster is to be; the zero value is one broker.
type Options struct {
	// Brokers is how many there are, 1 where it is 0. Each of them is a
	// controller too, so 3 can lose one.
	Brokers int
	// Properties are added to every broker's server.properties.
	Properties map[string]string
}

// Cluster is a running Kafka.
type Cluster struct {
	brokers  []*Broker
	dist     *distribution
	creds    *credentials
	dir      string
	external []string
}

// Start starts a cluster that ends with the test, its data in t.TempDir. It
// returns when every broker answers. The test is skipped where this machine
// cannot run Kafka, and fails instead with CI=true.
func Start(t testing.TB, options Options) *Cluster {
	t.Helper()
	dist, err := findDistribution(t.Context())
	if err != nil {
		unavailable(t, err)
	}
	c, err := start(t.Context(), dist, t.TempDir(), options)
	if c != nil {
		t.Cleanup(c.close)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// unavailable skips the test, or fails it where everything should be there.
func unavailable(t testing.TB, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" || !errors.Is(err, errMissing) {
		t.Fatal(err)
	}
	t.Skip(err)
}

// start starts a cluster. On an error too, the cluster is to be closed.
func start(ctx context.Context, dist *distribution, dir string, options Options) (*Cluster, error) {
	n := max(options.Brokers, 1)
	creds, err := newCredentials(dir)
	if err != nil {
		return nil, fmt.Errorf("make certificates: %w", err)
	}
	ports, err := freeport.Find(n * portsPerBroker)
	if err != nil {
		return nil, err
	}
	c := &Cluster{dist: dist, creds: creds, dir: dir}
	for i := range n {
		c.brokers = append(c.brokers, &Broker{
			ID:      i + 1,
			cluster: c,
			dir:     filepath.Join(dir, fmt.Sprintf("broker-%d", i+1)),
			ports:   listenerPorts(ports[i*portsPerBroker:]),
		})
	}
	id := newClusterID()
	for _, b := range c.brokers {
		if err := b.format(ctx, id, options.Properties); err != nil {
			return c, err
		}
	}
	for _, b := range c.brokers {
		if err := b.launch(); err != nil {
			return c, err
		}
	}
	for _, b := range c.brokers {
		if err := b.awaitReady(ctx); err != nil {
			return c, err
		}
	}
	return c, nil
}

// newClusterID makes a random UUID as Kafka writes them: 22 characters of
// base64, not beginning with a dash, which its tools would take for an option.
func newClusterID() string {
	var id [16]byte
	for {
		_, _ = rand.Read(id[:]) // never fails
		if text := base64.RawURLEncoding.EncodeToString(id[:]); text[0] != '-' {
			return text
		}
	}
}

// close ends every broker, the hard way.
func (c *Cluster) close() {
	for _, b := range c.brokers {
		b.kill()
	}
}

// Version is the version of Kafka; empty for brokers named by KAFKA_BROKERS.
func (c *Cluster) Version() string {
	if c.dist == nil {
		return ""
	}
	return c.dist.version
}

// Broker is one of the cluster's brokers, from 0.
func (c *Cluster) Broker(i int) *Broker { return c.brokers[i] }

// Leader finds the broker with an id, as metadata names leaders.
func (c *Cluster) Leader(id int) *Broker {
	i := slices.IndexFunc(c.brokers, func(b *Broker) bool { return b.ID == id })
	return c.brokers[i]
}

// Addresses are those of the listener that is open to anybody.
func (c *Cluster) Addresses() []string {
	if c.external != nil {
		return c.external
	}
	return c.addresses(open)
}

// SASL are the addresses of the listener that asks for SASL, without TLS.
func (c *Cluster) SASL() []string { return c.addresses(sasl) }

// TLS are the addresses of the listener with TLS.
func (c *Cluster) TLS() []string { return c.addresses(tls) }

// MTLS are the addresses of the listener that asks for a client's certificate.
func (c *Cluster) MTLS() []string { return c.addresses(mtls) }

func (c *Cluster) addresses(l listener) []string {
	var all []string
	for _, b := range c.brokers {
		all = append(all, b.address(l))
	}
	return all
}

// Files are the cluster's certificates.
func (c *Cluster) Files() Files { return c.creds.files }

// Token signs a token for User that the SASL listener takes until it expires.
func (c *Cluster) Token(t testing.TB, lifetime time.Duration) string {
	t.Helper()
	token, err := c.creds.sign(User, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func (c *Cluster) bootstrap() string { return strings.Join(c.Addresses(), ",") }
