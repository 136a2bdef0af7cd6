package source

import (
	"context"
	"errors"
	"sync"
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
	pops        metric.Int64Counter
	deadLetters metric.Int64Counter
	dropped     metric.Int64Counter
	gaps        metric.Float64Counter
	spooled     metric.Float64Histogram
	labels      sourceLabels
}

func newIntakeMetrics(meter metric.Meter, in *Intake) (*intakeMetrics, error) {
	if meter == nil {
		meter = noop.Meter{}
	}
	var m intakeMetrics
	var errs [6]error
	m.pops, errs[0] = meter.Int64Counter(MetricPops,
		metric.WithDescription("Screen-pops received and stored."), metric.WithUnit("{pop}"))
	m.deadLetters, errs[1] = meter.Int64Counter(MetricDecodeErrors,
		metric.WithDescription("Received bytes that could not become a pop, and went to the dead letters."), metric.WithUnit("{event}"))
	m.dropped, errs[2] = meter.Int64Counter(MetricDropped,
		metric.WithDescription("Events lost because memory could not hold them while the spool took nothing."), metric.WithUnit("{event}"))
	m.gaps, errs[3] = meter.Float64Counter(MetricGap,
		metric.WithDescription("Agents' time in which pops may have been missed, in agent-seconds; a gap counts once it has ended."), metric.WithUnit("s"))
	m.spooled, errs[4] = meter.Float64Histogram(MetricSpooledDuration,
		metric.WithDescription("Time from reading a pop off its socket until the spool has it."), metric.WithUnit("s"))
	errs[5] = observeIntake(meter, in)
	return &m, errors.Join(errs[:]...)
}

// observeIntake shows what the intake knows when somebody asks.
func observeIntake(meter metric.Meter, in *Intake) error {
	var errs [5]error
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
	_, errs[4] = meter.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		o.ObserveInt64(buffered, int64(in.Queued()))
		o.ObserveInt64(limit, in.limit)
		for server, count := range in.silence.counts() {
			o.ObserveInt64(silent, int64(count), serverOption(server))
		}
		for server, seconds := range in.clocks.offsets(time.Now()) {
			o.ObserveFloat64(offset, seconds, serverOption(server))
		}
		return nil
	}, buffered, limit, silent, offset)
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

// recorder is one worker's way to count what was stored. It makes the options for
// each combination of labels once: there are few, and making them costs more than
// counting.
type recorder struct {
	metrics *intakeMetrics
	clocks  *clocks
	known   map[combination]*measurement
}

type combination struct {
	server, source string
	labels         Labels
}

// measurement holds options as slices, since one that is made for the call would
// be an allocation.
type measurement struct {
	count   []metric.AddOption
	latency []metric.RecordOption
	clock   *clock
}

func (in *Intake) recorder() *recorder {
	return &recorder{metrics: in.metrics, clocks: in.clocks, known: map[combination]*measurement{}}
}

// record counts a stored item. began is the call's start, zero where that is not
// known.
func (r *recorder) record(ctx context.Context, it *item, labels Labels, began time.Time) {
	if it.kind == sessionItem {
		return
	}
	c := combination{it.origin.Server, it.origin.Name, labels}
	m := r.known[c]
	if m == nil {
		m = &measurement{
			count:   []metric.AddOption{labels.option(it.origin)},
			latency: []metric.RecordOption{sourceOption(it.origin.Server, it.origin.Name)},
			clock:   r.clocks.of(it.origin.Server),
		}
		r.known[c] = m
	}
	if labels.Reason != "" {
		r.metrics.deadLetters.Add(ctx, 1, m.count...)
		return
	}
	r.metrics.pops.Add(ctx, 1, m.count...)
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
