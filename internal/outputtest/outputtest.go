// Package outputtest is for tests that read what a program or a logger writes while
// it goes on writing.
package outputtest

import (
	"bytes"
	"sync"
)

// Output is what was written so far. Its zero value is empty and ready; it may be
// used from any goroutine.
type Output struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

// Write implements [io.Writer]. It never fails.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String is all that was written.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}
