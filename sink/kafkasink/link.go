package kafkasink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"
)

const (
	// metadataTTL bounds how old the cluster's layout may be. It is renewed at
	// once after a failure, so that what it bounds is how late new partitions are
	// seen. The client also gives each metadata request no longer than this.
	metadataTTL = 10 * time.Second
	// idleTimeout closes connections that nothing uses.
	idleTimeout = 5 * time.Minute
	// dialTimeout bounds the dialling of one address, so that one that swallows
	// everything leaves time for the others.
	dialTimeout = 3 * time.Second
)

// link is the connections of one topic. Each topic has its own: dropping them
// after a failure then disturbs no other topic, and the metadata that is asked
// for is that of one topic.
type link struct {
	name      string // the topic's
	addr      net.Addr
	transport *kafka.Transport
	login     *watched // nil without a login

	mu    sync.Mutex // guards what follows
	conns map[*conn]struct{}
	shut  bool
}

// newLink makes a link and does not dial.
func newLink(c *Config, o *Options, topic string) (*link, error) {
	tls, err := c.TLS.config()
	if err != nil {
		return nil, err
	}
	mechanism, err := c.mechanism()
	if err != nil {
		return nil, err
	}
	dial := o.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	l := &link{name: topic, addr: kafka.TCP(c.Brokers...), conns: make(map[*conn]struct{})}
	l.transport = &kafka.Transport{
		Dial:           l.track(dial),
		DialTimeout:    c.PublishTimeout,
		IdleTimeout:    idleTimeout,
		MetadataTTL:    metadataTTL,
		MetadataTopics: []string{topic},
		ClientID:       c.ClientID,
		TLS:            tls,
	}
	if mechanism != nil {
		l.login = &watched{Mechanism: mechanism}
		l.transport.SASL = l.login
	}
	return l, nil
}

// layout is where the partitions of a topic are.
type layout struct {
	// leaders holds each partition's leader; -1 where it has none.
	leaders []int32
	// numbers are those of the partitions, as balancers want them.
	numbers []int
}

// layout returns the topic's layout from the transport's cache, which it fills
// if need be.
func (l *link) layout(ctx context.Context) (*layout, error) {
	topic, err := l.metadata(ctx)
	if err != nil {
		return nil, err
	}
	n := len(topic.Partitions)
	if n == 0 {
		return nil, kafka.LeaderNotAvailable
	}
	found := &layout{leaders: make([]int32, n), numbers: make([]int, n)}
	for i, p := range topic.Partitions {
		if int(p.PartitionIndex) != i {
			// A key's partition follows from their number: never guess it.
			return nil, fmt.Errorf("the cluster named partition %d of %d in place %d", p.PartitionIndex, n, i)
		}
		found.leaders[i], found.numbers[i] = p.LeaderID, i
	}
	return found, nil
}

func (l *link) metadata(ctx context.Context) (*metadata.ResponseTopic, error) {
	res, err := l.send(ctx, &metadata.Request{TopicNames: []string{l.name}})
	if err != nil {
		return nil, fmt.Errorf("find the topic: %w", err)
	}
	topics := res.(*metadata.Response).Topics
	if len(topics) != 1 {
		return nil, fmt.Errorf("find the topic: the cluster named %d topics", len(topics))
	}
	if code := topics[0].ErrorCode; code != 0 {
		return nil, kafka.Error(code)
	}
	return &topics[0], nil
}

// create creates the topic and returns once the cluster has a leader for each
// partition.
func (l *link) create(ctx context.Context, how *CreateTopics) error {
	spec := kafka.TopicConfig{Topic: l.name, NumPartitions: how.Partitions, ReplicationFactor: how.Replication}
	for name, value := range how.Config {
		spec.ConfigEntries = append(spec.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	res, err := l.client().CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{spec}})
	if err == nil {
		err = res.Errors[l.name]
	}
	if err != nil && !errors.Is(err, kafka.TopicAlreadyExists) {
		return fmt.Errorf("create the topic: %w", err)
	}
	for wait := 20 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		if found, err := l.layout(ctx); err == nil && found.complete() {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("create the topic: wait for its leaders: %w", context.Cause(ctx))
		case <-time.After(wait):
		}
		l.renew()
	}
}

func (f *layout) complete() bool {
	for _, leader := range f.leaders {
		if leader < 0 {
			return false
		}
	}
	return true
}

// send makes one request to the broker that the transport chooses for it.
func (l *link) send(ctx context.Context, request protocol.Message) (protocol.Message, error) {
	res, err := l.transport.RoundTrip(ctx, l.addr, request)
	if err != nil && l.login != nil && l.login.take() && (errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)) {
		return nil, errRefused
	}
	return res, err
}

func (l *link) client() *kafka.Client { return &kafka.Client{Addr: l.addr, Transport: l.transport} }

// renew forgets the layout: the next request begins with asking for it.
func (l *link) renew() { l.transport.CloseIdleConnections() }

// drop forgets the layout and closes every connection at once, so that nothing
// of an earlier request is still on its way when the next one is made.
func (l *link) drop() {
	l.mu.Lock()
	conns := l.conns
	l.conns = make(map[*conn]struct{})
	l.mu.Unlock()
	for c := range conns {
		c.abort()
	}
	l.renew()
}

// close drops the connections and refuses new ones.
func (l *link) close() {
	l.mu.Lock()
	l.shut = true
	l.mu.Unlock()
	l.drop()
}

// track wraps dial so that the link knows its connections. The transport knows
// only the idle ones.
func (l *link) track(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		raw, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		c := &conn{Conn: raw, link: l}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.shut {
			_ = raw.Close()
			return nil, net.ErrClosed
		}
		l.conns[c] = struct{}{}
		return c, nil
	}
}

type dialer = func(ctx context.Context, network, address string) (net.Conn, error)

// conn is a connection that its link knows until it is closed.
type conn struct {
	net.Conn
	link *link
}

// Close closes the connection and forgets it.
func (c *conn) Close() error {
	c.link.mu.Lock()
	delete(c.link.conns, c)
	c.link.mu.Unlock()
	return c.Conn.Close()
}

// abort closes the connection without sending what is still in its buffer: it
// belongs to a request that is given up and will be made again.
func (c *conn) abort() {
	if tcp, ok := c.Conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Conn.Close()
}
