package source

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/pop"
)

// The instruments of an [Intake]. Their attributes name servers, sources and
// words of closed sets, never an agent, a number, or anything that came over a
// socket.
const (
	// MetricPops counts pops that were received and stored, by server, source,
	// source_type, format and mode.
	MetricPops = "callpop.pops"
	// MetricDecodeErrors counts received bytes that became dead letters instead,
	// by server, source, source_type and reason.
	MetricDecodeErrors = "callpop.decode.errors"
	// MetricDropped counts what memory could not hold while the log was stuck, by
	// server and source.
	MetricDropped = "callpop.source.dropped"
	// MetricBuffered and MetricBufferLimit are the bytes that wait in memory for
	// the log, and how many may.
	MetricBuffered    = "callpop.source.buffered"
	MetricBufferLimit = "callpop.source.buffer.limit"
	// MetricSpooledDuration is the time from the socket to the log, in seconds, by
	// server and source.
	MetricSpooledDuration = "callpop.spooled.duration"
	// MetricGap adds up the agents' time in which pops may have been missed, in
	// seconds, by server and source. A gap counts when it has ended.
	MetricGap = "callpop.session.gap"
	// MetricSilent is the number of sessions that are up and get no pops while
	// their peers do, by server; see [silence].
	MetricSilent = "callpop.session.silent"
	// MetricClockOffset is our clock less the LQ server's, in seconds, by server;
	// see [clock].
	MetricClockOffset = "callpop.clock.offset"
)

type intakeMetrics struct {
	deadLetters metric.Int64Counter
	dropped     metric.Int64Counter
	gaps        metric.Float64Counter
	spooled     metric.Float64Histogram
	labels      sourceLabels

	mu sync.Mutex // guards what follows
	// known is what was stored so far, by its labels.
	known map[combination]*measurement
}

func newIntakeMetrics(meter metric.Meter, in *Intake) (*intakeMetrics, error) {
	if meter == nil {
		meter = noop.Meter{}
	}
	m := &intakeMetrics{known: map[combination]*measurement{}}
	var errs [5]error
	m.deadLetters, errs[0] = meter.Int64Counter(MetricDecodeErrors,
		metric.WithDescription("Received bytes that could not become a pop, and went to the dead letters."), metric.WithUnit("{event}"))
	m.dropped, errs[1] = meter.Int64Counter(MetricDropped,
		metric.WithDescription("Events lost because memory could not hold them while the spool took nothing."), metric.WithUnit("{event}"))
	m.gaps, errs[2] = meter.Float64Counter(MetricGap,
		metric.WithDescription("Agents' time in which pops may have been missed, in agent-seconds; a gap counts once it has ended."), metric.WithUnit("s"))
	m.spooled, errs[3] = meter.Float64Histogram(MetricSpooledDuration,
		metric.WithDescription("Time from reading a pop off its socket until the spool has it."), metric.WithUnit("s"))
	errs[4] = observeIntake(meter, m, in)
	return m, errors.Join(errs[:]...)
}

// observeIntake shows what the intake knows when somebody asks.
func observeIntake(meter metric.Meter, m *intakeMetrics, in *Intake) error {
	var errs [6]error
	buffered, err := meter.Int64ObservableUpDownCounter(MetricBuffered,
		metric.WithDescription("Memory that events waiting for the spool take."), metric.WithUnit("By"))
	errs[0] = err
	limit, err := meter.Int64ObservableUpDownCounter(MetricBufferLimit,
		metric.WithDescription("Memory that events waiting for the spool may take (source.buffer_bytes); beyond it the oldest are dropped."), metric.WithUnit("By"))
	errs[1] = err
	silent, err := meter.Int64ObservableUpDownCounter(MetricSilent,
		metric.WithDescription("Sessions that are connected and get no pops while their server's other sessions do."), metric.WithUnit("{session}"))
	errs[2] = err
	offset, err := meter.Float64ObservableGauge(MetricClockOffset,
		metric.WithDescription("Our clock less the LQ server's, as far as pops tell: the least time from a call's start to its pop in the last 5 to 10 minutes."),
		metric.WithUnit("s"))
	errs[3] = err
	pops, err := meter.Int64ObservableCounter(MetricPops,
		metric.WithDescription("Screen-pops received and stored."), metric.WithUnit("{pop}"))
	errs[4] = err
	_, errs[5] = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(buffered, int64(in.Queued()))
		o.ObserveInt64(limit, in.limit)
		for server, count := range in.silence.counts() {
			o.ObserveInt64(silent, int64(count), serverOption(server))
		}
		for server, seconds := range in.clocks.offsets(time.Now()) {
			o.ObserveFloat64(offset, seconds, serverOption(server))
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		for c, stored := range m.known {
			if c.labels.Reason == "" {
				o.ObserveInt64(pops, stored.pops.Load(), stored.labels)
			}
		}
		return nil
	}, buffered, limit, silent, offset, pops)
	return errors.Join(errs[:]...)
}

func serverOption(server string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(attribute.String("server", server)))
}

func sourceOption(server, source string) metric.MeasurementOption {
	return metric.WithAttributeSet(attribute.NewSet(
		attribute.String("server", server), attribute.String("source", source)))
}

// sourceLabels are the labels server and source of each pair of them, made once:
// there are few, and thousands of sessions are counted in a second.
type sourceLabels struct {
	mu    sync.Mutex // guards known
	known map[sourceName][]metric.AddOption
}

type sourceName struct{ server, source string }

// of are the labels of o's source.
func (l *sourceLabels) of(o *Origin) []metric.AddOption {
	l.mu.Lock()
	defer l.mu.Unlock()
	name := sourceName{o.Server, o.Name}
	labels := l.known[name]
	if labels == nil {
		if l.known == nil {
			l.known = map[sourceName][]metric.AddOption{}
		}
		labels = []metric.AddOption{sourceOption(name.server, name.source)}
		l.known[name] = labels
	}
	return labels
}

func (m *intakeMetrics) drop(o *Origin) {
	m.dropped.Add(context.Background(), 1, m.labels.of(o)...)
}

func (m *intakeMetrics) gap(o *Origin, g *schema.Gap) {
	if g == nil || !g.To.After(g.From) {
		return
	}
	m.gaps.Add(context.Background(), g.To.Sub(g.From).Seconds(), m.labels.of(o)...)
}

// decodeReasons are the values of reason: why a pop could not be decoded, in the
// words of [pop.Reason], or what became of a frame, in those of dead letters.
var decodeReasons = []string{
	string(pop.Empty), string(pop.TooLong), string(pop.Unrecognised), string(pop.NoCall),
	schema.ReasonLostFraming, schema.ReasonCutFrame,
}

// Introduce has the counters of a source begin at zero: a counter that is only
// there once it is 1 shows no increase to an alert.
func (in *Intake) Introduce(s Status) {
	ctx, m := context.Background(), in.metrics
	option := sourceOption(s.Server, s.Name)
	m.dropped.Add(ctx, 0, option)
	m.gaps.Add(ctx, 0, option)
	o := &Origin{Type: s.Type, Name: s.Name, Server: s.Server}
	for _, reason := range decodeReasons {
		m.deadLetters.Add(ctx, 0, Labels{Reason: reason}.option(o))
	}
}

type combination struct {
	server, source string
	labels         Labels
}

// measurement is what was stored of one combination. The options for it are made
// once: there are few, and making them costs more than counting. They are slices,
// since one that is made for the call would be an allocation.
type measurement struct {
	combination
	// pops is counted here and observed when the metrics are read: to add to a counter
	// of the SDK costs as much as to encode the pop.
	pops        atomic.Int64
	labels      metric.MeasurementOption
	deadLetters []metric.AddOption
	latency     []metric.RecordOption
	clock       *clock
}

// of gives the measurement of c, which is of what came from o.
func (m *intakeMetrics) of(c combination, o *Origin, clocks *clocks) *measurement {
	m.mu.Lock()
	defer m.mu.Unlock()
	known := m.known[c]
	if known == nil {
		labels := c.labels.option(o)
		known = &measurement{
			combination: c, labels: labels, deadLetters: []metric.AddOption{labels},
			latency: []metric.RecordOption{sourceOption(c.server, c.source)}, clock: clocks.of(c.server),
		}
		m.known[c] = known
	}
	return known
}

// recorder is one worker's way to count what was stored.
type recorder struct {
	metrics *intakeMetrics
	clocks  *clocks
	last    *measurement // which is mostly the next one too; nil for none
}

func (in *Intake) recorder() *recorder {
	return &recorder{metrics: in.metrics, clocks: in.clocks}
}

// record counts a stored item. began is the call's start, zero where that is not
// known.
func (r *recorder) record(ctx context.Context, it *item, labels Labels, began time.Time) {
	if it.kind == sessionItem {
		return
	}
	c := combination{it.origin.Server, it.origin.Name, labels}
	if r.last == nil || r.last.combination != c {
		r.last = r.metrics.of(c, it.origin, r.clocks)
	}
	m := r.last
	if labels.Reason != "" {
		r.metrics.deadLetters.Add(ctx, 1, m.deadLetters...)
		return
	}
	m.pops.Add(1)
	r.metrics.spooled.Record(ctx, time.Since(it.at).Seconds(), m.latency...)
	if !began.IsZero() {
		m.clock.saw(it.at, began)
	}
}

func (l Labels) option(o *Origin) metric.MeasurementOption {
	attributes := []attribute.KeyValue{
		attribute.String("server", o.Server), attribute.String("source", o.Name), attribute.String("source_type", o.Type),
	}
	if l.Reason != "" {
		attributes = append(attributes, attribute.String("reason", l.Reason))
	} else {
		attributes = append(attributes, attribute.String("format", string(l.Format)), attribute.String("mode", string(l.Mode)))
	}
	return metric.WithAttributeSet(attribute.NewSet(attributes...))
}

// Queued is what waits in memory.
func (in *Intake) Queued() bytesize.Size {
	in.mu.Lock()
	defer in.mu.Unlock()
	return bytesize.Size(in.bytes)
}
