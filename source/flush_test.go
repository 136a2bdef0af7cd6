package source

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/schema"
)

func TestAFlushWaitsForWhatCameBeforeIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Bool
		log := &stored{before: func(schema.Event) error {
			if !open.Load() {
				return errors.New("shut")
			}
			return nil
		}}
		in, done := startIntake(t, IntakeOptions{Emit: log.emit})
		o := testOrigin(t, "801")
		for range 100 {
			in.Pop(o, time.Now(), []byte("H=t1v2,ch=2,ph=86307627,id=1,dm=0;"))
		}
		timed, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := in.Flush(timed); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flushed while nothing is stored: %v", err)
		}
		open.Store(true)
		if err := in.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if got := len(log.events); got != 100 {
			t.Errorf("%d of 100 are stored", got)
		}
		if in.Queued() != 0 {
			t.Errorf("%v wait", in.Queued())
		}
		in.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestAFlushOfMemoryThatIsFullCountsNothingTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var open atomic.Bool
		log := &stored{before: func(schema.Event) error {
			if !open.Load() {
				return errors.New("shut")
			}
			return nil
		}}
		in, done := startIntake(t, IntakeOptions{Emit: log.emit, BufferBytes: 20 * bytesize.KiB})
		o := testOrigin(t, "801")
		flushed := make(chan error, 1)
		go func() { flushed <- in.Flush(t.Context()) }()
		synctest.Wait()
		for range 1000 {
			in.Pop(o, time.Now(), []byte("H=t1v2,ch=2,ph=86307627,id=1,dm=0;"))
		}
		open.Store(true)
		if err := errors.Join(<-flushed, in.Flush(t.Context())); err != nil {
			t.Error(err)
		}
		synctest.Wait() // what was dropped is reported then
		if err := in.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		in.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if in.Queued() != 0 {
			t.Errorf("%v wait", in.Queued())
		}
	})
}
