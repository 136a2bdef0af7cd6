package capture

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"
)

// Version is the version of transcripts that is written.
const Version = 1

// The limits of a transcript.
const (
	MaxLine        = 128 << 10
	MaxBytes       = 256 << 20
	MaxRecords     = 1_000_000
	MaxConnections = 10_000
)

// Kind is what a record says; see the package's description.
type Kind string

// The kinds of record.
const (
	Open      Kind = "open"
	Refused   Kind = "refused"
	Client    Kind = "client"
	Server    Kind = "server"
	ClientEnd Kind = "client_end"
	ServerEnd Kind = "server_end"
	Lost      Kind = "lost"
	Full      Kind = "full"
)

// Transcript is what was recorded.
type Transcript struct {
	Started time.Time
	// Upstream is the LQ server's address.
	Upstream string
	// Masked says that customers' numbers are not in it.
	Masked bool
	// Connections are in the order in which they were made.
	Connections []*Connection
	// Cut says that the last line is not whole: the recorder was killed. Full says
	// that the recorder stopped at its limit.
	Cut, Full bool
}

// Connection is what was recorded of one.
type Connection struct {
	// Number counts from 1.
	Number int64
	// From is the client's address.
	From   string
	Opened time.Time
	// Refused is why the server could not be reached; empty where it could.
	Refused string
	Entries []Entry
}

// Entry is one thing that happened on a connection: Client, Server, ClientEnd,
// ServerEnd or Lost.
type Entry struct {
	At   time.Time
	Kind Kind
	// Data are the bytes of Client and Server.
	Data []byte
	// Lost is how many bytes are missing, Of whose: Client or Server.
	Lost int
	Of   Kind
	// Cause is how one side ended.
	Cause string
}

// header is the first line.
type header struct {
	Version  *int      `json:"callpop_capture"`
	Started  time.Time `json:"started"`
	Upstream string    `json:"upstream"`
	Numbers  string    `json:"numbers"`
}

// The ways of numbers in a header.
const (
	numbersPlain  = "plain"
	numbersMasked = "masked"
)

// line is every other one.
type line struct {
	Connection int64     `json:"connection"`
	At         time.Time `json:"at"`
	Event      Kind      `json:"event"`
	From       string    `json:"from,omitempty"`
	Bytes      hexBytes  `json:"bytes,omitempty"`
	Count      int       `json:"count,omitempty"`
	Of         Kind      `json:"of,omitempty"`
	Cause      string    `json:"cause,omitempty"`
}

// hexBytes are bytes, as hex digits in text.
type hexBytes []byte

func (b hexBytes) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, b), nil }

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.AppendDecode(nil, text)
	return err
}

// appendLine appends v as a line.
func appendLine(dst []byte, v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return dst, fmt.Errorf("write a transcript: %w", err)
	}
	dst = append(dst, text...)
	return append(dst, '\n'), nil
}

// mark is how every transcript begins.
const mark = `{"callpop_capture":`

// IsTranscript says whether what begins with start is a transcript.
func IsTranscript(start []byte) bool { return bytes.HasPrefix(start, []byte(mark)) }
