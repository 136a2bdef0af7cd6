package natssink

import (
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// headersOfMessage is how many headers a message has at most.
const headersOfMessage = 17

// message makes the message of a record; see the package's comment.
func (r *route) message(record *sink.Record) (*nats.Msg, error) {
	subject := record.SubjectUnder(r.subject)
	if len(subject) > maxSubject {
		return nil, sink.Permanent(fmt.Errorf("the subject has %d bytes, more than %d: the names of server and agent are too long", len(subject), maxSubject))
	}
	header := make(nats.Header, headersOfMessage)
	values := make([]string, 0, headersOfMessage) // one allocation for all
	set := func(name, value string) {
		values = append(values, value)
		header[name] = values[len(values)-1 : len(values) : len(values)]
	}
	for name, value := range record.NATSHeaders() {
		set(name, value)
	}
	set(schema.NATSSpoolSequence, record.SpoolSequence)
	set(jetstream.MsgIDHeader, sink.MessageID(record))
	if record.Replay != "" {
		set(schema.HeaderReplay, record.Replay)
	}
	set(jetstream.ExpectedStreamHeader, r.stream)
	return &nats.Msg{Subject: subject, Header: header, Data: record.Body}, nil
}
