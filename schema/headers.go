package schema

import (
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

// Names of headers, in lower case. The first two are the same on NATS and Kafka
// and are no CloudEvents attributes.
const (
	HeaderTraceParent = "traceparent"
	HeaderTraceState  = "tracestate"
	// HeaderContentType is CloudEvents' datacontenttype on Kafka. On NATS that one
	// is ce-datacontenttype, and content-type tells binary from structured mode.
	HeaderContentType = "content-type"
)

// HeaderReplay marks a message that a replay sent, on NATS and on Kafka alike; its
// value names the replay. All other headers, and the body, are those of the first
// delivery.
const HeaderReplay = "callpop-replay"

// HeaderOverlap marks an event that two replicas of the connector may both have
// received, on NATS and on Kafka alike, because agents went from one to the other
// with overlapping sessions; its value is the pop's fingerprint. Copies have the same
// value, and different ids: of those that come within minutes of one another, all but
// one are to be dropped. A NATS sink has the stream do that.
const HeaderOverlap = "callpop-overlap"

// Prefixes of a CloudEvents attribute's header, and with them the header that
// sinks add.
const (
	NATSPrefix  = "ce-"
	KafkaPrefix = "ce_"

	NATSSpoolSequence  = NATSPrefix + AttributeSpoolSequence
	KafkaSpoolSequence = KafkaPrefix + AttributeSpoolSequence
)

// natsDataContentType is written and, like content-type, not read: there is no
// other content.
const natsDataContentType = NATSPrefix + "datacontenttype"

// Header names in the order of attributeNames, put together once.
var (
	natsNames  = prefixed(NATSPrefix)
	kafkaNames = prefixed(KafkaPrefix)
)

func prefixed(prefix string) (names [attrCount]string) {
	for i, name := range attributeNames {
		names[i] = prefix + name
	}
	return names
}

// NATSHeaders yields the headers of the event as a NATS message in CloudEvents'
// binary mode: content-type and ce-datacontenttype, each of [Event.Attributes]
// with the prefix ce-, then [HeaderOverlap], traceparent and tracestate where they are
// set.
//
// The values of attributes are percent-encoded as section 3.1.3.2 of CloudEvents'
// HTTP binding, and of its NATS binding after it, has it: bytes outside U+0021 to
// U+007E, the double quote and the percent sign. So no value, whatever an agent
// or a call is named, can end its header line. A trace context with other than
// printable ASCII is left out.
func (e *Event) NATSHeaders() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if !yield(HeaderContentType, ContentType) || !yield(natsDataContentType, ContentType) {
			return
		}
		for i, name := range natsNames {
			if value := e.attribute(i); value != "" && !yield(name, percentEncode(value)) {
				return
			}
		}
		e.yieldOthers(yield)
	}
}

// KafkaHeaders yields the headers of the event as a Kafka record in CloudEvents'
// binary mode: content-type, each of [Event.Attributes] with the prefix ce_, then
// [HeaderOverlap], traceparent and tracestate where they are set. Values are UTF-8 as
// they are: Kafka's headers carry their lengths.
func (e *Event) KafkaHeaders() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if !yield(HeaderContentType, ContentType) {
			return
		}
		for i, name := range kafkaNames {
			if value := e.attribute(i); value != "" && !yield(name, value) {
				return
			}
		}
		e.yieldOthers(yield)
	}
}

// yieldOthers yields what is no attribute and has the same form with both brokers.
func (e *Event) yieldOthers(yield func(string, string) bool) {
	if isFingerprint(e.Overlap) && !yield(HeaderOverlap, e.Overlap) {
		return
	}
	if e.TraceParent == "" || !printable(e.TraceParent) {
		return // without its parent, a trace state means nothing
	}
	if !yield(HeaderTraceParent, e.TraceParent) {
		return
	}
	if e.TraceState != "" && printable(e.TraceState) {
		yield(HeaderTraceState, e.TraceState)
	}
}

// FromNATSHeaders rebuilds an event from the headers that [Event.NATSHeaders]
// gave and the message's body, which it keeps and does not read. get returns a
// header's value, or the empty string; it is asked for lower-case names.
//
// Id, source, type and time are required, and specversion must be 1.0; a header
// that is missing or malformed is an error that names it and does not quote it.
// Types that this package does not know are passed on.
func FromNATSHeaders(get func(name string) string, body []byte) (Event, error) {
	return fromHeaders(get, &natsNames, percentDecode, body)
}

// FromKafkaHeaders is as [FromNATSHeaders], for what [Event.KafkaHeaders] gave.
func FromKafkaHeaders(get func(name string) string, body []byte) (Event, error) {
	return fromHeaders(get, &kafkaNames, func(value string) (string, error) { return value, nil }, body)
}

func fromHeaders(get func(string) string, names *[attrCount]string, decode func(string) (string, error), body []byte) (Event, error) {
	var values [attrCount]string
	for i, name := range names {
		value, err := decode(get(name))
		if err != nil {
			return Event{}, fmt.Errorf("read event headers: %s: %w", name, err)
		}
		if !utf8.ValidString(value) {
			return Event{}, fmt.Errorf("read event headers: %s is not UTF-8", name)
		}
		if value == "" && required(i) {
			return Event{}, fmt.Errorf("read event headers: %s is missing", name)
		}
		values[i] = value
	}
	if values[attrSpecVersion] != SpecVersion {
		return Event{}, fmt.Errorf("read event headers: %s is not %s", names[attrSpecVersion], SpecVersion)
	}
	server, err := parseSource(values[attrSource])
	if err != nil {
		return Event{}, fmt.Errorf("read event headers: %s: %w", names[attrSource], err)
	}
	at, err := time.Parse(time.RFC3339Nano, values[attrTime])
	if err != nil {
		return Event{}, fmt.Errorf("read event headers: %s is not an RFC 3339 time", names[attrTime])
	}
	overlap := get(HeaderOverlap)
	if overlap != "" && !isFingerprint(overlap) {
		return Event{}, fmt.Errorf("read event headers: %s is not a fingerprint", HeaderOverlap)
	}
	return Event{
		Type:        Type(values[attrType]),
		ID:          values[attrID],
		Key:         values[attrPartitionKey],
		Server:      server,
		Agent:       values[attrSubject],
		Time:        at.UTC(),
		Body:        body,
		Overlap:     overlap,
		TraceParent: get(HeaderTraceParent),
		TraceState:  get(HeaderTraceState),
	}, nil
}

func required(attribute int) bool {
	switch attribute {
	case attrID, attrSource, attrType, attrTime, attrSpecVersion:
		return true
	default:
		return false
	}
}

// parseSource returns the server's name in a source attribute.
func parseSource(source string) (string, error) {
	segment, ok := strings.CutPrefix(source, sourcePrefix)
	if !ok || strings.Contains(segment, "/") {
		return "", fmt.Errorf("it is not %s and one path segment", sourcePrefix)
	}
	server, err := url.PathUnescape(segment)
	if err != nil {
		return "", errPercent
	}
	if !utf8.ValidString(server) {
		return "", errors.New("its segment is not UTF-8")
	}
	return server, nil
}

var errPercent = errors.New("malformed percent-encoding")

// headerSafe reports whether c stands for itself in a NATS header's value.
func headerSafe(c byte) bool { return 0x21 <= c && c <= 0x7E && c != '"' && c != '%' }

// headerUnsafe has a high bit set for each of the eight bytes of w that is not
// headerSafe, and perhaps for some above the lowest such.
func headerUnsafe(w uint64) uint64 {
	below, above := w-ones*0x21, w+ones
	quote, percent := (w^ones*'"')-ones, (w^ones*'%')-ones
	return (below | above | quote | percent | w) & highs
}

// percentEncode encodes a header's value, see [Event.NATSHeaders].
func percentEncode(value string) string {
	safe := 0 // so many bytes are
	for safe+8 <= len(value) && headerUnsafe(load64(value[safe:])) == 0 {
		safe += 8
	}
	escapes := 0
	for i := safe; i < len(value); i++ {
		if !headerSafe(value[i]) {
			escapes++
		}
	}
	if escapes == 0 {
		return value
	}
	b := make([]byte, 0, len(value)+2*escapes)
	for i := range len(value) {
		if c := value[i]; headerSafe(c) {
			b = append(b, c)
		} else {
			b = append(b, '%', upperHex[c>>4], upperHex[c&0xF])
		}
	}
	return string(b)
}

// percentDecode is the reverse of percentEncode. As the binding asks, it takes
// lower-case hex digits, needless escapes and double-quoted values too.
func percentDecode(value string) (string, error) {
	if strings.HasPrefix(value, `"`) {
		unquoted, ok := unquote(value)
		if !ok {
			return "", errors.New("malformed quoted value")
		}
		value = unquoted
	}
	decoded, err := url.PathUnescape(value)
	if err != nil {
		return "", errPercent
	}
	return decoded, nil
}

// unquote takes the quotes off a quoted-string of RFC 7230, section 3.2.6.
func unquote(value string) (_ string, ok bool) {
	if len(value) < 2 || value[len(value)-1] != '"' {
		return "", false
	}
	inner := value[1 : len(value)-1]
	b := make([]byte, 0, len(inner))
	for i := 0; i < len(inner); i++ {
		switch c := inner[i]; c {
		case '"':
			return "", false
		case '\\':
			i++
			if i == len(inner) {
				return "", false
			}
			b = append(b, inner[i])
		default:
			b = append(b, c)
		}
	}
	return string(b), true
}

// printable reports whether s is printable ASCII, spaces included.
func printable(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7E {
			return false
		}
	}
	return true
}
