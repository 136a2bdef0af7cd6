package web

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
)

// Derive gives the body of /readyz at now: r with its derived fields worked out.
// It changes nothing that r points to.
func (r Readiness) Derive(now time.Time) Readiness {
	r.Servers = slices.Clone(r.Servers)
	for i := range r.Servers {
		r.Servers[i].State = serverState(r.Servers[i].SessionsUp, r.Servers[i].SessionsWanted)
	}
	r.Sinks = slices.Clone(r.Sinks)
	for i := range r.Sinks {
		s := &r.Sinks[i]
		s.Lines = slices.Clone(s.Lines)
		for j := range s.Lines {
			s.Lines[j].age(now)
		}
		s.Delivery = sum(s.Lines)
		s.age(now)
	}
	r.Ready = r.State == Serving && r.Spool != nil &&
		(r.Spool.State == SpoolServing || r.Spool.State == SpoolLowSpace || r.Spool.State == SpoolSuspended)
	r.Problems = r.problems()
	return r
}

func serverState(up, wanted *int) ServerState {
	switch {
	case up == nil || wanted == nil:
		return ""
	case *wanted == 0:
		return ServerIdle
	case *up >= *wanted:
		return ServerUp
	case *up > 0:
		return ServerPartial
	default:
		return ServerDown
	}
}

// age sets how old the oldest undelivered event is, to the millisecond; a clock
// that was set back makes nothing negative.
func (d *Delivery) age(now time.Time) {
	d.OldestUndeliveredSeconds = nil
	if !d.OldestUndeliveredAt.IsZero() {
		d.OldestUndeliveredSeconds = new(math.Round(max(0, now.Sub(d.OldestUndeliveredAt).Seconds())*1000) / 1000)
	}
}

// sum makes a sink's delivery of its lines'. A count that one line does not know
// is not known.
func sum(lines []Line) Delivery {
	var total Delivery
	if len(lines) > 0 {
		total.Backlog = new(uint64(0))
	}
	for _, l := range lines {
		if severity(l.State) > severity(total.State) {
			total.State = l.State
		}
		if at := l.OldestUndeliveredAt; !at.IsZero() && (total.OldestUndeliveredAt.IsZero() || at.Before(total.OldestUndeliveredAt)) {
			total.OldestUndeliveredAt = at
		}
		if l.Backlog == nil {
			total.Backlog = nil
		} else if total.Backlog != nil {
			*total.Backlog += *l.Backlog
		}
		if l.LastError != "" && (total.LastError == "" || l.LastErrorAt.After(total.LastErrorAt)) {
			total.LastError, total.LastErrorAt = l.LastError, l.LastErrorAt
		}
		if l.LastSuccessAt.After(total.LastSuccessAt) {
			total.LastSuccessAt = l.LastSuccessAt
		}
	}
	return total
}

func severity(s DeliveryState) int {
	return slices.Index([]DeliveryState{"", Idle, Publishing, Retrying}, s)
}

// problems says what is not as it should be, the nearest to this process first.
func (r Readiness) problems() []string {
	var all []string
	say := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	if r.State != Serving {
		say("the connector is %s", r.State)
	}
	switch {
	case r.Spool == nil:
		say("the spool is not open")
	case r.Spool.State != SpoolServing:
		say("the spool is %s%s", r.Spool.State, reason(r.Spool.Detail))
	}
	if r.Reload != nil && r.Reload.Outcome == "refused" {
		say("the last reload was refused, and nothing changed: %s", r.Reload.Message)
	}
	if r.Reload != nil && len(r.Reload.Pending) > 0 {
		say("a restart is needed for %s", strings.Join(r.Reload.Pending, ", "))
	}
	if r.Roster != nil {
		if !r.Roster.DrainedSince.IsZero() {
			say("drained since %s: no session is opened", r.Roster.DrainedSince.UTC().Format(time.RFC3339))
		}
		for _, problem := range r.Roster.FileProblems {
			say("%s", problem)
		}
	}
	for _, s := range r.Servers {
		if s.State == ServerDown || s.State == ServerPartial {
			say("server %s: %d of %d sessions are up", s.Name, *s.SessionsUp, *s.SessionsWanted)
		}
	}
	for _, s := range r.Sinks {
		for _, l := range s.Lines {
			if l.State == Retrying {
				say("sink %s: %s", s.Name, l.trouble())
			}
		}
	}
	return all
}

// trouble describes a line that is retrying.
func (l Line) trouble() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is not delivered", l.Type)
	if !l.Since.IsZero() {
		fmt.Fprintf(&b, " since %s", l.Since.UTC().Format(time.RFC3339))
	}
	if l.Backlog != nil {
		fmt.Fprintf(&b, ", %d events wait", *l.Backlog)
	}
	if l.OldestUndeliveredSeconds != nil {
		fmt.Fprintf(&b, ", the oldest for %.0f s", *l.OldestUndeliveredSeconds)
	}
	b.WriteString(reason(l.LastError))
	return b.String()
}

func reason(text string) string {
	if text == "" {
		return ""
	}
	return ": " + text
}
