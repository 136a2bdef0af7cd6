package source

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// Replicas say which part of every session source's roster this connector holds:
// each agent belongs to exactly one of Count connectors with the same
// configuration.
type Replicas struct {
	// Count is how many there are, Index which of them this is, from 0 on. An index
	// that is not below the count holds no session, and delivers what its spool has.
	Count int `koanf:"count"`
	Index int `koanf:"index"`
	// GainDelay is how long an agent's session is not opened here after it was
	// another replica's.
	GainDelay time.Duration `koanf:"gain_delay"`
	// ConnectBeforeClose has whoever loses an agent keep the session for twice the
	// GainDelay, so that the two overlap; otherwise it is closed at once.
	ConnectBeforeClose bool `koanf:"connect_before_close"`
}

// DefaultReplicas is one connector that holds every session.
func DefaultReplicas() Replicas { return Replicas{Count: 1, GainDelay: 30 * time.Second} }

// MaxReplicas bounds Count: it is far more than any installation has.
const MaxReplicas = 1000

// Validate returns the first thing that is wrong with r, by the name of its key.
func (r Replicas) Validate() error {
	switch {
	case r.Count < 1 || r.Count > MaxReplicas:
		return fmt.Errorf("count is %d: expected 1 to %d", r.Count, MaxReplicas)
	case r.Index < 0 || r.Index > MaxReplicas:
		return fmt.Errorf("index is %d: expected 0 for the first replica, to %d", r.Index, MaxReplicas)
	case r.GainDelay < 0 || r.GainDelay > time.Hour:
		return fmt.Errorf("gain_delay is %v: expected 0s to 1h", r.GainDelay)
	case r.ConnectBeforeClose && r.GainDelay == 0:
		return errors.New("gain_delay is 0s with connect_before_close: expected the time that the news of a change takes to reach every replica")
	}
	return nil
}

// Surplus reports that there is nothing for this replica to hold.
func (r Replicas) Surplus() bool { return r.Index >= r.Count }

// Holds reports whether an agent of a server is this replica's.
func (r Replicas) Holds(server, agent string) bool { return Owner(server, agent, r.Count) == r.Index }

// Owner is the replica, in [0, count), that holds an agent of a server. When count
// grows by one, an agent either stays or goes to the new replica.
//
// It is rendezvous hashing (Thaler and Ravishankar, 1996): each replica draws a
// number for the agent, and the highest wins. The number is the finaliser of
// SplitMix64 over the first eight bytes, big-endian, of SHA-256 of server, 0x00,
// agent, plus the replica's number from 1 on times 0x9e3779b97f4a7c15. It must
// never change: replicas of different versions work side by side.
func Owner(server, agent string, count int) int {
	text := make([]byte, 0, 128)
	text = append(append(append(text, server...), 0), agent...)
	sum := sha256.Sum256(text)
	seed := binary.BigEndian.Uint64(sum[:8])
	owner, best := 0, uint64(0)
	for i := range count {
		x := seed + (uint64(i)+1)*0x9e3779b97f4a7c15 //nolint:gosec // a count is small
		x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
		x = (x ^ x>>27) * 0x94d049bb133111eb
		if x ^= x >> 31; x > best {
			owner, best = i, x
		}
	}
	return owner
}
