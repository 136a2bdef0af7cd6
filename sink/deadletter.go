package sink

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/callpop/connector/schema"
)

// maxDeadLetterBytes bounds how much of a refused body its dead letter carries:
// with base64 and headers it still fits the spool's messages. Bodies of pops are
// far below.
const maxDeadLetterBytes = 512 << 10

// deadLetter makes the event that keeps what a sink refused. Everything in it
// comes from the record, so that a record which is refused again after a crash
// gives the same dead letter with the same id.
func deadLetter(sinkName string, r *Record, cause error) (schema.Event, error) {
	body := r.Body
	letter := schema.DeadLetter{
		ID:         deadLetterID(sinkName, r),
		Version:    schema.Version,
		Server:     r.Server,
		Agent:      r.Agent,
		Reason:     schema.ReasonRefused,
		Detail:     errorText(cause),
		ReceivedAt: r.Time.UTC(),
		Source:     sourceOf(r.Body),
		Sink:       sinkName,
		Headers:    headersOf(r),
	}
	if len(body) > maxDeadLetterBytes {
		letter.Detail += fmt.Sprintf(" (of %d bytes the first %d are kept)", len(body), maxDeadLetterBytes)
		body = body[:maxDeadLetterBytes]
	} else if len(body) <= maxDeadLetterBytes/4 {
		letter.Raw = string(body)
	}
	letter.RawBase64 = base64.StdEncoding.EncodeToString(body)
	encoded, err := json.Marshal(letter)
	if err != nil {
		return schema.Event{}, fmt.Errorf("encode dead letter of event %s: %w", r.ID, err)
	}
	return schema.Event{
		Type:        schema.TypeDeadLetter,
		ID:          letter.ID,
		Key:         schema.AgentKey(r.Server, r.Agent),
		Server:      r.Server,
		Agent:       r.Agent,
		Time:        r.Time,
		Body:        encoded,
		TraceParent: r.TraceParent,
		TraceState:  r.TraceState,
	}, nil
}

// deadLetterID returns a UUIDv7 whose time is the event's and whose other bits
// come from a hash instead of chance: of the sink's name and the event's type and
// id.
func deadLetterID(sinkName string, r *Record) string {
	h := sha256.New()
	for _, part := range []string{sinkName, string(r.Type), r.ID} {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		h.Write(length[:])
		h.Write([]byte(part))
	}
	id := h.Sum(nil)[:16]
	binary.BigEndian.PutUint64(id, uint64(max(r.Time.UnixMilli(), 0))<<16|uint64(binary.BigEndian.Uint16(id[6:])))
	id[6] = 0x70 | id[6]&0x0F
	id[8] = 0x80 | id[8]&0x3F
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// sourceOf reads the source out of a body; it is empty where there is none.
func sourceOf(body []byte) schema.Source {
	var event struct {
		Source schema.Source `json:"source"`
	}
	_ = json.Unmarshal(body, &event) // what cannot be read is kept as bytes all the same
	return event.Source
}

// maxHeaderBytes bounds a header's value in a dead letter. A value may be what the
// event was refused for.
const maxHeaderBytes = 1 << 10

// headersOf returns what a broker would have had as headers, under the plain
// names of CloudEvents.
func headersOf(r *Record) map[string]string {
	headers := map[string]string{
		schema.HeaderContentType:      schema.ContentType,
		schema.AttributeSpoolSequence: r.SpoolSequence,
	}
	for name, value := range r.Attributes() {
		headers[name] = value
	}
	if r.Overlap != "" {
		headers[schema.HeaderOverlap] = r.Overlap
	}
	if r.TraceParent != "" {
		headers[schema.HeaderTraceParent] = r.TraceParent
		if r.TraceState != "" {
			headers[schema.HeaderTraceState] = r.TraceState
		}
	}
	for name, value := range headers {
		if len(value) > maxHeaderBytes {
			headers[name] = strings.ToValidUTF8(value[:maxHeaderBytes], "")
		}
	}
	return headers
}

// emitTimeout bounds the storing of a dead letter: a spool that is stuck must not
// hold the line.
const emitTimeout = 5 * time.Second
