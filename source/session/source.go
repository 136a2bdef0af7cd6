package session

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"golang.org/x/time/rate"

	"github.com/callpop/connector/source"
)

// Options are the parts of the daemon that a source works with.
type Options struct {
	Intake *source.Intake
	// DialRate paces the dials to the server's address; the sources on one address
	// share it. nil makes one from the configuration.
	DialRate *rate.Limiter
	// Absences say since when agents have had no session, also from before the
	// connector started; nil where that is not known.
	Absences *source.Absences
	Logger   *slog.Logger
	Meter    metric.Meter
}

// Source holds the sessions of a roster; a [source.Source].
type Source struct {
	config   Config
	fleet    *source.Fleet
	sessions *sessions
}

// New makes a Source of a valid Config. No connection is made until Run is called.
func New(c Config, o Options) (*Source, error) {
	registration, err := c.registration()
	if err != nil {
		return nil, err
	}
	decoding, err := c.decoding()
	if err != nil {
		return nil, err
	}
	if o.DialRate == nil {
		o.DialRate = source.NewDialRate(c.DialRate)
	}
	if o.Meter == nil {
		o.Meter = noop.Meter{}
	}
	counters, err := newCounters(o.Meter, &c)
	if err != nil {
		return nil, err
	}
	shared := &sessions{
		address:      c.Address,
		dialer:       net.Dialer{KeepAliveConfig: keepAlive, Control: setUserTimeout},
		registration: registration,
		expiry:       NewExpiry(c.ExpireAfter),
		intake:       o.Intake,
		counters:     counters,
		start:        time.Now(),
		live:         map[*reader]struct{}{},
	}
	origins := make([]*source.Origin, len(c.Agents))
	for i, agent := range c.Agents {
		origins[i] = &source.Origin{
			Type: c.Type, Name: c.Name, Server: c.Server,
			Agent: agent.ID, Channel: agent.Channel, Decoding: decoding,
		}
	}
	fleet, err := source.NewFleet(source.FleetOptions{
		Origins: origins, Connect: shared.connect, Report: o.Intake.Session,
		ReconnectInterval: c.ReconnectInterval, DialRate: o.DialRate, Absences: o.Absences,
		Logger: o.Logger.With("source", c.Name), Meter: o.Meter,
	})
	if err != nil {
		return nil, err
	}
	return &Source{config: c, fleet: fleet, sessions: shared}, nil
}

// Run keeps the sessions up until ctx is done, then closes them.
func (s *Source) Run(ctx context.Context) error {
	var watch sync.WaitGroup
	watch.Go(func() { s.sessions.watch(ctx) })
	s.fleet.Run(ctx)
	watch.Wait()
	return nil
}

// Status counts the sessions.
func (s *Source) Status() source.Status {
	return source.Status{
		Name: s.config.Name, Type: s.config.Type, Server: s.config.Server,
		Wanted: s.fleet.Wanted(), Up: s.fleet.Up(),
	}
}

// keepAlive finds a peer that vanished while the line was quiet; the user time-out
// below finds one that vanished while it owed an acknowledgement. Neither finds
// both. A server that is alive but says nothing is the read deadline's business.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// userTimeout is how long sent data may stay unacknowledged.
const userTimeout = 30 * time.Second

// counters of what all sessions of one source see. They are read when somebody
// asks, since counting must cost a reader nothing.
type counters struct {
	beats, empties atomic.Int64
}

func newCounters(meter metric.Meter, c *Config) (*counters, error) {
	n := &counters{}
	labels := metric.WithAttributeSet(attribute.NewSet(
		attribute.String("server", c.Server), attribute.String("source", c.Name)))
	observe := func(counter *atomic.Int64) metric.Int64Callback {
		return func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(counter.Load(), labels)
			return nil
		}
	}
	_, errBeats := meter.Int64ObservableCounter("callpop.session.heartbeats",
		metric.WithDescription("Heartbeats answered."), metric.WithUnit("{heartbeat}"),
		metric.WithInt64Callback(observe(&n.beats)))
	_, errEmpties := meter.Int64ObservableCounter("callpop.session.empty_pops",
		metric.WithDescription("Pops of no bytes."), metric.WithUnit("{pop}"),
		metric.WithInt64Callback(observe(&n.empties)))
	return n, errors.Join(errBeats, errEmpties)
}
