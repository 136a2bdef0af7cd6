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

// fillCallers is how many events are stored at once.
const fillCallers = 64

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
	var (
		next    atomic.Int64
		callers sync.WaitGroup
		errs    [fillCallers]error
	)
	for i := range errs {
		callers.Go(func() {
			maker, err := newMaker(o.Server, o.Plan)
			for n := int(next.Add(1)); err == nil && n <= o.Plan.Count; n = int(next.Add(1)) {
				err = s.Emit(ctx, maker.event(n, time.Now()))
			}
			errs[i] = err
		})
	}
	callers.Wait()
	return fill{}, nil, errors.Join(errs[:]...)
}

// Ask knows nothing.
func (fill) Ask(_ context.Context, what string, _ json.RawMessage) (any, error) {
	return nil, unknown(what)
}

// Close does nothing.
func (fill) Close() error { return nil }

// areaCode is the site's.
const areaCode = "025"
