package bench

import (
	"time"

	"golang.org/x/sys/unix"
)

// sleepShort waits a millisecond or less to within some 60 µs. The runtime's timers
// are as coarse as a millisecond while a process is idle, which would be the
// largest part of the latencies at low rates.
func sleepShort(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil) // a signal cuts it short: the caller looks again
}
