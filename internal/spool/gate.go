package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/callpop/connector/internal/bytesize"
)

// gate stands between clients and the JetStream API. It sees each request in the
// clients' account, as the client sent it, and passes on what reads the log and
// what keeps consumers, to subjects that the account's imports lead on to the
// API. The answer goes straight to the client.
//
// What it looks at is what the server does not: where an answer would go, where a
// consumer would deliver, and how much one request may ask for.
type gate struct {
	conn *nats.Conn
}

const (
	// maxRequest bounds a request's body; a consumer's configuration with all its
	// metadata fits.
	maxRequest = 256 << 10
	// maxDirectBytes bounds the answer to one direct get, which the server puts
	// together in memory.
	maxDirectBytes = int(bytesize.MiB)
	// maxGateBytes bounds the requests that wait; what comes beyond is dropped,
	// and its client asks again.
	maxGateBytes = int(16 * bytesize.MiB)
)

// openGate takes over conn.
func openGate(conn *nats.Conn) (*gate, error) {
	g := &gate{conn: conn}
	for subject, handler := range map[string]nats.MsgHandler{apiPrefix + ">": g.request, ackPrefix + ">": g.ack} {
		sub, err := conn.Subscribe(subject, handler)
		if err == nil {
			err = sub.SetPendingLimits(-1, maxGateBytes)
		}
		if err != nil {
			conn.Close()
			return nil, fmt.Errorf("subscribe to clients' requests %s: %w", subject, err)
		}
	}
	if err := conn.FlushTimeout(startTimeout); err != nil {
		conn.Close()
		return nil, fmt.Errorf("subscribe to clients' requests: %w", err)
	}
	return g, nil
}

func (g *gate) close() { g.conn.Close() }

// request passes an API request on, or answers it with what is wrong.
func (g *gate) request(m *nats.Msg) {
	if !safeReply(m.Reply) {
		// There is nobody to tell.
		return
	}
	subject := strings.TrimPrefix(m.Subject, apiPrefix)
	body, err := checkRequest(subject, m.Data)
	if err != nil {
		g.refuse(m.Reply, err)
		return
	}
	// The requester's headers stay behind, but for the one the API reads.
	out := &nats.Msg{Subject: gateAPIPrefix + subject, Reply: m.Reply, Data: body}
	if level := m.Header.Get(requiredAPILevel); level != "" {
		out.Header = nats.Header{requiredAPILevel: {level}}
	}
	// A failure to publish here means that the server is going down.
	_ = g.conn.PublishMsg(out)
}

const requiredAPILevel = server.JSRequiredApiLevel

// ack passes an acknowledgement on. It may ask for an answer, and for the next
// message as that answer.
func (g *gate) ack(m *nats.Msg) {
	if (m.Reply != "" && !safeReply(m.Reply)) || len(m.Data) > maxRequest {
		return
	}
	subject := gateAckPrefix + strings.TrimPrefix(m.Subject, ackPrefix)
	_ = g.conn.PublishMsg(&nats.Msg{Subject: subject, Reply: m.Reply, Data: m.Data})
}

// safeReply reports whether an answer to reply can reach an inbox only, never
// the subjects that other clients take for events.
func safeReply(reply string) bool {
	return strings.HasPrefix(reply, inboxPrefix) && !strings.ContainsAny(reply, "*> \t\r\n")
}

var (
	errReadOnly = errors.New("not permitted: clients of this broker may read events and keep consumers of their own")
	errPush     = errors.New("not permitted: this broker serves pull consumers only, and plain subscriptions")
	errTooLarge = fmt.Errorf("not permitted: a request of more than %d bytes", maxRequest)
)

// checkRequest returns the body to pass on for a request to $JS.API.<subject>.
// Where it looked inside the body it returns what it saw, encoded again: two
// readings of one JSON text can differ.
func checkRequest(subject string, body []byte) ([]byte, error) {
	if !permitted(subject) {
		return nil, errReadOnly
	}
	if len(body) > maxRequest {
		return nil, errTooLarge
	}
	switch {
	case strings.HasPrefix(subject, "CONSUMER.CREATE."), strings.HasPrefix(subject, "CONSUMER.DURABLE.CREATE."):
		return checkConsumer(body)
	case strings.HasPrefix(subject, "DIRECT.GET.") && len(body) > 0:
		return checkDirectGet(body)
	}
	return body, nil
}

// permitted reports whether the account's imports lead from subject anywhere.
func permitted(subject string) bool {
	for _, i := range apiImports {
		if !i.perStream {
			if subject == i.subject {
				return true
			}
			continue
		}
		for _, st := range streams {
			if matches(fmt.Sprintf(i.subject, st.name), subject) {
				return true
			}
		}
	}
	return false
}

// matches reports whether subject matches pattern, as NATS does.
func matches(pattern, subject string) bool {
	for {
		want, restWant, moreWant := strings.Cut(pattern, ".")
		got, rest, more := strings.Cut(subject, ".")
		switch {
		case got == "":
			return false
		case want == ">":
			return true
		case want != "*" && want != got:
			return false
		case !moreWant || !more:
			return moreWant == more
		}
		pattern, subject = restWant, rest
	}
}

// checkConsumer refuses consumers that deliver by themselves: the server would
// publish events, in the spool's account, wherever the client says.
func checkConsumer(body []byte) ([]byte, error) {
	var r server.CreateConsumerRequest
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	c := r.Config
	if c.DeliverSubject != "" || c.DeliverGroup != "" || c.FlowControl || c.Heartbeat != 0 || c.Direct || c.Sourcing {
		return nil, errPush
	}
	return json.Marshal(r)
}

// checkDirectGet bounds the answer.
func checkDirectGet(body []byte) ([]byte, error) {
	var r server.JSApiMsgGetRequest
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	if r.MaxBytes <= 0 || r.MaxBytes > maxDirectBytes {
		r.MaxBytes = maxDirectBytes
	}
	return json.Marshal(r)
}

// decode reads one JSON value, strictly, as the server does.
func decode(body []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("bad request: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("bad request: more than one JSON value")
	}
	return nil
}

// refuse answers a request in the API's own form, so that the client's library
// gives its caller the reason at once, not a time-out.
func (g *gate) refuse(reply string, reason error) {
	// 403 means "forbidden" in the API's errors, as in HTTP's.
	answer, err := json.Marshal(server.ApiResponse{
		Type:  "io.nats.jetstream.api.v1.system_response",
		Error: &server.ApiError{Code: 403, Description: reason.Error()},
	})
	if err == nil {
		_ = g.conn.Publish(reply, answer)
	}
}
