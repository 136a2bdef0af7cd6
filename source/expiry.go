package source

import "time"

// expiryBeats is how many heartbeats a server may leave out.
const expiryBeats = 3

// Expiry is how long a server may say nothing before its sessions count as over: at
// least after, as configured, and three times longest, the longest interval seen
// between its heartbeats. Where after is 0 that is never, and Expiry 0.
func Expiry(after, longest time.Duration) time.Duration {
	if after == 0 {
		return 0
	}
	return max(after, expiryBeats*longest)
}
