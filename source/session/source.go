package session

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

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
	fleet    *source.Fleet
	sessions *sessions
	decoding *source.Decoding

	mu     sync.Mutex // guards what follows
	config Config
	// origins are those of the roster, by agent.
	origins map[string]*source.Origin
	// overlap is until when another replica may have a session of an agent; nil: none
	// has.
	overlap func(agent string) time.Time
	// downSince is since when agents that come may have had no session; zero: since they
	// come.
	downSince time.Time
}

// New makes a Source of a valid Config, with the roster that it configures. No
// connection is made until Run is called.
func New(c Config, o Options) (*Source, error) {
	to, err := c.target()
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
		dialer:   net.Dialer{KeepAliveConfig: keepAlive, Control: setUserTimeout},
		expiry:   NewExpiry(c.ExpireAfter),
		intake:   o.Intake,
		counters: counters,
		start:    time.Now(),
		live:     map[*reader]struct{}{},
	}
	shared.target.Store(to)
	s := &Source{config: c, sessions: shared, decoding: decoding, origins: map[string]*source.Origin{}}
	s.fleet, err = source.NewFleet(source.FleetOptions{
		Connect: shared.connect, Report: o.Intake.Session,
		ReconnectInterval: c.ReconnectInterval, DialRate: o.DialRate, Absences: o.Absences,
		Logger: o.Logger.With("source", c.Name), Meter: o.Meter,
	})
	if err != nil {
		return nil, err
	}
	s.SetRoster(c.Configured(), source.CauseRoster)
	return s, nil
}

// Run keeps the sessions up until ctx is done, then closes them. It runs once.
func (s *Source) Run(ctx context.Context) error {
	defer s.sessions.counters.close()
	var watch sync.WaitGroup
	watch.Go(func() { s.sessions.watch(ctx) })
	watch.Go(func() { s.sessions.counters.run(ctx) })
	s.fleet.Run(ctx)
	watch.Wait()
	return nil
}

// Fleet has the source's sessions.
func (s *Source) Fleet() *source.Fleet { return s.fleet }

// SetOverlap says until when another replica may have a session of an agent too; zero:
// none has. It counts from the next roster on, for all of its agents.
func (s *Source) SetOverlap(until func(agent string) time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.overlap = until
}

// SetDownSince says since when the agents that come with the next rosters may have had
// no session, such as one at another replica: their gaps begin there. Zero: when they
// come.
func (s *Source) SetDownSince(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.downSince = since
}

// SetRoster makes r the roster: only the agents that it adds, removes or gives
// another channel are concerned. cause is for those that it removes, see
// [source.CauseRoster].
func (s *Source) SetRoster(r source.Roster, cause string) source.Edit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.set(r, cause, func(source.Agent) bool { return true })
}

// set makes r the roster. Agents for whom same is false get a session anew.
func (s *Source) set(r source.Roster, cause string, same func(source.Agent) bool) source.Edit {
	all := make([]*source.Origin, len(r))
	origins := make(map[string]*source.Origin, len(r))
	for i, a := range r {
		o := s.origins[a.ID]
		if o == nil || o.Channel != a.Channel || !same(a) {
			o = &source.Origin{
				Type: s.config.Type, Name: s.config.Name, Server: s.config.Server,
				Agent: a.ID, Channel: a.Channel, Decoding: s.decoding, DownSince: s.downSince,
			}
		}
		if s.overlap != nil {
			o.DeclareOverlap(s.overlap(a.ID))
		}
		all[i], origins[a.ID] = o, o
	}
	s.origins = origins
	return s.fleet.Set(all, cause)
}

// Update puts another valid Config of the same name in force, with the roster r.
// Sessions that are the same with both, see [Config.SameSession], are left alone.
// The dial rate belongs to all sources on one address, and is theirs to change.
func (s *Source) Update(c Config, r source.Roster, cause string) (source.Edit, error) {
	to, err := c.target()
	if err != nil {
		return source.Edit{}, err
	}
	decoding, err := c.decoding()
	if err != nil {
		return source.Edit{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	former, renamed := s.sessions.target.Load(), c.Server != s.config.Server
	s.config = c
	s.sessions.counters.label(&c)
	s.decoding.Become(decoding)
	s.sessions.expiry.Set(c.ExpireAfter)
	s.fleet.SetReconnectInterval(c.ReconnectInterval)
	s.sessions.target.Store(to)
	return s.set(r, cause, func(a source.Agent) bool { return !renamed && former.same(to, a.ID, a.Channel) }), nil
}

// Status counts the sessions.
func (s *Source) Status() source.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return source.Status{
		Name: s.config.Name, Type: s.config.Type, Server: s.config.Server,
		Wanted: s.fleet.Wanted(), Up: s.fleet.Up(), States: s.fleet.States(),
	}
}

// keepAlive finds a peer that vanished while the line was quiet; the user time-out
// below finds one that vanished while it owed an acknowledgement. Neither finds
// both. A server that is alive but says nothing is the read deadline's business.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}

// userTimeout is how long sent data may stay unacknowledged.
const userTimeout = 30 * time.Second
