package session

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// The instruments of a source, each with server and source. Dials and ends are the
// fleet's.
const (
	// MetricHeartbeats counts heartbeats that were answered.
	MetricHeartbeats = "callpop.session.heartbeats"
	// MetricHeartbeatDuration is the time from reading a heartbeat to having
	// written its answer, in seconds.
	MetricHeartbeatDuration = "callpop.session.heartbeat.duration"
	// MetricEmptyPops counts pops of no bytes.
	MetricEmptyPops = "callpop.session.empty_pops"
)

// counters of what all sessions of one source see. Counting must cost a reader next
// to nothing, and above all no stack: it adds to a number, or leaves a time with run.
type counters struct {
	beats, empties atomic.Int64
	// answers holds the times of answers that run has not recorded yet.
	answers  chan time.Duration
	duration metric.Float64Histogram
	labels   atomic.Pointer[attribute.Set]
	observed metric.Registration
}

// maxAnswers is how many heartbeats may be answered before run comes to record the
// first: all those of a large server, whose sessions were opened together.
const maxAnswers = 1 << 14

func newCounters(meter metric.Meter, c *Config) (*counters, error) {
	n := &counters{answers: make(chan time.Duration, maxAnswers)}
	n.label(c)
	var errs [4]error
	beats, err := meter.Int64ObservableCounter(MetricHeartbeats,
		metric.WithDescription("Heartbeats (TRY_REQ) answered."), metric.WithUnit("{heartbeat}"))
	errs[0] = err
	empties, err := meter.Int64ObservableCounter(MetricEmptyPops,
		metric.WithDescription("Pops of no bytes, which carry nothing."), metric.WithUnit("{pop}"))
	errs[1] = err
	n.duration, errs[2] = meter.Float64Histogram(MetricHeartbeatDuration,
		metric.WithDescription("Time from reading a heartbeat (TRY_REQ) to having written its answer (TRY_REP)."), metric.WithUnit("s"))
	n.observed, errs[3] = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		labels := metric.WithAttributeSet(*n.labels.Load())
		o.ObserveInt64(beats, n.beats.Load(), labels)
		o.ObserveInt64(empties, n.empties.Load(), labels)
		return nil
	}, beats, empties)
	return n, errors.Join(errs[:]...)
}

// label has the counters carry the names of c.
func (n *counters) label(c *Config) {
	labels := attribute.NewSet(attribute.String("server", c.Server), attribute.String("source", c.Name))
	n.labels.Store(&labels)
}

// close ends the observation of a source that is gone: it may have a successor.
func (n *counters) close() { _ = n.observed.Unregister() }

// answered notes how long the answer to a heartbeat took. It never waits: while run
// is that far behind, the time is not recorded.
func (n *counters) answered(took time.Duration) {
	n.beats.Add(1)
	select {
	case n.answers <- took:
	default:
	}
}

// run records the times of answers until ctx is done.
func (n *counters) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case took := <-n.answers:
			n.duration.Record(ctx, took.Seconds(), metric.WithAttributeSet(*n.labels.Load()))
		}
	}
}
