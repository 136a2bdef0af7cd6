package spool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema"
)

// stream is the place of one event type in the log.
type stream struct {
	// index is its place in streams.
	index int
	typ   schema.Type
	name  string
}

// streams are the log's streams, in the order of [schema.Types]. Each has limits
// of its own, so that none crowds out another.
var streams = [...]stream{
	{0, schema.TypeCallPop, "CALLPOP"},
	{1, schema.TypeSessionChanged, "CALLPOP_SESSION"},
	{2, schema.TypeDeadLetter, "CALLPOP_DLQ"},
}

// StreamName returns the name of the JetStream stream that holds events of type
// t, or "" for a type that the spool does not know.
func StreamName(t schema.Type) string {
	st, err := streamOf(t)
	if err != nil {
		return ""
	}
	return st.name
}

func streamOf(t schema.Type) (stream, error) {
	for _, st := range streams {
		if st.typ == t {
			return st, nil
		}
	}
	return stream{}, fmt.Errorf("event type %q: expected one of %q", t, schema.Types)
}

func streamNamed(name string) (stream, bool) {
	for _, st := range streams {
		if st.name == name {
			return st, true
		}
	}
	return stream{}, false
}

// DuplicateWindow is how long the server knows the id of an event, so that a
// caller who emits an event again makes no second copy. It has to outlive an ack
// time-out and a restart. Each id in it costs about 160 bytes of memory and as many
// that await their collection: two minutes of 5,000 events a second were seen to
// take 200 MB.
const DuplicateWindow = 20 * time.Second

func (st stream) config(c Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:      st.name,
		Subjects:  []string{string(st.typ) + ".>"},
		Storage:   jetstream.FileStorage,
		Replicas:  1,
		Retention: jetstream.LimitsPolicy,
		// The newest pops are worth the most: a full stream lets its oldest go.
		Discard:    jetstream.DiscardOld,
		MaxAge:     c.MaxAge,
		MaxBytes:   int64(c.MaxBytes),
		Duplicates: min(DuplicateWindow, c.MaxAge),
		// Readers read by sequence with direct gets.
		AllowDirect: true,
	}
}

const cursorBucket = "CALLPOP_CURSORS"

// createStreams makes the streams and the cursors' bucket where they are
// missing, and gives existing ones the configuration's limits. It writes nothing
// where nothing changes: a log on a full disk is still read.
func createStreams(ctx context.Context, js jetstream.JetStream, c Config) (jetstream.KeyValue, error) {
	for _, st := range streams {
		if err := createStream(ctx, js, st.config(c)); err != nil {
			return nil, fmt.Errorf("create stream %s: %w", st.name, err)
		}
	}
	cursors, err := js.KeyValue(ctx, cursorBucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		cursors, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket:  cursorBucket,
			Storage: jetstream.FileStorage,
			History: 1,
		})
	}
	if err != nil {
		return nil, fmt.Errorf("create cursors: %w", err)
	}
	return cursors, nil
}

func createStream(ctx context.Context, js jetstream.JetStream, c jetstream.StreamConfig) error {
	existing, err := js.Stream(ctx, c.Name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		_, err = js.CreateStream(ctx, c)
		return err
	}
	if err != nil {
		return err
	}
	old := existing.CachedInfo().Config
	if old.MaxAge == c.MaxAge && old.MaxBytes == c.MaxBytes && old.Duplicates == c.Duplicates &&
		slices.Equal(old.Subjects, c.Subjects) && old.Discard == c.Discard && old.AllowDirect == c.AllowDirect {
		return nil
	}
	_, err = js.UpdateStream(ctx, c)
	return err
}
