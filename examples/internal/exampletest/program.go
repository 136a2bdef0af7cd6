package exampletest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// Start runs an example's program until stop is called, which waits for it and
// fails the test if it ended with an error other than that of being cut short. stop
// is safe twice, and is called at the test's end at the latest.
func Start(t testing.TB, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("the program ended with: %v", err)
			}
		case <-time.After(Patience):
			t.Error("the program does not end")
		}
	})
	t.Cleanup(stop)
	return stop
}

// Until waits until something is so.
func Until(t testing.TB, what string, is func() bool) {
	t.Helper()
	begun := time.Now()
	defer func() { t.Logf("%v until %s", time.Since(begun).Round(time.Millisecond), what) }()
	for end := time.Now().Add(Patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v in vain until %s", Patience, what)
		}
	}
}
