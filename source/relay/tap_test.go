package relay

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/pop"
)

// double takes what the tap hands on; its functions, where not nil, are called
// first.
type double struct {
	onPop func()

	mu      sync.Mutex
	pops    []string
	letters []string
	changes []source.SessionChange
	agents  []string // of changes
}

func (d *double) Pop(_ *source.Origin, _ time.Time, raw []byte) {
	if d.onPop != nil {
		d.onPop()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pops = append(d.pops, string(raw))
}

func (d *double) DeadLetter(_ *source.Origin, _ time.Time, raw []byte, _, _ string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.letters = append(d.letters, string(raw))
}

func (d *double) Session(o *source.Origin, change source.SessionChange) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changes = append(d.changes, change)
	d.agents = append(d.agents, o.Agent)
}

func (d *double) gaps() (found []source.SessionChange) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.changes {
		if strings.Contains(c.Cause, "could not be looked at") {
			found = append(found, c)
		}
	}
	return found
}

func (d *double) states() (all []schema.SessionState) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.changes {
		all = append(all, c.State)
	}
	return all
}

func (d *double) has(pop string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Contains(d.pops, pop)
}

// whose are the agents whose sessions changed, in order.
func (d *double) whose() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.agents)
}

// tapOn makes a tap alone, without a source.
func tapOn(t testing.TB, taker taker, change func(*tapOptions)) *tap {
	t.Helper()
	c := testConfig("10.0.0.6:7628")
	decoding, err := c.decoding()
	must(t, err)
	m, err := newMetrics(nil, &c)
	must(t, err)
	o := tapOptions{
		intake: taker, pattern: regexp.MustCompile(c.AgentPattern), metrics: m, log: slog.New(slog.DiscardHandler),
		origin:     &source.Origin{Type: "relay", Name: "desktops", Server: "hq", Decoding: decoding},
		maxClients: c.MaxClients, absences: source.NoAbsences(),
	}
	if change != nil {
		change(&o)
	}
	return newTap(o)
}

func newDesktop() *desktop { return &desktop{address: netip.MustParseAddr("192.0.2.7")} }

// endDesktop ends a desktop's connection, as its goroutine does.
func endDesktop(t *tap, d *desktop, at time.Time, by peer, err error) {
	d.note(by, err)
	t.ended(d, at)
}

// settle lets the tap handle what was pushed so far.
func settle(t *tap) {
	t.queue = t.take(t.queue)
}

// drain lets the tap handle all that was pushed.
func drain(t *tap) {
	t.close()
	t.run()
}

var at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func framed(t testing.TB, raw string) string {
	t.Helper()
	wire, err := frame.AppendPop(nil, []byte(raw))
	must(t, err)
	return string(wire)
}

func TestWhatTheTapCannotTakeIsCountedAndReportedAsAGap(t *testing.T) {
	release := make(chan struct{})
	stuck := make(chan struct{})
	var once sync.Once
	taker := &double{onPop: func() { once.Do(func() { close(stuck) }); <-release }}
	server := newPlainServer(t)
	r := newRig(t, server.address(), rigOptions{source: func(s *Source) { s.tap.o.intake = taker }})
	client := register(t, r.address(), "801")
	accepted := server.next(t)
	wantRead(t, accepted, "op=801,ch=-1;")
	write(t, accepted, framed(t, popOf("801", 1)))
	wantRead(t, client, framed(t, popOf("801", 1)))
	<-stuck

	// The tap stands still. Far more than it may hold goes through unhindered, both
	// ways, whole and in order.
	piece := strings.Repeat(framed(t, popOf("801", 2)), 200)
	var sending sync.WaitGroup
	for range 4 * tapDesktopBytes / len(piece) {
		sending.Go(func() { _, _ = io.WriteString(accepted, piece) })
		wantRead(t, client, piece)
		sending.Wait()
	}
	write(t, client, frame.Reply)
	wantRead(t, accepted, frame.Reply)
	// Another desktop comes up and ends meanwhile: it waits for the same tap, and
	// is not held up either.
	other := register(t, r.address(), "802")
	atOther := server.next(t)
	wantRead(t, atOther, "op=802,ch=-1;")
	write(t, atOther, frame.Request+framed(t, popOf("802", 1)))
	wantRead(t, other, frame.Request+framed(t, popOf("802", 1)))

	lost := r.counter(t, "callpop.relay.tap_dropped_bytes", "")
	if lost == 0 {
		t.Fatal("nothing was counted as lost")
	}
	close(release)
	eventually(t, "the other desktop's pop is there", func() bool { return taker.has(popOf("802", 1)) })
	// Framing is found again at the next heartbeat.
	write(t, accepted, framed(t, popOf("801", 3))+frame.Request+framed(t, popOf("801", 4)))
	eventually(t, "the pop behind the heartbeat is there", func() bool { return taker.has(popOf("801", 4)) })
	gaps := taker.gaps()
	if len(gaps) != 1 || gaps[0].State != schema.Connected || gaps[0].Gap == nil || !gaps[0].Gap.From.Before(gaps[0].Gap.To) {
		t.Errorf("got %+v, want one gap", gaps)
	}
	if taker.has(popOf("801", 3)) {
		t.Error("a pop between the loss and the heartbeat was taken for framed")
	}
}

func TestABugInTheTapCostsWhatItWasHandlingAndIsLoggedOnce(t *testing.T) {
	bugs := 0
	taker := &double{}
	taker.onPop = func() {
		if bugs++; bugs <= 3 {
			panic("a bug with 86307627 in it")
		}
	}
	server := newPlainServer(t)
	r := newRig(t, server.address(), rigOptions{source: func(s *Source) { s.tap.o.intake = taker }})
	client := register(t, r.address(), "801")
	accepted := server.next(t)
	wantRead(t, accepted, "op=801,ch=-1;")
	for i := range 4 {
		wire := frame.Request + framed(t, popOf("801", i+1)) + framed(t, popOf("801", 100+i))
		write(t, accepted, wire)
		wantRead(t, client, wire)
	}
	eventually(t, "the pops after the bugs are there", func() bool { return taker.has(popOf("801", 103)) })
	if got, want := taker.pops, []string{popOf("801", 4), popOf("801", 103)}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := len(taker.gaps()); got != 3 {
		t.Errorf("%d gaps, want one for each bug", got)
	}
	if got := r.counter(t, "callpop.relay.tap_panics", ""); got != 3 {
		t.Errorf("%d panics counted, want 3", got)
	}
	logs := r.logs.String()
	if strings.Count(logs, "a bug in the tap") != 1 {
		t.Errorf("want one line:\n%s", logs)
	}
	if strings.Contains(logs, "86307627") {
		t.Errorf("a customer's number is in the log:\n%s", logs)
	}
}

func TestABugWhileASessionEndsStillEndsIt(t *testing.T) {
	taker := &struct{ *double }{&double{}}
	tap := tapOn(t, panickingLetters{taker.double}, nil)
	d := newDesktop()
	tap.opened(d, at)
	tap.client(d, at, []byte("op=801;"))
	tap.server(d, at, []byte(frame.Request+"\x20H=cut"))
	endDesktop(tap, d, at, lqServer, io.EOF)
	drain(tap)
	if got, want := taker.states(), []schema.SessionState{schema.Connected, schema.Reconnecting}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if tap.up.Load() != 0 || len(tap.live) != 0 || tap.bytes != 0 {
		t.Errorf("%d up, %d live, %d bytes left", tap.up.Load(), len(tap.live), tap.bytes)
	}
}

type panickingLetters struct{ *double }

func (panickingLetters) DeadLetter(*source.Origin, time.Time, []byte, string, string) { panic("bug") }

func TestALossInsideAFrameKeepsItsBeginning(t *testing.T) {
	taker := &double{}
	tap := tapOn(t, taker, nil)
	d := newDesktop()
	tap.client(d, at, []byte("op=801;"))
	tap.server(d, at, []byte(frame.Request+"\x20H=t1v3,ch=2"))
	d.unseen = &loss{bytes: 21, from: at.Add(time.Second), to: at.Add(2 * time.Second)}
	tap.server(d, at.Add(3*time.Second), []byte("and so on"))
	tap.server(d, at.Add(4*time.Second), []byte(frame.Request+framed(t, "2,1")))
	drain(tap)
	if want := []string{" H=t1v3,ch=2", "and so on"}; !slices.Equal(taker.letters, want) {
		t.Errorf("dead letters %q, want %q", taker.letters, want)
	}
	if want := []string{"2,1"}; !slices.Equal(taker.pops, want) {
		t.Errorf("pops %q, want %q", taker.pops, want)
	}
	gaps := taker.gaps()
	if len(gaps) != 1 || !gaps[0].Gap.From.Equal(at.Add(time.Second)) || !gaps[0].Gap.To.Equal(at.Add(4*time.Second)) {
		t.Errorf("gaps %+v, want from the first byte lost to the heartbeat", gaps)
	}
}

func TestALossAtTheEndIsReportedBeforeTheEnd(t *testing.T) {
	taker := &double{}
	tap := tapOn(t, taker, nil)
	d := newDesktop()
	tap.client(d, at, []byte("op=801;"))
	tap.server(d, at, []byte(frame.Request))
	d.unseen = &loss{bytes: 9, from: at.Add(time.Second), to: at.Add(time.Second)}
	endDesktop(tap, d, at.Add(2*time.Second), client, io.EOF)
	drain(tap)
	want := []schema.SessionState{schema.Connected, schema.Connected, schema.Closed}
	if got := taker.states(); !slices.Equal(got, want) || len(taker.gaps()) != 1 {
		t.Errorf("got %v with %d gaps, want %v with one", got, len(taker.gaps()), want)
	}
}

func TestAConnectionThatSaidNothingIsNobodys(t *testing.T) {
	for name, events := range map[string]func(*tap, *desktop){
		"a port scan": func(tap *tap, d *desktop) {
			tap.opened(d, at)
			endDesktop(tap, d, at, client, io.EOF)
		},
		"greeted by the server": func(tap *tap, d *desktop) {
			tap.opened(d, at)
			tap.server(d, at, []byte(frame.Request))
			tap.client(d, at, []byte(frame.Reply))
			endDesktop(tap, d, at, client, io.EOF)
		},
		"never dialled": func(tap *tap, d *desktop) {
			endDesktop(tap, d, at, dial, errors.New("connection refused"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			taker := &double{}
			tap := tapOn(t, taker, nil)
			events(tap, newDesktop())
			drain(tap)
			if len(taker.changes) != 0 {
				t.Errorf("got %+v, want no session events", taker.changes)
			}
		})
	}
}

func TestSilenceIsJudgedByTheLongestHeartbeatInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taker := &double{}
		tap := tapOn(t, taker, func(o *tapOptions) { o.expireAfter = 30 * time.Second })
		var running sync.WaitGroup
		running.Go(tap.run)
		d := newDesktop()
		tap.opened(d, time.Now())
		tap.client(d, at, []byte("op=801;"))
		beat := func() { tap.server(d, time.Now(), []byte(frame.Request)) }
		beat()
		time.Sleep(20 * time.Second)
		beat() // three times 20 s is more than 30 s
		time.Sleep(50 * time.Second)
		synctest.Wait()
		if got := tap.up.Load(); got != 1 {
			t.Errorf("%d up after 50 s of silence, want 1", got)
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if got := tap.up.Load(); got != 0 {
			t.Errorf("%d up after 70 s of silence, want 0", got)
		}
		beat()
		synctest.Wait()
		want := []schema.SessionState{schema.Connected, schema.Expired, schema.Connected}
		if got := taker.states(); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		// The silence is no heartbeat interval, and the gap.
		if tap.longest != 20*time.Second {
			t.Errorf("longest interval %v, want 20s", tap.longest)
		}
		tap.close()
		running.Wait()
		if gap := taker.changes[2].Gap; gap == nil || gap.To.Sub(gap.From) != 70*time.Second {
			t.Errorf("gap %+v, want the 70 s", gap)
		}
	})
}

func TestARegistrationBehindTheFirstHeartbeatIsFoundOnAQuietLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		taker := &double{}
		tap := tapOn(t, taker, nil)
		var running sync.WaitGroup
		running.Go(tap.run)
		whole, open := newDesktop(), newDesktop()
		for d, said := range map[*desktop]string{whole: "op=801;", open: "op=802"} {
			tap.opened(d, time.Now())
			tap.server(d, time.Now(), []byte(frame.Request))
			tap.client(d, at, []byte(said))
		}
		synctest.Wait()
		if got := taker.whose(); !slices.Equal(got, []string{"801"}) {
			t.Errorf("up at once: %q, want 801, whose number ends", got)
		}
		time.Sleep(2 * checkInterval)
		synctest.Wait()
		if got := taker.whose(); !slices.Equal(got, []string{"801", "802"}) {
			t.Errorf("up later: %q, want 802 too", got)
		}
		tap.close()
		running.Wait()
	})
}

func TestAnAnswerShownBeforeWhatItAnswersIsNotTakenForTheRegistration(t *testing.T) {
	for name, said := range map[string]string{"the number is not whole": "op=8", "there is none yet": "o"} {
		t.Run(name, func(t *testing.T) {
			taker := &double{}
			tap := tapOn(t, taker, nil)
			d := newDesktop()
			// The heartbeat was read first, and shown last.
			tap.client(d, at.Add(time.Millisecond), []byte(frame.Reply+said))
			tap.server(d, at, []byte(frame.Request))
			tap.client(d, at.Add(2*time.Millisecond), []byte("op=801;"[len(said):]))
			drain(tap)
			if got := taker.whose(); !slices.Equal(got, []string{"801"}) {
				t.Errorf("sessions of %q, want 801's", got)
			}
		})
	}
}

func TestTheMemoryOfAgentsIsBounded(t *testing.T) {
	a := newAgents(10, aliveUntil(t, at), "desktops")
	a.max = 3
	if gap, _, report := a.rise("801", at.Add(time.Hour)); !report || gap == nil || !gap.From.Equal(at) {
		t.Errorf("801 rises with gap %+v, %t; want since the connector was down", gap, report)
	}
	for _, id := range []string{"802", "803", "804", "805"} {
		a.rise(id, at.Add(time.Hour))
		a.fall(id, schema.Closed, at.Add(2*time.Hour))
	}
	if len(a.known) != 3 || a.known["801"] == nil {
		t.Errorf("%d known, want 3 with the live one among them", len(a.known))
	}
	// Of one that may have been forgotten nothing is known.
	if gap, _, _ := a.rise("806", at.Add(3*time.Hour)); gap != nil {
		t.Errorf("gap %+v of an agent not known, want none", gap)
	}
}

func TestTheQueueIsBoundedInAllAndForADesktop(t *testing.T) {
	tap := tapOn(t, &double{}, nil)
	piece := bytes.Repeat([]byte{'x'}, 64<<10)
	one := newDesktop()
	for range 100 {
		tap.server(one, at, piece)
		tap.client(one, at, piece)
	}
	if one.waiting > tapDesktopBytes || one.waiting < tapDesktopBytes/2 || one.unseen == nil {
		t.Errorf("%d bytes wait, %+v unseen", one.waiting, one.unseen)
	}
	for range 100 {
		d := newDesktop()
		for range 10 {
			tap.server(d, at, piece)
		}
	}
	if tap.bytes > tapBytes || tap.bytes < tapBytes/2 {
		t.Errorf("%d bytes wait in all, want at most %d", tap.bytes, tapBytes)
	}
	// The end of a connection is always taken.
	endDesktop(tap, one, at, client, io.EOF)
	drain(tap)
	if tap.bytes != 0 || one.waiting != 0 || len(tap.live) != 0 {
		t.Errorf("left: %d bytes, %d of the first, %d live", tap.bytes, one.waiting, len(tap.live))
	}
}

// Invariants, for any bytes of either side, any pieces and any losses: nothing
// panics; what was taken and not lost is in a frame, a dead letter or a heartbeat,
// in order; and a heartbeat with a pop behind it is understood.
func FuzzTap(f *testing.F) {
	f.Add([]byte("op=801,ch=1;"), []byte("TRY_REQ\x032,1"), []byte{3, 200, 7})
	f.Add([]byte("\x00\xff"), []byte("\x05hello\x05worldTRY_REQ"), []byte{1})
	f.Add([]byte{}, bytes.Repeat([]byte("T"), 300), []byte{129, 255})
	f.Fuzz(func(t *testing.T, up, down, cuts []byte) {
		taker := &double{}
		panics := &strings.Builder{}
		tap := tapOn(t, taker, func(o *tapOptions) { o.log = slog.New(slog.NewTextHandler(panics, nil)) })
		d := newDesktop()
		tap.opened(d, at)
		now := at
		lossy := false
		for i := 0; len(up)+len(down) > 0; i++ {
			cut := byte(64)
			if len(cuts) > 0 {
				cut = cuts[i%len(cuts)]
			}
			now = now.Add(time.Millisecond)
			n := min(len(down), 1+int(cut&63))
			if cut >= 192 && n > 0 { // as push does where there is no room
				d.unseen = d.unseen.merge(&loss{n, now, now})
				lossy = true
			} else if n > 0 {
				tap.server(d, now, down[:n])
			}
			down = down[n:]
			n = min(len(up), 1+int(cut&63))
			tap.client(d, at, up[:n])
			up = up[n:]
			settle(tap) // or there would be no room for many small pieces
		}
		d.unseen = d.unseen.merge(&loss{1, now, now})
		tap.server(d, now, []byte(frame.Request+framed(t, "2,1")))
		endDesktop(tap, d, now, lqServer, io.EOF)
		drain(tap)
		if strings.Contains(panics.String(), "a bug in the tap") {
			t.Fatal(panics)
		}
		if len(taker.pops) == 0 || taker.pops[len(taker.pops)-1] != "2,1" {
			t.Errorf("the last pop is not there: %q", taker.pops)
		}
		if len(taker.gaps()) == 0 {
			t.Errorf("no gap reported (lossy: %t): %+v", lossy, taker.changes)
		}
		if name := d.origin.Agent; name == "" || len(name) > pop.MaxLength {
			t.Errorf("agent %q", name)
		}
		states := taker.states()
		if states[len(states)-1] != schema.Reconnecting {
			t.Errorf("states %v, want the end last", states)
		}
	})
}
