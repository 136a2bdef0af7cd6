// Package kvwindow is a [consume.Window] in a JetStream key-value bucket, which
// the replicas of a consumer share.
package kvwindow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema/consume"
)

// Options describe the bucket.
type Options struct {
	// Bucket is its name: one for each consumer, shared by the consumer's replicas.
	Bucket string
	// Age is how long an event is remembered.
	Age time.Duration
	// Lease is how long a claim lasts at most: after it the event of a replica that
	// died is anyone's. It must be longer than handling takes, and is a second or
	// more.
	Lease time.Duration
	// Replicas of the bucket itself; 0 is 1.
	Replicas int
}

// Window is a [consume.Window].
type Window struct {
	bucket jetstream.KeyValue
	lease  time.Duration
}

// What stands under an id.
const (
	claimed = "claimed"
	settled = "settled"
)

// Open makes the bucket or takes the one that is there, whose age is then set to
// that of o. The server must be 2.11 or later, for leases.
func Open(ctx context.Context, js jetstream.JetStream, o Options) (*Window, error) {
	if o.Lease < time.Second || o.Age < o.Lease {
		return nil, fmt.Errorf("open window %s: lease %v, age %v: expected a lease of 1s or more, and an age no shorter", o.Bucket, o.Lease, o.Age)
	}
	bucket, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: o.Bucket, Description: "Events that a consumer has handled.",
		TTL: o.Age, LimitMarkerTTL: o.Lease, History: 1, Replicas: max(1, o.Replicas), Storage: jetstream.FileStorage,
	})
	if err != nil {
		return nil, fmt.Errorf("open window %s: %w", o.Bucket, err)
	}
	return &Window{bucket: bucket, lease: o.Lease}, nil
}

// Claim implements [consume.Window].
func (w *Window) Claim(ctx context.Context, id string) (consume.Verdict, error) {
	_, err := w.bucket.Create(ctx, id, []byte(claimed), jetstream.KeyTTL(w.lease))
	if err == nil {
		return consume.Fresh, nil
	}
	if !errors.Is(err, jetstream.ErrKeyExists) {
		return "", err
	}
	entry, err := w.bucket.Get(ctx, id)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return consume.Busy, nil // its claim ended just now
	}
	if err != nil {
		return "", err
	}
	if string(entry.Value()) == settled {
		return consume.Handled, nil
	}
	return consume.Busy, nil
}

// Settle implements [consume.Window].
func (w *Window) Settle(ctx context.Context, id string) error {
	_, err := w.bucket.PutString(ctx, id, settled)
	return err
}

// Release implements [consume.Window].
func (w *Window) Release(ctx context.Context, id string) error { return w.bucket.Delete(ctx, id) }
