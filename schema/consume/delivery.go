package consume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/textproto"
	"strings"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/callpop/connector/schema"
)

// MaxBody is how long a body may be, in bytes. The connector's own are a few
// kilobytes at most.
const MaxBody = 1 << 20

// ErrInvalid is a message that is no event of the connector, or a broken one. It
// will not be better at its next delivery.
var ErrInvalid = errors.New("not a valid event")

// ErrUnknownType is an event of a type that this version of the package does not
// know, such as a later version of CallPop. Nothing is wrong with it.
var ErrUnknownType = errors.New("event of an unknown type")

// Delivery is one event as a broker delivered it. One of CallPop, SessionChanged
// and DeadLetter is set.
type Delivery struct {
	// Event is what the headers say, and the body as it came.
	Event          schema.Event
	CallPop        *schema.CallPop
	SessionChanged *schema.SessionChanged
	DeadLetter     *schema.DeadLetter
	// SpoolSequence is the event's place in the connector's spool, the spool's id
	// and a number, which sorts as text among those of one spool. It is empty where
	// the event came straight from the embedded broker.
	SpoolSequence string
	// Replay is the run of a replay that an operator asked for; empty for an event
	// on its ordinary way.
	Replay string
}

// FromNATS reads a message's header, a [nats.Header], and body. The case of the
// header's names does not matter.
//
// The error wraps [ErrInvalid] or [ErrUnknownType]; it quotes nothing of the
// body, which holds a customer's number.
//
// [nats.Header]: https://pkg.go.dev/github.com/nats-io/nats.go#Header
func FromNATS(header map[string][]string, body []byte) (Delivery, error) {
	get := func(name string) string {
		for _, known := range [...]string{name, textproto.CanonicalMIMEHeaderKey(name)} {
			if values := header[known]; len(values) > 0 {
				return values[0]
			}
		}
		for known, values := range header {
			if len(values) > 0 && strings.EqualFold(known, name) {
				return values[0]
			}
		}
		return ""
	}
	event, err := schema.FromNATSHeaders(get, body)
	if err != nil {
		return Delivery{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return decode(event, get(schema.NATSSpoolSequence), get(schema.HeaderReplay))
}

// FromKafka reads a record's headers, each a name and its value, and the record's
// value. Of a name that stands there twice the last counts, as is Kafka's custom.
// The error is as that of [FromNATS].
func FromKafka(headers iter.Seq2[string, []byte], body []byte) (Delivery, error) {
	values := map[string]string{}
	for name, value := range headers {
		values[name] = string(value)
	}
	get := func(name string) string { return values[name] }
	event, err := schema.FromKafkaHeaders(get, body)
	if err != nil {
		return Delivery{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return decode(event, get(schema.KafkaSpoolSequence), get(schema.HeaderReplay))
}

// decode checks the body against its schema and reads it.
func decode(event schema.Event, sequence, replay string) (Delivery, error) {
	d := Delivery{Event: event, SpoolSequence: sequence, Replay: replay}
	if len(event.Body) > MaxBody {
		return Delivery{}, fmt.Errorf("%w: a body of %d bytes: expected at most %d", ErrInvalid, len(event.Body), MaxBody)
	}
	var body any
	switch event.Type {
	case schema.TypeCallPop:
		d.CallPop = new(schema.CallPop)
		body = d.CallPop
	case schema.TypeSessionChanged:
		d.SessionChanged = new(schema.SessionChanged)
		body = d.SessionChanged
	case schema.TypeDeadLetter:
		d.DeadLetter = new(schema.DeadLetter)
		body = d.DeadLetter
	default:
		return Delivery{}, fmt.Errorf("%w: %q", ErrUnknownType, cut(string(event.Type)))
	}
	if err := validate(event.Type, event.Body); err != nil {
		return Delivery{}, fmt.Errorf("%w: %s: %w", ErrInvalid, event.Type, err)
	}
	if err := json.Unmarshal(event.Body, body); err != nil {
		return Delivery{}, fmt.Errorf("%w: %s: %w", ErrInvalid, event.Type, place(err))
	}
	if id := d.bodyID(); id != event.ID {
		return Delivery{}, fmt.Errorf("%w: %s: the id of the headers is not that of the body", ErrInvalid, event.Type)
	}
	if event.Overlap != "" && (d.CallPop == nil || d.CallPop.Fingerprint != event.Overlap) {
		return Delivery{}, fmt.Errorf("%w: %s: %s is not the fingerprint of the body", ErrInvalid, event.Type, schema.HeaderOverlap)
	}
	return d, nil
}

// cut keeps what a stranger sent from filling a log.
func cut(text string) string { return text[:min(len(text), 64)] }

func (d *Delivery) bodyID() string {
	switch {
	case d.CallPop != nil:
		return d.CallPop.ID
	case d.SessionChanged != nil:
		return d.SessionChanged.ID
	default:
		return d.DeadLetter.ID
	}
}

// Age is how long ago the event was received or happened, by the clock of this
// machine against the connector's. It is never negative.
func (d *Delivery) Age(now time.Time) time.Duration { return max(0, now.Sub(d.Event.Time)) }

// Late reports whether the event is older than limit: an outage may hold events
// back for days, and nobody wants last hour's call on the screen.
func (d *Delivery) Late(now time.Time, limit time.Duration) bool { return d.Age(now) > limit }

// Context returns ctx with the event's trace as the remote parent, for a span
// that continues it. Without one in the event it returns ctx as it is.
func (d *Delivery) Context(ctx context.Context) context.Context {
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{
		schema.HeaderTraceParent: d.Event.TraceParent, schema.HeaderTraceState: d.Event.TraceState,
	})
}

// Link leads from a consumer's own trace to the event's: what OpenTelemetry's
// conventions for messaging make the default. It is of no span where the event
// carries no trace.
func (d *Delivery) Link() trace.Link { return trace.LinkFromContext(d.Context(context.Background())) }
