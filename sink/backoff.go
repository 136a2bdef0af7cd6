package sink

import (
	"math/rand/v2"
	"time"
)

// The limits of the pause before a retry.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 10 * time.Second
)

// backoffCeiling returns the longest pause after a number of failures in a row,
// 1 or more: it doubles from minBackoff up to maxBackoff.
func backoffCeiling(failures int) time.Duration {
	ceiling := minBackoff
	for range failures - 1 {
		if ceiling *= 2; ceiling >= maxBackoff {
			return maxBackoff
		}
	}
	return ceiling
}

// backoff returns the pause after a number of failures in a row. It has full
// jitter, at the ceiling too: else the lines of many connectors fall into step
// and meet a recovering broker together.
func backoff(failures int) time.Duration {
	return rand.N(backoffCeiling(failures) + 1)
}
