package capture

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// ReadError is what is wrong with a transcript.
type ReadError struct {
	// Line counts from 1.
	Line int
	Err  error
}

func (e *ReadError) Error() string { return fmt.Sprintf("transcript, line %d: %v", e.Line, e.Err) }

// Unwrap returns the cause.
func (e *ReadError) Unwrap() error { return e.Err }

// Read reads a whole transcript. What is wrong with it is a [*ReadError]; a last
// line that is cut off is not wrong.
func Read(in io.Reader) (*Transcript, error) {
	return readWithin(in, limits{bytes: MaxBytes, records: MaxRecords, connections: MaxConnections})
}

// limits of a transcript.
type limits struct{ bytes, records, connections int }

func readWithin(in io.Reader, most limits) (*Transcript, error) {
	r := reader{limits: most, byNumber: map[int64]*Connection{}}
	lines := bufio.NewReaderSize(in, MaxLine)
	total := 0
	for number := 1; ; number++ {
		text, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return nil, &ReadError{number, fmt.Errorf("it is longer than %d bytes", MaxLine)}
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("read a transcript: %w", err)
		}
		ended := err != nil
		if total += len(text); total > most.bytes {
			return nil, &ReadError{number, fmt.Errorf("the transcript has more than %d bytes", most.bytes)}
		}
		whole := !ended || len(text) == 0
		text = bytes.TrimSpace(text)
		if len(text) > 0 {
			if err := r.take(text); err != nil {
				if whole || r.transcript == nil {
					return nil, &ReadError{number, err}
				}
				r.transcript.Cut = true
			}
		}
		if ended {
			break
		}
	}
	if r.transcript == nil {
		return nil, &ReadError{1, errors.New("it is empty")}
	}
	return r.transcript, nil
}

// reader builds a transcript line by line.
type reader struct {
	limits     limits
	transcript *Transcript
	byNumber   map[int64]*Connection
	records    int
}

func (r *reader) take(text []byte) error {
	if r.transcript == nil {
		return r.header(text)
	}
	if IsTranscript(text) {
		return errors.New("a second transcript begins here: expected one in a file")
	}
	if r.transcript.Full {
		return errors.New("a record after the one that says that the transcript is full")
	}
	var l line
	if err := json.Unmarshal(text, &l); err != nil {
		return fmt.Errorf("this is no record: %w", err)
	}
	if r.records++; r.records > r.limits.records {
		return fmt.Errorf("more than %d records", r.limits.records)
	}
	switch l.Event {
	case Open, Refused:
		return r.open(&l)
	case Client, Server, ClientEnd, ServerEnd, Lost:
	case Full:
		r.transcript.Full = true
		return nil
	default:
		return fmt.Errorf("event is %.40q: expected open, refused, client, server, client_end, server_end, lost or full", l.Event)
	}
	c := r.byNumber[l.Connection]
	if c == nil || c.Refused != "" {
		return fmt.Errorf("%s on connection %d, which is not open", l.Event, l.Connection)
	}
	if l.Event == Lost && (l.Count < 1 || l.Of != Client && l.Of != Server) {
		return errors.New("lost without a count of bytes and of whose")
	}
	c.Entries = append(c.Entries, Entry{At: l.At, Kind: l.Event, Data: l.Bytes, Lost: l.Count, Of: l.Of, Cause: l.Cause})
	return nil
}

func (r *reader) header(text []byte) error {
	if !IsTranscript(text) {
		return fmt.Errorf("this is no transcript: expected it to begin with %s", mark)
	}
	var h header
	if err := json.Unmarshal(text, &h); err != nil {
		return fmt.Errorf("this is no header: %w", err)
	}
	switch {
	case h.Version == nil || *h.Version < 1:
		return errors.New("the header has no version")
	case *h.Version > Version:
		return fmt.Errorf("its version is %d: this program reads up to version %d", *h.Version, Version)
	case h.Numbers != numbersPlain && h.Numbers != numbersMasked:
		return fmt.Errorf("numbers is %.40q: expected %s or %s", h.Numbers, numbersPlain, numbersMasked)
	}
	r.transcript = &Transcript{Started: h.Started, Upstream: h.Upstream, Masked: h.Numbers == numbersMasked}
	return nil
}

func (r *reader) open(l *line) error {
	if l.Connection < 1 || r.byNumber[l.Connection] != nil {
		return fmt.Errorf("connection %d is opened a second time, or has no number", l.Connection)
	}
	if len(r.byNumber) == r.limits.connections {
		return fmt.Errorf("more than %d connections", r.limits.connections)
	}
	c := &Connection{Number: l.Connection, From: l.From, Opened: l.At}
	if l.Event == Refused {
		if c.Refused = l.Cause; c.Refused == "" {
			c.Refused = "unknown"
		}
	}
	r.byNumber[l.Connection] = c
	r.transcript.Connections = append(r.transcript.Connections, c)
	return nil
}
