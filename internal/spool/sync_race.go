//go:build race

package spool

import "time"

// leastSync is the least time between two syncs under the race detector: the
// embedded server (2.15.2) sets its first timer outside its lock, and a timer of
// milliseconds that fires at once on a busy machine is reported as a race.
const leastSync = 4 * time.Second
