// Package sink carries events from the spool to brokers.
//
// A [Sink] makes one attempt to publish. The [Forwarder] owns everything else:
// reading the spool from the sink's cursor, retries with back-off, the order of
// each key, dead letters, and moving the cursor.
package sink

import (
	"context"
	"errors"
	"fmt"

	"github.com/callpop/connector/internal/spool"
)

// Record is an event as the spool holds it.
type Record = spool.Record

// Sink publishes events to one broker.
type Sink interface {
	// Publish makes one attempt to publish every record and returns when the
	// broker has answered for each, or ctx is done, or the sink's own time-out
	// has passed. It does not retry.
	//
	// Records are of one event type, in the order of their sequence. Records that
	// share a key must be stored in that order: once a record has failed, no later
	// record of the same key may be stored by this call. Records of different keys
	// are independent.
	//
	// nil means that the broker has stored all of them. A [BatchError] says what
	// became of each record. Any other error means the same error for every
	// record. Within either, a [Permanent] error means that this record will never
	// be accepted; every other error is taken as unknown: the record may have been
	// stored, and will be published again with the same id.
	//
	// Calls for different event types may overlap; calls for one type do not.
	Publish(ctx context.Context, records []Record) error

	// Close releases what the sink holds. It is safe to call it twice, and returns
	// when ctx is done even if the broker does not answer. No Publish is under way
	// when it is called.
	Close(ctx context.Context) error
}

// BatchError says what became of each record of a Publish call: one error for
// each record, in their order, nil for a record that was stored.
type BatchError []error

// Error names the first failure and counts the rest.
func (e BatchError) Error() string {
	var first error
	failed := 0
	for _, err := range e {
		if err != nil {
			if first == nil {
				first = err
			}
			failed++
		}
	}
	return fmt.Sprintf("%d of %d records failed, the first: %v", failed, len(e), first)
}

// Unwrap gives errors.Is and errors.As the single errors.
func (e BatchError) Unwrap() []error { return e }

// ErrNotAttempted is the error of a record that was held back because an earlier
// record of its key failed in the same call.
var ErrNotAttempted = errors.New("not attempted: an earlier record of the same key failed")

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

// Permanent marks err as one that the same record will always meet: the record
// goes to the dead letters and the line moves on. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err: err}
}

// IsPermanent reports whether err was marked by [Permanent].
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}
