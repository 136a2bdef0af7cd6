package relay

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/frame"
)

// tapped is the tap's part of a desktop.
type tapped struct {
	// waiting is the cost of what waits for the tap, unseen what it could not take
	// since the last item; guarded by the tap's mutex.
	waiting int
	unseen  *loss

	// What follows is the tap's goroutine's own.

	decoder frame.Decoder
	// origin is made once it is known whose connection it is, see identify; until
	// then said keeps the first that the desktop sent.
	origin *source.Origin
	said   []byte
	spoke  time.Time // when the last of it came
	looks  int
	// opened is when the server accepted, heard when it was last heard, risen when
	// it was first heard, or first again after it had expired; beat is the time of
	// the last heartbeat. Zero where it was not.
	opened, heard, risen, beat time.Time
	beats                      int
	// up: the agent's session counts as live. silent: that it was never heard has
	// been reported.
	up, silent bool
	// skipped counts the bytes lost since framing was.
	skipped int
	// lost is what the tap did not see, until framing is found again.
	lost *loss
	// over: that the server's stream ended has been handled.
	over bool
}

// resync notes a loss and gives up the framing that it broke.
func (d *tapped) resync(l *loss) {
	d.lost = d.lost.merge(l)
	d.decoder.Resync()
}

func (t *tap) handle(it *item, data []byte) {
	d := it.d
	switch it.kind {
	case openedItem:
		d.opened = it.at
		t.live[d] = struct{}{}
	case clientItem:
		t.listen(d, it.at, data)
	case serverItem:
		t.missed(d, it.lost)
		t.hear(d, it.at, data)
	case endedItem:
		t.missed(d, it.lost)
		t.end(d, it.at, d.ending())
	}
}

// missed notes what the tap could not take before what it handles now.
func (t *tap) missed(d *desktop, l *loss) {
	if l == nil {
		return
	}
	if d.decoder.Pending() > 0 {
		t.identify(d)
		t.o.intake.DeadLetter(d.origin, d.heard, d.decoder.Rest(), schema.ReasonLostFraming,
			"the tap was too far behind to take the rest of this frame")
	}
	d.resync(l)
}

// maxLooks bounds how often a desktop that speaks in small pieces is looked at.
const maxLooks = 16

// listen takes what the desktop sent.
func (t *tap) listen(d *desktop, at time.Time, data []byte) {
	if d.origin != nil {
		return
	}
	d.said, d.spoke = append(d.said, data...), at
	if !d.heard.IsZero() && d.looks < maxLooks {
		d.looks++
		t.recognize(d)
	}
}

// hear takes what the server sent.
func (t *tap) hear(d *desktop, at time.Time, data []byte) {
	d.heard = at
	if d.risen.IsZero() {
		d.risen = at
	}
	t.recognize(d)
	t.rise(d)
	for len(data) > 0 {
		n := copy(d.decoder.Buffer(), data)
		d.decoder.Wrote(n)
		data = data[n:]
		for {
			f, ok := d.decoder.Next()
			if !ok {
				break
			}
			t.frame(d, f)
		}
	}
}

func (t *tap) frame(d *desktop, f frame.Frame) {
	switch f.Kind {
	case frame.Heartbeat:
		t.beat(d)
	case frame.Pop:
		t.identify(d)
		t.o.intake.Pop(d.origin, d.heard, f.Data)
	case frame.Skipped:
		t.identify(d)
		t.skip(d, f.Data)
	case frame.Empty:
		t.o.metrics.add(t.o.metrics.empties, 1)
	}
}

// patientBeats is how many heartbeats a desktop that does not say who it is is
// waited for to do so.
const patientBeats = 3

func (t *tap) beat(d *desktop) {
	t.o.metrics.add(t.o.metrics.beats, 1)
	if !d.beat.IsZero() {
		t.longest = max(t.longest, d.heard.Sub(d.beat))
	}
	d.beat = d.heard
	d.skipped = 0
	if d.beats++; d.beats == patientBeats {
		t.identify(d)
	}
	t.found(d)
}

// found reports what the tap did not see, once framing is found again.
func (t *tap) found(d *desktop) {
	if d.lost == nil {
		return
	}
	t.identify(d)
	lost := d.lost
	d.lost = nil
	t.o.intake.Session(d.origin, source.SessionChange{
		State: schema.Connected, At: d.heard,
		Cause: fmt.Sprintf("%d bytes that were passed on could not be looked at for pops", lost.bytes),
		Gap:   &schema.Gap{From: lost.from.UTC(), To: d.heard.UTC()},
	})
}

// maxSkipped bounds the dead letters of one loss of framing: a server that speaks
// another protocol must not fill the log.
const maxSkipped = 16 << 10

// skip keeps what was skipped while looking for the next heartbeat.
func (t *tap) skip(d *desktop, data []byte) {
	if d.skipped < maxSkipped {
		detail := "framing was lost: these bytes were skipped on the way to the next TRY_REQ"
		if d.skipped+len(data) >= maxSkipped {
			detail += "; what follows until then is not kept"
		}
		t.o.intake.DeadLetter(d.origin, d.heard, data, schema.ReasonLostFraming, detail)
	}
	d.skipped += len(data)
}

// rise counts the session as live once the server was heard and its agent is known.
func (t *tap) rise(d *desktop) {
	if d.up || d.origin == nil || d.heard.IsZero() {
		return
	}
	d.up = true
	t.up.Add(1)
	gap, before, report := t.agents.rise(d.origin.Agent, d.risen)
	if !report {
		return
	}
	level := slog.LevelDebug
	switch before {
	case schema.Failed, schema.Expired, schema.Reconnecting:
		level = slog.LevelInfo // what was logged as trouble is over
	}
	t.report(d, level, source.SessionChange{State: schema.Connected, At: d.risen, Gap: gap})
}

// fall ends what rise began.
func (t *tap) fall(d *desktop, at time.Time, to schema.SessionState, cause string) {
	d.up = false
	d.risen, d.beat = time.Time{}, time.Time{}
	t.up.Add(-1)
	if t.agents.fall(d.origin.Agent, to, d.heard) {
		t.report(d, troubleLevel(to), source.SessionChange{State: to, At: at, Cause: cause})
	}
}

// neverHeard reports, where it is news, that the server said nothing.
func (t *tap) neverHeard(d *desktop, at time.Time, cause string) {
	if hasSpoken(d.said) {
		t.identify(d)
	}
	if d.origin != nil && !d.silent && t.agents.fail(d.origin.Agent) {
		t.report(d, slog.LevelWarn, source.SessionChange{State: schema.Failed, At: at, Cause: cause})
	}
	d.silent = true
}

func troubleLevel(state schema.SessionState) slog.Level {
	if state == schema.Closed {
		return slog.LevelDebug // desktops come and go
	}
	return slog.LevelWarn
}

func (t *tap) report(d *desktop, level slog.Level, change source.SessionChange) {
	t.o.log.Log(context.Background(), level, "session "+string(change.State),
		"server", d.origin.Server, "agent", d.origin.Agent, "client", d.address, "cause", change.Cause)
	t.o.intake.Session(d.origin, change)
}

// end takes the end of a connection.
func (t *tap) end(d *desktop, at time.Time, e ending) {
	delete(t.live, d)
	if d.over {
		return
	}
	d.over = true
	pending := d.decoder.Pending()
	v := classify(e, !d.heard.IsZero(), pending)
	t.o.metrics.addFor(t.o.metrics.ends, v.reason)
	if d.heard.IsZero() {
		if e.by != connector {
			t.neverHeard(d, at, v.cause)
		}
		return
	}
	if pending > 0 || d.lost != nil {
		t.identify(d)
	}
	if d.origin == nil && hasSpoken(d.said) {
		t.identify(d)
	}
	up := d.up
	if up {
		// Also where what follows has a bug the session is over.
		defer t.fall(d, at, v.state, v.cause)
	}
	if pending > 0 {
		t.o.intake.DeadLetter(d.origin, d.heard, d.decoder.Rest(), schema.ReasonCutFrame,
			"the connection ended inside this frame: its first byte says how long it should be")
	}
	t.found(d)
}

// sweep looks for sessions whose server has fallen silent, now and then. Their
// connections are left alone: it is the desktop that gives up.
func (t *tap) sweep(now time.Time) {
	expiry := source.Expiry(t.o.expireAfter, t.longest)
	for d := range t.live {
		if d.origin == nil && hasSpoken(d.said) && !d.heard.IsZero() && now.Sub(d.risen) > checkInterval {
			t.identify(d) // nothing more came to decide it by
		}
		switch {
		case expiry == 0:
		case d.up && now.Sub(d.heard) > expiry:
			t.fall(d, now, schema.Expired, fmt.Sprintf("no heartbeat for %v", expiry))
		case d.heard.IsZero() && !d.silent && now.Sub(d.opened) > expiry:
			t.neverHeard(d, now, fmt.Sprintf("accepted, but nothing was heard for %v", expiry))
		}
	}
}
