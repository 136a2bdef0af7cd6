package control

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// readLetter reads the body of a dead letter.
func readLetter(e *schema.Event) (*schema.DeadLetter, error) {
	if e.Type != schema.TypeDeadLetter {
		return nil, errors.New("not a dead letter")
	}
	var letter schema.DeadLetter
	if err := json.Unmarshal(e.Body, &letter); err != nil {
		return nil, fmt.Errorf("read dead letter %s: %w", e.ID, err)
	}
	return &letter, nil
}

// LetterBytes returns the bytes that a dead letter keeps.
func LetterBytes(letter *schema.DeadLetter) ([]byte, error) {
	if letter.RawBase64 == "" {
		return []byte(letter.Raw), nil
	}
	raw, err := base64.StdEncoding.DecodeString(letter.RawBase64)
	if err != nil {
		return nil, fmt.Errorf("raw_base64 of dead letter %s: %w", letter.ID, err)
	}
	return raw, nil
}

// Outcome is what became of the retry of a dead letter.
type Outcome string

// The outcomes of a retry.
const (
	// Sent: the event reached the sink that had refused it.
	Sent Outcome = "sent"
	// Emitted: the pop could be decoded, and its event is in the spool, on its way
	// to every sink.
	Emitted Outcome = "emitted"
	// Failed: it fails as before, or for a new reason; see the detail.
	Failed Outcome = "failed"
	// Impossible: it is nothing that could be tried again.
	Impossible Outcome = "impossible"
	// Missing: the spool has no dead letter of this id.
	Missing Outcome = "missing"
)

// Good reports whether the retry succeeded.
func (o Outcome) Good() bool { return o == Sent || o == Emitted }

// RetryRequest says which dead letters to retry.
type RetryRequest struct {
	// Filter means dead letters; its types are ignored.
	Filter Filter `json:"filter"`
}

// Retried is what became of one dead letter.
type Retried struct {
	ID       string  `json:"id"`
	Sequence uint64  `json:"sequence,omitempty"`
	Reason   string  `json:"reason,omitempty"`
	Outcome  Outcome `json:"outcome"`
	// Sink is that of a refused event, Event the id of what was sent or emitted.
	Sink   string `json:"sink,omitempty"`
	Event  string `json:"event,omitempty"`
	Detail string `json:"detail,omitempty"`
}

// Retry puts dead letters back into the line. An event that a sink refused is
// published to that sink again, as a replay, in one attempt: once a sink could not
// be reached its other events are not tried. An undecodable pop is decoded again
// with the configuration of its source; its event goes into the spool under the
// dead letter's own id, the one that the pop was given when it was received.
//
// The dead letters stay in the spool until they age out. Nothing notes that they
// were retried, and nothing has to: a second retry gives the same ids, by which
// consumers tell it.
var Retry = Operation[RetryRequest, Retried]{name: "retry", live: true, run: retry}

func retry(ctx context.Context, h *Host, r RetryRequest, yield func(Retried) error) error {
	f := r.Filter
	f.Types = []schema.Type{schema.TypeDeadLetter}
	if err := f.Validate(); err != nil {
		return err
	}
	rt := retrying{host: h, run: newRun(), targets: map[string]*retryTarget{}}
	defer rt.release()
	wanted := slices.Clone(f.IDs)
	for item, err := range h.scan(ctx, schema.TypeDeadLetter, &f) {
		if err != nil {
			return err
		}
		if item.Damage != "" || !f.fits(&item.Event) {
			continue
		}
		wanted = slices.DeleteFunc(wanted, func(id string) bool { return id == item.ID })
		done := rt.one(ctx, &item.Event)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		done.Sequence = item.Sequence
		if err := yield(done); err != nil {
			return err
		}
	}
	for _, id := range wanted {
		if err := yield(Retried{ID: id, Outcome: Missing, Detail: "there is no such dead letter in the spool"}); err != nil {
			return err
		}
	}
	return nil
}

// retrying is one run of [Retry].
type retrying struct {
	host    *Host
	run     string
	targets map[string]*retryTarget // by the sink's name and event type
}

// retryTarget is a sink, or why there is none.
type retryTarget struct {
	Target
	err error
}

func (rt *retrying) release() {
	for _, t := range rt.targets {
		if t.Release != nil {
			t.Release()
		}
	}
}

// one retries one dead letter.
func (rt *retrying) one(ctx context.Context, e *schema.Event) Retried {
	done := Retried{ID: e.ID}
	letter, err := readLetter(e)
	if err != nil {
		done.Outcome, done.Detail = Impossible, err.Error()
		return done
	}
	done.Reason, done.Sink = letter.Reason, letter.Sink
	switch letter.Reason {
	case schema.ReasonRefused:
		done.Outcome, done.Event, err = rt.send(ctx, letter)
	case schema.ReasonUndecodable:
		done.Outcome, done.Event, err = rt.decode(ctx, letter)
	default:
		done.Outcome, err = Impossible, errors.New("bytes that were lost between pops are no pop")
	}
	if err != nil {
		done.Detail = err.Error()
	}
	return done
}

// retryTimeout bounds one attempt: a sink that is away is waited for no longer.
const retryTimeout = 15 * time.Second

// send publishes the event of a letter to the sink that refused it.
func (rt *retrying) send(ctx context.Context, letter *schema.DeadLetter) (Outcome, string, error) {
	record, err := rt.original(ctx, letter)
	if err != nil {
		return Impossible, "", err
	}
	place := letter.Sink + " " + string(record.Type)
	target := rt.targets[place]
	if target == nil {
		target = &retryTarget{}
		target.Target, target.err = rt.host.openSink(letter.Sink, record.Type)
		rt.targets[place] = target
	}
	if target.err != nil {
		return Failed, "", target.err
	}
	record.Replay = rt.run
	bounded, cancel := context.WithTimeout(ctx, retryTimeout)
	defer cancel()
	if err := target.Sink.Publish(bounded, []sink.Record{record}); err != nil {
		var each sink.BatchError
		if errors.As(err, &each) && len(each) == 1 {
			err = each[0]
		}
		if !sink.IsPermanent(err) {
			target.err = fmt.Errorf("not tried, since the sink took none before: %w", err)
		}
		return Failed, "", err
	}
	return Sent, record.ID, nil
}

// original is the event that was refused: from the spool where it still holds it,
// else as the letter keeps it.
func (rt *retrying) original(ctx context.Context, letter *schema.DeadLetter) (sink.Record, error) {
	id, t := letter.Headers[schema.AttributeID], schema.Type(letter.Headers[schema.AttributeType])
	if sequence, ok := rt.sequence(letter); ok {
		for item, err := range rt.host.Spool.Scan(ctx, t, sequence-1, sequence) {
			if err != nil {
				return sink.Record{}, err
			}
			if item.Damage == "" && item.ID == id {
				return item.Record, nil
			}
		}
	}
	body, err := LetterBytes(letter)
	if err != nil {
		return sink.Record{}, err
	}
	event, err := schema.FromKafkaHeaders(func(name string) string {
		return letter.Headers[strings.TrimPrefix(name, schema.KafkaPrefix)]
	}, body)
	if err != nil {
		return sink.Record{}, fmt.Errorf("the event has left the spool, and its dead letter does not give it whole: %w", err)
	}
	if err := checkBody(&event); err != nil {
		return sink.Record{}, fmt.Errorf("the event has left the spool, and its dead letter keeps a part of it: %w", err)
	}
	return sink.Record{Event: event, SpoolSequence: letter.Headers[schema.AttributeSpoolSequence]}, nil
}

// sequence is where this very spool had the event.
func (rt *retrying) sequence(letter *schema.DeadLetter) (uint64, bool) {
	number, ok := strings.CutPrefix(letter.Headers[schema.AttributeSpoolSequence], rt.host.Spool.ID()+"-")
	if !ok {
		return 0, false
	}
	n, err := strconv.ParseUint(number, 10, 64)
	return n, err == nil && n > 0
}

// decode makes the event of an undecodable pop, now that it may be one.
func (rt *retrying) decode(ctx context.Context, letter *schema.DeadLetter) (Outcome, string, error) {
	if rt.host.Decode == nil {
		return Failed, "", errNoConfig
	}
	event, err := rt.host.Decode(letter)
	if err != nil {
		return Failed, "", err
	}
	bounded, cancel := context.WithTimeout(ctx, retryTimeout)
	defer cancel()
	if err := rt.host.Spool.Emit(bounded, event); err != nil {
		return Failed, "", err
	}
	return Emitted, event.ID, nil
}

// checkBody says what is wrong with an event's body, never with its words.
func checkBody(e *schema.Event) error {
	var common struct {
		ID      string `json:"id"`
		Version int    `json:"version"`
		Server  string `json:"server"`
	}
	var whole any
	switch e.Type {
	case schema.TypeCallPop:
		whole = new(schema.CallPop)
	case schema.TypeSessionChanged:
		whole = new(schema.SessionChanged)
	case schema.TypeDeadLetter:
		whole = new(schema.DeadLetter)
	default:
		return fmt.Errorf("event type %q is not one of %q", e.Type, schema.Types)
	}
	switch {
	case !json.Valid(e.Body):
		return errors.New("the body is not JSON")
	case json.Unmarshal(e.Body, &common) != nil || json.Unmarshal(e.Body, whole) != nil:
		return errors.New("the body is not that of its type")
	}
	switch {
	case common.ID != e.ID:
		return errors.New("the body's id is not that of the headers")
	case common.Version != schema.Version:
		return fmt.Errorf("the body's version is %d, not %d", common.Version, schema.Version)
	case common.Server != e.Server:
		return errors.New("the body's server is not that of the headers")
	}
	return nil
}
