package spool

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/internal/bytesize"
)

// maxPayload bounds an event with its headers. A pop is a few hundred bytes; a
// dead letter carries what a source could hold at most.
const maxPayload = int(bytesize.MiB)

// startTimeout bounds the start of the embedded server, the reading of its store
// not included.
const startTimeout = 10 * time.Second

// engine is one run of the embedded server with the connections to it. A restart
// makes another.
type engine struct {
	server *server.Server
	// writer, reads and control are apart so that neither a reader's batch nor a
	// look at a stream's state delays an emit.
	writer  *writer
	reads   *nats.Conn
	control *nats.Conn
	js      jetstream.JetStream // on control
	cursors jetstream.KeyValue
	gate    *gate
	// syncers bring the streams to disk; nil unless spool.sync is always.
	syncers [len(streams)]*syncer
	// recents are the newest events of each stream.
	recents [len(streams)]recent
	// last is the newest sequence of each stream when the engine started.
	last [len(streams)]uint64
	// retired is closed before the server is shut down.
	retired chan struct{}
}

// serverOptions sets each of the embedded server's options on purpose.
func (s *Spool) serverOptions(a accounts) (*server.Options, error) {
	o := &server.Options{
		// Named after the spool, for whoever meets it as a broker.
		ServerName: "callpop-spool-" + s.id,
		StoreDir:   s.config.Dir,
		JetStream:  true,
		// The streams' own limits bound the disk, and only this package can
		// create a stream. A limit here would be checked against reservations,
		// also when a stream shrinks, and could keep new limits from being set.
		JetStreamMaxStore: math.MaxInt64 / 2,
		// No stream is in memory. Unset, it would be three quarters of the RAM.
		JetStreamMaxMemory: int64(bytesize.MiB),
		// Signals are the daemon's.
		NoSigs: true,
		// An unset port means no monitoring and no profiling; /metrics and the
		// daemon's own listeners serve both.
		HTTPPort: 0, ProfPort: 0,
		MaxPayload: int32(maxPayload),
		// A client that reads too slowly never slows down those who emit: what a
		// plain subscription does not take goes by it once three quarters of this
		// wait, and a client that takes nothing for so long is cut off.
		MaxPending:          int64(16 * bytesize.MiB),
		NoFastProducerStall: true,
		WriteDeadline:       10 * time.Second,
		MaxConn:             1024,
		MaxSubs:             1024,
		// Closed connections are remembered for the monitoring port we do not have.
		MaxClosedClients: 1,
		// Dead clients are noticed within a minute and a half.
		PingInterval: 30 * time.Second,
		MaxPingsOut:  2,

		DisableJetStreamBanner: true,

		Accounts: []*server.Account{a.spool, a.clients},
		Nkeys: []*server.NkeyUser{
			s.logins.spool.user(a.spool, nil),
			s.logins.gate.user(a.clients, nil),
			s.logins.client.user(a.clients, clientPermissions()),
		},
	}
	// The server's own default is two minutes. For always, the syncers see to the
	// events, and what the server writes beside them (the cursors) is no event.
	o.SyncInterval = time.Duration(s.config.Sync)
	if s.config.Sync == SyncAlways {
		o.SyncInterval = time.Duration(DefaultConfig().Sync)
		o.SyncAlways = s.syncEach
	}
	o.SyncInterval = max(o.SyncInterval, leastSync)
	if s.embedded.Listen == "" {
		o.DontListen = true
		return o, nil
	}
	return o, s.listenOptions(o, a)
}

// listenOptions adds what clients need: the listener, their login and its
// rights, and TLS.
func (s *Spool) listenOptions(o *server.Options, a accounts) error {
	host, port, err := splitHostPort(s.embedded.Listen)
	if err != nil {
		return fmt.Errorf("listen on %q: %w", s.embedded.Listen, err)
	}
	if s.addr != nil {
		// A restart keeps the port that the first start was given.
		port = s.addr.(*net.TCPAddr).Port
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	if host == "" {
		host = "0.0.0.0"
	}
	o.Host, o.Port = host, port
	user := &server.User{
		Username: s.embedded.User, Password: s.embedded.Password.Reveal(),
		Account: a.clients, Permissions: clientPermissions(),
	}
	if user.Username == "" {
		// Nobody has to log in: loopback, or a certificate did already.
		user.Username = "anonymous"
		o.NoAuthUser = user.Username
	}
	o.Users = []*server.User{user}
	if s.embedded.TLS.CertFile == "" {
		return nil
	}
	o.TLSConfig, err = s.embedded.TLS.config()
	if err != nil {
		return err
	}
	o.TLSTimeout = 5
	return nil
}

func (t TLS) config() (*tls.Config, error) {
	certificate, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("load tls.cert_file %q and tls.key_file %q: %w", t.CertFile, t.KeyFile, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{certificate}}
	if t.ClientCAFile == "" {
		return c, nil
	}
	pem, err := os.ReadFile(t.ClientCAFile)
	if err != nil {
		return nil, fmt.Errorf("read tls.client_ca_file: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read tls.client_ca_file %q: no certificate in it", t.ClientCAFile)
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	return c, nil
}

// start runs the embedded server and connects to it. When it fails, nothing is
// left running.
func (s *Spool) start(ctx context.Context) (_ *engine, err error) {
	a, err := newAccounts()
	if err != nil {
		return nil, err
	}
	o, err := s.serverOptions(a)
	if err != nil {
		return nil, err
	}
	if !o.DontListen {
		if err := probeListen(o.Host, o.Port); err != nil {
			return nil, err
		}
	}
	if err := s.mend(); err != nil {
		return nil, err
	}
	log := &serverLog{logger: s.logger}
	e := &engine{retired: make(chan struct{})}
	if e.server, err = server.NewServer(o); err != nil {
		return nil, fmt.Errorf("configure embedded server: %w", err)
	}
	defer func() {
		if err != nil {
			e.stop()
		}
	}()
	e.server.SetLoggerV2(log, false, false, false)
	// Start returns once it listens, or where it would have exited.
	e.server.Start()
	if fatal := log.fatalMessage(); fatal != "" {
		return nil, fmt.Errorf("start embedded server: %s", fatal)
	}
	if !e.server.ReadyForConnections(startTimeout) {
		return nil, fmt.Errorf("start embedded server: not ready after %v", startTimeout)
	}
	account, err := e.server.LookupAccount(spoolAccount)
	if err != nil {
		return nil, fmt.Errorf("start embedded server: account %s: %w", spoolAccount, err)
	}
	if err := account.EnableJetStream(accountLimits(), nil); err != nil {
		return nil, fmt.Errorf("open the store in %s: %w", s.config.Dir, err)
	}
	if err := s.connect(ctx, e); err != nil {
		return nil, err
	}
	return e, nil
}

// accountLimits bound what clients can use up; -1 is unlimited.
func accountLimits() map[string]server.JetStreamAccountLimits {
	return map[string]server.JetStreamAccountLimits{"": {
		MaxMemory: -1, MaxStore: -1, MaxStreams: -1, MaxConsumers: maxClientConsumers,
		MaxAckPending: -1, MemoryMaxStreamBytes: -1, StoreMaxStreamBytes: -1,
	}}
}

// connect makes the connections, the streams and the gate.
func (s *Spool) connect(ctx context.Context, e *engine) (err error) {
	for _, c := range []struct {
		conn **nats.Conn
		name string
	}{{&e.reads, "read"}, {&e.control, "control"}} {
		if *c.conn, err = s.dial(e, c.name, s.logins.spool); err != nil {
			return err
		}
	}
	pipe, err := e.server.InProcessConn()
	if err != nil {
		return fmt.Errorf("connect to embedded server: %w", err)
	}
	if e.writer, err = newWriter(pipe, s.logins.spool, func(err error) { s.fault(e, err) }); err != nil {
		return err
	}
	if e.js, err = jetstream.New(e.control); err != nil {
		return fmt.Errorf("connect to embedded server: %w", err)
	}
	if e.cursors, err = createStreams(ctx, e.js, s.limited()); err != nil {
		return err
	}
	for i, st := range streams {
		if s.config.Sync == SyncAlways && !s.syncEach {
			if e.syncers[i], err = newSyncer(filepath.Join(s.config.Dir, "jetstream", spoolAccount, "streams", st.name, "msgs")); err != nil {
				return fmt.Errorf("look for the blocks of stream %s: %w", st.name, err)
			}
		}
		state, err := streamState(ctx, e, st)
		if err != nil {
			return err
		}
		e.last[i] = state.Last
	}
	if err := s.report(ctx, e); err != nil {
		return err
	}
	conn, err := s.dial(e, "gate", s.logins.gate)
	if err != nil {
		return err
	}
	e.gate, err = openGate(conn)
	return err
}

// dial makes an internal connection. It does not reconnect: when one is lost
// while the server runs, the server is restarted.
func (s *Spool) dial(e *engine, name string, l login) (*nats.Conn, error) {
	conn, err := nats.Connect("",
		nats.InProcessServer(e.server),
		nats.Name("callpop-spool-"+name),
		l.option(),
		nats.NoReconnect(),
		nats.Timeout(startTimeout),
		nats.ClosedHandler(func(*nats.Conn) { s.fault(e, errConnectionLost) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			s.logger.Error("connection to the embedded server", "connection", name, "error", err)
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("connect to embedded server: %w", err)
	}
	return conn, nil
}

var errConnectionLost = errors.New("the connection to the embedded server was lost")

// addr is the listener's address, nil without one.
func (e *engine) addr() net.Addr { return e.server.Addr() }

// retire says that the engine is about to be stopped; the second call does
// nothing. Only the supervisor calls it.
func (e *engine) retire() {
	select {
	case <-e.retired:
	default:
		close(e.retired)
	}
}

// stop ends the engine and waits for it.
func (e *engine) stop() {
	e.retire()
	if e.writer != nil {
		e.writer.close()
	}
	for _, conn := range []*nats.Conn{e.reads, e.control} {
		if conn != nil {
			conn.Close()
		}
	}
	if e.gate != nil {
		e.gate.close()
	}
	e.server.Shutdown()
	e.server.WaitForShutdown()
	for _, y := range e.syncers {
		if y != nil {
			y.runs.Wait()
		}
	}
}

// probeListen says in one clear error when the address cannot be had; the server
// would say so in a log.
func probeListen(host string, port int) error {
	address := net.JoinHostPort(host, fmt.Sprint(max(port, 0)))
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("embedded.listen: listen on %s: %w", address, errors.Unwrap(err))
	}
	return l.Close()
}
