package spool

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema"
)

// NATS' client protocol, as far as a [writer] needs it:
// https://docs.nats.io/reference/reference-protocols/nats-protocol

const (
	// answers is the subject before an answer's number.
	answers = "_INBOX.emit."
	// headersLine begins the headers of a message.
	headersLine = "NATS/1.0"
	// maxAnswer bounds an answer to a publish; a usual one has 60 bytes.
	maxAnswer = 16 << 10
)

// logIn says who we are, and has the answers sent to us.
func (w *writer) logIn(l login) error {
	if err := w.conn.SetDeadline(time.Now().Add(startTimeout)); err != nil {
		return err
	}
	line, err := w.reader.ReadSlice('\n')
	if err != nil {
		return err
	}
	text, ok := bytes.CutPrefix(line, []byte("INFO "))
	var info struct {
		Nonce string `json:"nonce"`
	}
	if !ok || json.Unmarshal(text, &info) != nil {
		return errProtocol
	}
	signature, err := l.keys.Sign([]byte(info.Nonce))
	if err != nil {
		return err
	}
	connect, err := json.Marshal(map[string]any{
		"nkey": l.public, "sig": base64.RawURLEncoding.EncodeToString(signature), "name": "callpop-spool-emit",
		"lang": "go", "version": nats.Version, "protocol": 1, "headers": true, "no_responders": true,
		"verbose": false, "pedantic": false, "echo": true,
	})
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(w.conn, "CONNECT %s\r\nSUB %s* 1\r\nPING\r\n", connect, answers); err != nil {
		return err
	}
	for !bytes.HasPrefix(line, []byte("PONG")) {
		if line, err = w.reader.ReadSlice('\n'); err != nil {
			return err
		}
		if bytes.HasPrefix(line, []byte("-ERR")) {
			return fmt.Errorf("the server says %q", bytes.TrimSpace(line))
		}
	}
	return w.conn.SetDeadline(time.Time{})
}

// appendHeaders appends the headers of e's message: CloudEvents', and the id by which
// the log knows a repeated event.
func appendHeaders(dst []byte, e *schema.Event) ([]byte, error) {
	if e.ID == "" {
		return dst, errors.New("the event has no id")
	}
	dst = append(dst, headersLine+"\r\n"...)
	for name, value := range e.NATSHeaders() {
		dst = appendHeader(dst, name, value)
	}
	dst = appendHeader(dst, jetstream.MsgIDHeader, e.ID)
	dst = append(dst, "\r\n"...)
	if len(dst)+len(e.Body) > maxPayload-headerSlack {
		return dst, ErrTooLarge
	}
	return dst, nil
}

// appendHeader appends a header. Line ends within a value, which would end it, become
// spaces, as those of nats.go do.
func appendHeader(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	begin := len(dst)
	dst = append(dst, value...)
	for i, c := range dst[begin:] {
		if c == '\r' || c == '\n' {
			dst[begin+i] = ' '
		}
	}
	return append(dst, "\r\n"...)
}

// headerSlack is room for what the server adds to the headers when it hands an event
// out.
const headerSlack = 1 << 10

// appendPublish appends the message of e, with the headers made of it, whose answer is
// to have a number.
func appendPublish(dst []byte, number uint64, headers []byte, e *schema.Event) []byte {
	dst = append(dst, "HPUB "...)
	dst = e.AppendSubject(dst)
	dst = append(dst, ' ')
	dst = append(dst, answers...)
	dst = strconv.AppendUint(dst, number, 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(len(headers)), 10)
	dst = append(dst, ' ')
	dst = strconv.AppendInt(dst, int64(len(headers)+len(e.Body)), 10)
	dst = append(dst, "\r\n"...)
	dst = append(dst, headers...)
	dst = append(dst, e.Body...)
	return append(dst, "\r\n"...)
}

// message is what the server says: a ping, or the answer with a number; 0: nobody's.
type message struct {
	ping   bool
	number uint64
	ack    ack
}

var errProtocol = errors.New("the embedded server's words are not understood")

// readMessage reads until there is a message.
func readMessage(r *bufio.Reader) (m message, err error) {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return m, err
		}
		operation, rest, _ := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(" "))
		switch string(operation) {
		case "MSG", "HMSG":
			return readAnswer(r, rest, len(operation) == len("HMSG"))
		case "PING":
			return message{ping: true}, nil
		case "PONG", "INFO", "+OK":
		case "-ERR":
			return m, fmt.Errorf("the server says %q", rest)
		default:
			return m, errProtocol
		}
	}
}

// readAnswer reads the rest of a message: subject, subscription, the sizes of the
// headers, if it has any, and of all, and in the next line the message.
func readAnswer(r *bufio.Reader, line []byte, headers bool) (m message, err error) {
	var fields [4][]byte
	n := 0
	for field := range bytes.FieldsSeq(line) {
		if n == len(fields) {
			return m, errProtocol
		}
		fields[n] = field
		n++
	}
	if headers && n != 4 || !headers && n != 3 {
		return m, errProtocol
	}
	sizes := fields[2:n]
	head, size := 0, 0
	if size, err = strconv.Atoi(string(sizes[len(sizes)-1])); err != nil || size < 0 || size > maxAnswer {
		return m, errProtocol
	}
	if headers {
		if head, err = strconv.Atoi(string(sizes[0])); err != nil || head < 0 || head > size {
			return m, errProtocol
		}
	}
	if number, ok := bytes.CutPrefix(fields[0], []byte(answers)); ok {
		if m.number, err = strconv.ParseUint(string(number), 10, 64); err != nil {
			return m, errProtocol
		}
	}
	const end = "\r\n"
	text, err := r.Peek(size + len(end))
	switch {
	case err != nil:
		return m, err
	case string(text[size:]) != end:
		return m, errProtocol
	case bytes.HasPrefix(text[:head], []byte(headersLine+" 503")):
		m.ack.err = nats.ErrNoResponders
	default:
		m.ack.sequence, m.ack.err = readAck(text[head:size])
	}
	_, err = r.Discard(len(text))
	return m, err
}

// readAck reads the log's answer to a publish. That of a stored message, or of one it
// knew already, names a sequence and no error.
func readAck(answer []byte) (uint64, error) {
	// What the server writes all the time is read without package json.
	if rest, ok := bytes.CutPrefix(answer, []byte(`{"stream":"`)); ok {
		if _, rest, ok = bytes.Cut(rest, []byte(`","seq":`)); ok {
			digits := bytes.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
			if n, err := strconv.ParseUint(string(rest[:max(digits, 0)]), 10, 64); err == nil && n > 0 {
				return n, nil
			}
		}
	}
	var ack struct {
		Error    *jetstream.APIError `json:"error"`
		Sequence uint64              `json:"seq"`
	}
	if err := json.Unmarshal(answer, &ack); err != nil || (ack.Error == nil && ack.Sequence == 0) {
		return 0, errBadAck
	}
	if ack.Error != nil {
		return 0, ack.Error
	}
	return ack.Sequence, nil
}
