package main

import (
	"time"

	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/roster"
)

// begin starts the wait for what other replicas held.
func (k *desk) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.arm()
}

// arm has gain called when it is time. mu is held.
func (k *desk) arm() {
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
	if k.split.Waiting() && !k.closed {
		k.timer = time.AfterFunc(time.Until(k.split.GainsAt), k.gain)
	}
}

// close ends the wait.
func (k *desk) close() {
	if k == nil {
		return
	}
	k.mu.Lock()
	k.closed = true
	k.arm()
	k.mu.Unlock()
	// A gain that runs already has its turn first.
	k.turn.Lock()
	defer k.turn.Unlock()
}

// openSplit takes up the split from before the start. A connector that starts for
// the first time as one of several held nothing, and others may hold it all.
func (k *desk) openSplit(now source.Replicas) error {
	split, known := k.store.Split()
	if !known {
		split = roster.Split{Part: roster.Part{Count: 1}}
		if now.Count > 1 {
			split.Index = -1
		}
	}
	k.split = split
	return k.splitOver(now)
}

// splitOver puts replicas in force after those that were.
func (k *desk) splitOver(to source.Replicas) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	former := k.split
	next := former.To(roster.Part{Count: to.Count, Index: to.Index}, time.Now(), to.GainDelay)
	if err := k.store.SetSplit(next); err != nil {
		return err
	}
	k.split = next
	if next.Part != former.Part {
		k.log.Info("the rosters are split anew", "replica", to.Index, "of", to.Count, "was", former.Index, "was_of", former.Count, "gains_at", next.GainsAt)
	}
	if to.Surplus() {
		k.log.Warn("this replica holds no session: its number is beyond the count; its spool is delivered", "replicas.index", to.Index, "replicas.count", to.Count)
	}
	return nil
}

// gained reports whether the wait is over, and ends it.
func (k *desk) gained() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.split.Waiting() || k.closed {
		return false
	}
	if time.Now().Before(k.split.GainsAt) { // it began anew while gain waited for its turn
		k.arm()
		return false
	}
	k.split.Former, k.split.GainsAt = nil, time.Time{}
	return true
}

// holds gives the test whether an agent of a server is held here now.
func (k *desk) holds() func(server, agent string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.split.Part == (roster.Part{Count: 1}) && !k.split.Waiting() {
		return func(string, string) bool { return true }
	}
	return k.split.Holds
}
