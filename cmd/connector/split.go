package main

import (
	"time"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/roster"
	"github.com/callpop/connector/source/session"
)

// begin starts the wait for what is still to come of a change of the split.
func (k *desk) begin() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.arm()
}

// arm has step called when it is time. mu is held.
func (k *desk) arm() {
	if k.timer != nil {
		k.timer.Stop()
		k.timer = nil
	}
	if next := k.split.Next(); !next.IsZero() && !k.closed {
		k.timer = time.AfterFunc(time.Until(next), k.step)
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
	// A step that is under way already has its turn first.
	k.turn.Lock()
	defer k.turn.Unlock()
}

// openSplit takes up the split from before the start. A connector that starts for
// the first time as one of several held nothing, and others may hold it all.
func (k *desk) openSplit(now source.Replicas) error {
	split, known := k.store.Split()
	switch {
	case known:
	case now.Surplus(): // which has nothing to wait for
		split = roster.Split{Part: roster.Part{Count: now.Count, Index: now.Index}}
	default:
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
	next := former.To(roster.Part{Count: to.Count, Index: to.Index}, time.Now(), orderOf(to))
	if err := k.store.SetSplit(next); err != nil {
		return err
	}
	k.split = next
	k.tell(former)
	if to.Surplus() {
		k.log.Warn("no session is this replica's: its number is beyond the count; its spool is delivered", "replicas.index", to.Index, "replicas.count", to.Count)
	}
	return nil
}

// orderOf is the order that is configured.
func orderOf(r source.Replicas) roster.Order {
	return roster.Order{Delay: r.GainDelay, ConnectBeforeClose: r.ConnectBeforeClose}
}

// tell logs how the split differs from a former one. mu is held.
func (k *desk) tell(former roster.Split) {
	now := k.split
	if now.Part != former.Part {
		attributes := []any{"replica", now.Index, "of", now.Count, "was", former.Index, "was_of", former.Count, "gains_at", now.GainsAt}
		if !now.LosesAt.IsZero() {
			attributes = append(attributes, "loses_at", now.LosesAt)
		}
		k.log.Info("the rosters are split anew", attributes...)
	}
	if now.Then != nil {
		k.log.Info("the rosters are split anew once the change under way is through", "replica", now.Then.Index, "of", now.Then.Count, "begins_at", now.OverlapsUntil)
	}
}

// advance has the split come to now, and reports whether that changed what is held, and
// since when nobody may have held what is opened; zero: somebody has.
func (k *desk) advance(order roster.Order) (downSince time.Time, changed bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now, next := time.Now(), k.split.Next()
	if next.IsZero() || k.closed {
		return downSince, false
	}
	if now.Before(next) { // the wait began anew while step waited for its turn
		k.arm()
		return downSince, false
	}
	former := k.split
	downSince = former.DownSince(order.Delay)
	k.split = former.Advance(now, order)
	if k.split.Part != former.Part {
		// Where this fails, a start begins the same change again from the configuration.
		if err := k.store.SetSplit(k.split); err != nil {
			k.log.Error("the split over replicas is not on disk", "error", err)
		}
		k.tell(former)
	}
	k.arm()
	return downSince, true
}

// holds gives the test whether an agent of a server is held here now.
func (k *desk) holds() func(server, agent string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.split.Part == (roster.Part{Count: 1}) && k.split.Next().IsZero() {
		return func(string, string) bool { return true }
	}
	return k.split.Holds
}

// declareOverlaps tells the session sources until when another replica may have a
// session of an agent too. It counts from the next roster on that they are given.
func (d *daemon) declareOverlaps(c *config.Config, held map[string]*session.Source) {
	d.desk.mu.Lock()
	split := d.desk.split
	d.desk.mu.Unlock()
	for _, s := range sessionsOf(c) {
		if running := held[s.Name]; running != nil {
			running.SetOverlap(func(agent string) time.Time { return split.Overlap(s.Server, agent) })
		}
	}
}

// step puts in force what is due of a change of the split: it opens what is no longer
// waited for, closes what is no longer kept, or begins the change that comes after.
func (d *daemon) step() {
	d.desk.turn.Lock()
	defer d.desk.turn.Unlock()
	c := d.running.Load()
	downSince, changed := d.desk.advance(orderOf(c.Replicas))
	if !changed {
		return
	}
	held := d.held()
	for _, s := range held {
		s.SetDownSince(downSince)
	}
	done := d.applyRosters(c, source.CauseReplicas)
	for _, s := range held {
		s.SetDownSince(time.Time{})
	}
	if done.Opened+done.Closed > 0 {
		d.desk.log.Info("sessions go from one replica to another", "opened", done.Opened, "closed", done.Closed)
	}
}
