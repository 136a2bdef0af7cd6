package bench

import "fmt"

// ledger is what was sent against what came.
type ledger struct {
	plan Plan
	// sent pops have the numbers 1 to sent.
	sent, missed int
}

// verify counts, and returns the instants of delivery by number; 0: never.
func (l ledger) verify(arrivals []arrival) (Verified, []int64) {
	v := Verified{Sent: l.sent, Missed: l.missed}
	delivered := make([]int64, l.sent+l.missed+1)
	type line struct{ call, session int }
	last := map[line]int64{}  // the newest pop of a call over a session
	newest := map[int]int64{} // the newest reading of a call
	for _, a := range arrivals {
		if a.n >= int64(len(delivered)) {
			continue // of another run
		}
		if delivered[a.n] != 0 {
			v.Duplicates++
			continue
		}
		delivered[a.n] = a.at
		v.Delivered++
		call, session := l.plan.call(int(a.n))
		at := line{call, session}
		if a.n < last[at] || a.read != 0 && a.read < newest[call] {
			v.OutOfOrder++
		}
		last[at] = max(last[at], a.n)
		newest[call] = max(newest[call], a.read)
	}
	v.Lost = max(0, l.sent-v.Delivered)
	return v, delivered
}

// Err says what a run must not have.
func (v Verified) Err() error {
	if v.Lost > 0 || v.OutOfOrder > 0 || v.Missed > 0 {
		return fmt.Errorf("of %d pops %d were lost, %d came out of order, and %d had no session to go to", v.Sent, v.Lost, v.OutOfOrder, v.Missed)
	}
	return nil
}
