package bench

import (
	"errors"
	"fmt"
	"time"

	"github.com/callpop/connector/source/pop"
)

// The sinks that a run can have. With [SinkSpool] there is none: the subscriber is
// a client of the connector's own broker.
const (
	SinkSpool = "spool"
	SinkNATS  = "nats"
	SinkKafka = "kafka"
)

// Options say what to measure.
type Options struct {
	// Sessions are the agents' sessions.
	Sessions int `json:"sessions"`
	// Rate is pops a second over all sessions; 0 writes as fast as the subscriber
	// gets them, with at most Window on their way.
	Rate float64 `json:"rate"`
	// Duration is how long pops are written.
	Duration time.Duration `json:"-"`
	// Seconds is Duration, for machines.
	Seconds float64 `json:"duration_seconds"`
	Sink    string  `json:"sink"`
	// NATS is the URL of the broker for the sink nats; empty: a server of our own.
	NATS string `json:"nats,omitempty"`
	// Kafka is the addresses of the brokers for the sink kafka; required there.
	Kafka []string `json:"kafka,omitempty"`
	// Partitions is how many the Kafka topic is made with.
	Partitions int    `json:"partitions,omitempty"`
	Format     string `json:"format"`
	// Burst writes one pop on each session at once instead of a rate.
	Burst bool `json:"burst,omitempty"`
	// Idle writes no pops: heartbeats alone.
	Idle bool `json:"idle,omitempty"`
	// Backlog is how many events the spool holds when the connector starts.
	Backlog int `json:"backlog,omitempty"`
	// Heartbeat is the time between two heartbeats of a session.
	Heartbeat time.Duration `json:"-"`
	// Sync is the connector's spool.sync; empty: its default.
	Sync string `json:"sync,omitempty"`
	// Compare measures the bare reader and publisher too.
	Compare bool `json:"compare"`
	// Profile is a file for a CPU profile of the connector; empty: none.
	Profile string `json:"-"`

	// Child starts this program as one of the run's processes: its path, and the
	// arguments that lead to [Serve].
	Child []string `json:"-"`
	// Environ is the children's environment.
	Environ []string `json:"-"`
	// Tell takes what people read meanwhile, a line; Progress, once a second, how
	// far the run is. nil: nobody does.
	Tell     func(line string) `json:"-"`
	Progress func(line string) `json:"-"`
}

// DefaultOptions are those of the command line.
func DefaultOptions() Options {
	return Options{
		Sessions: 10_000, Rate: 5000, Duration: 30 * time.Second, Sink: SinkSpool, Partitions: 8,
		Format: pop.T1V5, Heartbeat: 10 * time.Second, Compare: true,
	}
}

// Limits of the options.
const (
	maxSessions = 100_000
	maxRate     = 1_000_000
	maxDuration = time.Hour
	maxBacklog  = 50_000_000
	// maxPops bounds the memory for a run's instants.
	maxPops = 50_000_000
)

// Validate returns the first thing that is wrong, by the name of its flag.
func (o *Options) Validate() error {
	switch {
	case o.Sessions < 1 || o.Sessions > maxSessions:
		return fmt.Errorf("--sessions is %d: expected 1 to %d", o.Sessions, maxSessions)
	case o.Rate < 0 || o.Rate > maxRate || o.Rate != o.Rate:
		return fmt.Errorf("--rate is %g: expected 0 (as fast as it goes) to %d pops a second", o.Rate, maxRate)
	case o.Duration < time.Millisecond || o.Duration > maxDuration:
		return fmt.Errorf("--duration is %v: expected 1ms to %v", o.Duration, maxDuration)
	case o.Rate*o.Duration.Seconds() > maxPops:
		return fmt.Errorf("--rate %g for --duration %v are more than %d pops", o.Rate, o.Duration, maxPops)
	case o.Backlog < 0 || o.Backlog > maxBacklog:
		return fmt.Errorf("--backlog is %d: expected 0 to %d events", o.Backlog, maxBacklog)
	case o.Heartbeat < 10*time.Millisecond || o.Heartbeat > time.Minute:
		return fmt.Errorf("--heartbeat is %v: expected 10ms to 1m", o.Heartbeat)
	case o.Partitions < 1 || o.Partitions > 1000:
		return fmt.Errorf("--partitions is %d: expected 1 to 1000", o.Partitions)
	case countTrue(o.Burst, o.Idle, o.Backlog > 0) > 1:
		return errors.New("--burst, --idle and --backlog measure different things: expected one of them")
	}
	switch o.Format {
	case pop.T1V1, pop.T1V2, pop.T1V3, pop.T1V4, pop.T1V5:
	default:
		return fmt.Errorf("--format is %q: expected t1v1 to t1v5", o.Format)
	}
	switch o.Sink {
	case SinkSpool, SinkNATS:
	case SinkKafka:
		if len(o.Kafka) == 0 {
			return errors.New("--sink kafka needs --kafka: expected the address of a broker, such as localhost:9092")
		}
	default:
		return fmt.Errorf("--sink is %q: expected spool, nats or kafka", o.Sink)
	}
	if o.NATS != "" && o.Sink != SinkNATS {
		return fmt.Errorf("--nats is given, but --sink is %s", o.Sink)
	}
	if len(o.Kafka) > 0 && o.Sink != SinkKafka {
		return fmt.Errorf("--kafka is given, but --sink is %s", o.Sink)
	}
	return nil
}

func countTrue(all ...bool) (n int) {
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
}

func (o *Options) tell(format string, args ...any) {
	if o.Tell != nil {
		o.Tell(fmt.Sprintf(format, args...))
	}
}

func (o *Options) progress(format string, args ...any) {
	if o.Progress != nil {
		o.Progress(fmt.Sprintf(format, args...))
	}
}
