package console

import (
	"time"

	"github.com/callpop/connector/schema"
)

// minutes is how many the chart has: an hour, and the minute under way.
const minutes = 61

// rates counts what was received in each minute of the past hour.
type rates struct {
	counts [minutes]minute
	// cut says that the first minutes were not counted whole, since there was too
	// much to read of them at the start, which was at started.
	cut     bool
	started time.Time
}

// minute is the counts of one minute; number counts minutes since 1970.
type minute struct {
	number        int64
	pops, letters int
}

func newRates(now time.Time) rates { return rates{started: now} }

func minuteOf(at time.Time) int64 { return at.Unix() / 60 }

// add counts an event that was received at a time. What is older than all of the
// minutes that are kept is left out.
func (r *rates) add(t schema.Type, at, now time.Time) {
	number, last := minuteOf(at), minuteOf(now)
	if number > last || number <= last-minutes {
		return
	}
	m := &r.counts[number%minutes]
	if number != m.number {
		*m = minute{number: number}
	}
	switch t {
	case schema.TypeCallPop:
		m.pops++
	case schema.TypeDeadLetter:
		m.letters++
	}
}

// rateView is the chart: one count for each minute, the newest last.
type rateView struct {
	// Until is the beginning of the last minute, which is under way.
	Until time.Time `json:"until"`
	Pops  []int     `json:"pops"`
	// DeadLetters are those of the same minutes.
	DeadLetters []int `json:"dead_letters"`
	// Partial says that minutes before the start may have had more.
	Partial time.Time `json:"partial_before,omitzero"`
}

func (r *rates) view(now time.Time) rateView {
	last := minuteOf(now)
	v := rateView{Until: time.Unix(last*60, 0).UTC(), Pops: make([]int, minutes), DeadLetters: make([]int, minutes)}
	for i := range minutes {
		number := last - int64(minutes-1-i)
		if m := r.counts[(number%minutes+minutes)%minutes]; m.number == number {
			v.Pops[i], v.DeadLetters[i] = m.pops, m.letters
		}
	}
	if r.cut && now.Sub(r.started) < time.Hour {
		v.Partial = r.started
	}
	return v
}
