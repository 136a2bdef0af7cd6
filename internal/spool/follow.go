package spool

import (
	"context"
	"errors"
	"time"

	"github.com/callpop/connector/schema"
)

const (
	// followBatch is how many records [Spool.Follow] takes at once.
	followBatch = 256
	// followPause is the pause after a read that failed, as while the embedded
	// server restarts.
	followPause = 200 * time.Millisecond
)

// Follow gives the events of type t that come after sequence to take, in the order
// of their sequence, until ctx is done or the spool is closed. A read that fails is
// told to trouble and made again. Both are called by this goroutine alone.
func (s *Spool) Follow(ctx context.Context, t schema.Type, after uint64, take func(Record), trouble func(error)) {
	for ctx.Err() == nil {
		err := s.follow(ctx, t, &after, take)
		if ctx.Err() != nil || errors.Is(err, ErrClosed) {
			return
		}
		trouble(err)
		select {
		case <-ctx.Done():
		case <-time.After(followPause):
		}
	}
}

func (s *Spool) follow(ctx context.Context, t schema.Type, after *uint64, take func(Record)) error {
	reader, err := s.Read(ctx, t, *after)
	if err != nil {
		return err
	}
	defer func() { _ = reader.Close() }() // it only lets go
	for {
		records, err := reader.Next(ctx, followBatch)
		if err != nil {
			return err
		}
		for _, r := range records {
			take(r)
			*after = r.Sequence
		}
	}
}
