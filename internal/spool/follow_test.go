package spool

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/callpop/connector/schema"
)

func TestFollowGivesEachEventOnceAlsoWhenTheServerIsRestarted(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()), quick)
	want := emitN(t, s, 3)[1:]
	records, troubles := make(chan Record, 10), make(chan error, 10)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.Follow(context.Background(), schema.TypeCallPop, 1, func(r Record) { records <- r }, func(err error) { troubles <- err })
	}()
	var got []string
	next := func(n int) {
		for range n {
			got = append(got, (<-records).ID)
		}
	}
	next(2)
	waits(t, s)
	restart(t, s)
	if err := <-troubles; !errors.Is(err, ErrRestarted) {
		t.Errorf("the trouble is %v", err)
	}
	want = append(want, emitN(t, s, 2)...)
	next(2)
	closeSpool(t, s)
	<-ended
	if !slices.Equal(got, want) || len(records) > 0 {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFollowEndsWithItsContext(t *testing.T) {
	s := openSpool(t, testOptions(t.TempDir()))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	s.Follow(ctx, schema.TypeCallPop, 0, func(Record) { t.Error("an event") }, func(err error) { t.Errorf("trouble: %v", err) })
}
