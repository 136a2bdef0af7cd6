package bench

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/callpop/connector/internal/spool"
)

// fillOptions say what to put into which spool.
type fillOptions struct {
	Dir    string `json:"dir"`
	Plan   Plan   `json:"plan"`
	Server string `json:"server"`
}

// fill is the process that makes a backlog. Its work is done once it is ready.
type fill struct{}

const (
	// fillCallers is how many events are stored at once.
	fillCallers = 64
	// fillNewest is how many of the events are of the time for which the log knows ids:
	// as many as with 5,000 a second.
	fillNewest = 100_000
)

func startFill(ctx context.Context, options json.RawMessage) (_ Part, _ any, err error) {
	var o fillOptions
	if err := json.Unmarshal(options, &o); err != nil {
		return nil, nil, err
	}
	c := spool.DefaultConfig()
	c.Dir, c.MinFree = o.Dir, 0
	s, err := spool.Open(ctx, spool.Options{Config: c})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
		defer cancel()
		err = errors.Join(err, s.Close(closing))
	}()
	older := max(0, o.Plan.Count-fillNewest)
	if err := storeEvents(ctx, s, o, 1, older); err != nil {
		return nil, nil, err
	}
	if older > 0 {
		select {
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		case <-time.After(spool.DuplicateWindow):
		}
	}
	return fill{}, nil, storeEvents(ctx, s, o, older+1, o.Plan.Count)
}

// storeEvents stores those of pops first to last.
func storeEvents(ctx context.Context, s *spool.Spool, o fillOptions, first, last int) error {
	var (
		next    atomic.Int64
		callers sync.WaitGroup
		errs    [fillCallers]error
	)
	next.Store(int64(first - 1))
	for i := range errs {
		callers.Go(func() {
			maker, err := newMaker(o.Server, o.Plan)
			for n := int(next.Add(1)); err == nil && n <= last; n = int(next.Add(1)) {
				err = s.Emit(ctx, maker.event(n, time.Now()))
			}
			errs[i] = err
		})
	}
	callers.Wait()
	return errors.Join(errs[:]...)
}

// Ask knows nothing.
func (fill) Ask(_ context.Context, what string, _ json.RawMessage) (any, error) {
	return nil, unknown(what)
}

// Close does nothing.
func (fill) Close() error { return nil }

// areaCode is the site's.
const areaCode = "025"
