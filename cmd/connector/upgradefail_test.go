//go:build linux

package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/handover"
	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/source/lqsim"
)

// fakeSuccessor speaks the protocol as far as a test wants it to.
type fakeSuccessor struct {
	t     testing.TB
	dir   string
	line  *handover.Line
	spool *spool.Spool
}

func (i *installed) fake(dir string) *fakeSuccessor {
	i.t.Helper()
	conn, err := control.TakeOver(patient(i.t), dir)
	if err != nil {
		i.t.Fatal(err)
	}
	return &fakeSuccessor{t: i.t, dir: dir, line: handover.NewLine(conn)}
}

func (f *fakeSuccessor) say(kind string, body any) {
	f.t.Helper()
	if err := f.line.Send(kind, body); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fakeSuccessor) hello() {
	f.t.Helper()
	f.say(kindHello, helloBody{Protocol: handoverProtocol, Version: "fake", Sources: []helloSource{{"hq", "session"}, {"desktops", "relay"}}})
}

// hear receives until a message of a kind comes, and returns it. Events are stored in
// the spool, as far as it is open.
func (f *fakeSuccessor) hear(kind string) *handover.Message {
	f.t.Helper()
	for {
		m, err := f.line.Receive()
		if err != nil {
			f.t.Fatalf("wait for %s: %v", kind, err)
		}
		m.Discard()
		switch m.Kind {
		case kind:
			return m
		case kindFailed:
			f.t.Fatalf("wait for %s: %s", kind, m.Kind)
		case handover.KindEvent:
			var e handover.Event
			if err := m.Decode(&e); err != nil {
				f.t.Fatal(err)
			}
			if err := f.spool.Emit(patient(f.t), e.Event); err != nil {
				f.t.Fatal(err)
			}
			f.say(handover.KindStored, handover.Stored{Number: e.Number})
		case kindSource, kindAgents, kindDesktops:
			f.say(kindGot, emptyBody{})
		}
	}
}

func (f *fakeSuccessor) open() {
	f.t.Helper()
	var err error
	c := config.Default().Spool
	c.Dir, c.MinFree = f.dir, 0
	if f.spool, err = spool.Open(patient(f.t), spool.Options{Config: c, Successor: true}); err != nil {
		f.t.Fatal(err)
	}
}

// die lets go of everything, as a process that ends does.
func (f *fakeSuccessor) die() {
	f.t.Helper()
	if f.spool != nil {
		if err := f.spool.Close(patient(f.t)); err != nil {
			f.t.Error(err)
		}
	}
	if err := f.line.Close(); err != nil {
		f.t.Error(err)
	}
}

// deaths are how far a successor comes.
var deaths = []struct {
	name string
	live func(*fakeSuccessor)
}{
	{"before it says anything", func(*fakeSuccessor) {}},
	{"after it has said who it is", func(f *fakeSuccessor) { f.hello() }},
	{"when it may open the spool", func(f *fakeSuccessor) { f.hello(); f.hear(kindSpool) }},
	{"with the spool open", func(f *fakeSuccessor) { f.hello(); f.hear(kindSpool); f.open() }},
	{"having given up", func(f *fakeSuccessor) {
		f.hello()
		f.hear(kindSpool)
		f.say(kindFailed, reasonBody{"a port is in use"})
		f.hear0()
	}},
	{"having said that the spool is open", func(f *fakeSuccessor) { f.hello(); f.hear(kindSpool); f.open(); f.say(kindOpen, emptyBody{}) }},
	{"with events under way", func(f *fakeSuccessor) {
		f.hello()
		f.hear(kindSpool)
		f.open()
		f.t.Helper()
		time.Sleep(50 * time.Millisecond) // something is to wait in memory
		f.say(kindOpen, emptyBody{})
		for range 3 { // these are stored, and not said to be
			m, err := f.line.Receive()
			if err != nil {
				f.t.Fatal(err)
			}
			var e handover.Event
			if m.Kind != handover.KindEvent {
				return // there was no traffic just then
			}
			if err := errors.Join(m.Decode(&e), f.spool.Emit(patient(f.t), e.Event)); err != nil {
				f.t.Fatal(err)
			}
		}
	}},
	{"with the first sessions", func(f *fakeSuccessor) {
		f.hello()
		f.hear(kindSpool)
		f.open()
		f.say(kindOpen, emptyBody{})
		f.hear(kindAgents)
	}},
	{"with everything but its own word", func(f *fakeSuccessor) {
		f.hello()
		f.hear(kindSpool)
		f.open()
		f.say(kindOpen, emptyBody{})
		f.hear(kindWhole)
	}},
}

// hear0 receives to the end.
func (f *fakeSuccessor) hear0() {
	f.t.Helper()
	for {
		m, err := f.line.Receive()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			f.t.Fatal(err)
		}
		m.Discard()
	}
}

func TestWhenASuccessorDiesTheConnectorGoesOn(t *testing.T) {
	const sessions = 100
	lq := startSimulator(t, lqsim.Options{Heartbeat: 200 * time.Millisecond, MaxUnanswered: 150})
	listen := freeAddressFor(t, 5)
	broker := startNATS(t)
	i := install(t, fmt.Sprintf(`
sources:
  - {name: hq, type: session, server: hq, address: "{LQ}", agents: ["1001-%d"], registration: 'op={{.Agent}},ch={{.Channel}};', dial_rate: 10000}
  - {name: desktops, type: relay, server: hq, listen: %q, address: "{LQ}", allow_overlap: true}
sinks: [{name: events, type: nats, url: %q, create: true, start: all}]
spool: {dir: "{DIR}", min_free: 0}`, 1000+sessions, listen, broker.url()), lq)
	if err := lq.WaitSessions(patient(t), sessions); err != nil {
		t.Fatal(err)
	}
	agents := agentRange(sessions)
	for n := range 10 {
		agents = append(agents, fmt.Sprint(2001+n))
		connectDesktop(t, listen, agents[len(agents)-1])
	}
	if err := lq.WaitSessions(patient(t), len(agents)); err != nil {
		t.Fatal(err)
	}
	dir := i.spoolDir()
	stop := traffic(t, lq, agents, 500)
	for n, death := range deaths {
		t.Logf("it dies %s", death.name)
		f := i.fake(dir)
		death.live(f)
		f.die()
		i.eventually("the connector to go on", func() bool {
			text, _ := i.logged()
			return strings.Count(text, "this process goes on") == n+1 && i.ready()
		})
	}
	t.Log(i.upgrade())
	n := stop()
	sameAsSent(t, lq.Sent(), received(t, "nats://"+i.embedded, "CALLPOP", n))
	sameAsSent(t, lq.Sent(), received(t, broker.url(), "CALLPOP", n))
	totals := lq.Totals()
	if totals.Accepted != len(agents) || totals.Live != len(agents) {
		t.Errorf("the server has seen %d connections and has %d of %d: %+v", totals.Accepted, totals.Live, len(agents), lq.Ended())
	}
	i.quietSessions(2*sessions + 10)
}
