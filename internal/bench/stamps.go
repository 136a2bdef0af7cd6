package bench

import (
	"sync/atomic"
	"time"
	"unsafe"
)

// Stamps is an instant for each pop, in memory that two processes map: outside of
// the collector's sight, so that it changes nothing about what is measured. Pop n
// has the place n; every place is written once.
type Stamps struct {
	memory []byte
	places []int64
}

const stampSize = int(unsafe.Sizeof(int64(0)))

// Set notes that pop n has come here now, if it has not before.
func (s *Stamps) Set(n int, at time.Time) {
	if n > 0 && n < len(s.places) {
		atomic.CompareAndSwapInt64(&s.places[n], 0, at.UnixNano())
	}
}

// At returns when pop n came, in nanoseconds since 1970; 0: it has not.
func (s *Stamps) At(n int) int64 { return atomic.LoadInt64(&s.places[n]) }

func newStamps(memory []byte) *Stamps {
	return &Stamps{memory: memory, places: unsafe.Slice((*int64)(unsafe.Pointer(&memory[0])), len(memory)/stampSize)}
}
