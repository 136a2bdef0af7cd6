package session

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/lqsim"
)

func TestMain(m *testing.M) {
	if os.Getenv(serverProcess) != "" {
		serveLQ()
		return
	}
	goleak.VerifyTestMain(m)
}

const patience = 30 * time.Second

// rig is a simulator, a source, and the log it stores to.
type rig struct {
	t      *testing.T
	sim    *lqsim.Server
	source *Source

	mu      sync.Mutex
	events  []schema.Event
	changed chan struct{}
	stop    context.CancelFunc
	stopped chan struct{}
}

func newRig(t *testing.T, options lqsim.Options, change func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, changed: make(chan struct{}), stopped: make(chan struct{})}
	sim, err := lqsim.New(options)
	if err != nil {
		t.Fatal(err)
	}
	r.sim = sim
	c := DefaultConfig()
	c.Name, c.Server, c.Address = "hq", "hq", sim.Addr().String()
	c.Agents = source.Roster{{ID: "801", Channel: source.FindChannel}, {ID: "802", Channel: "12"}}
	c.Registration, c.AreaCode = lqsim.DefaultRegistration, "025"
	c.ReconnectInterval, c.DialRate = 100*time.Millisecond, 1000
	if change != nil {
		change(&c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	in, err := source.NewIntake(source.IntakeOptions{Emit: r.emit, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	if r.source, err = New(c, Options{Intake: in, Logger: quiet}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	sourceCtx, stopSource := context.WithCancel(ctx)
	r.stop = stopSource
	var all, sources sync.WaitGroup
	all.Go(func() { _ = sim.Run(ctx) })
	all.Go(func() { _ = in.Run(ctx) })
	sources.Go(func() { _ = r.source.Run(sourceCtx) })
	go func() {
		sources.Wait()
		in.Close()
		close(r.stopped)
	}()
	t.Cleanup(func() { cancel(); all.Wait(); <-r.stopped })
	return r
}

func (r *rig) emit(_ context.Context, e schema.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	close(r.changed)
	r.changed = make(chan struct{})
	return nil
}

// await blocks until the log holds n events that match.
func (r *rig) await(what string, n int, match func(schema.Event) bool) []schema.Event {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		r.mu.Lock()
		var found []schema.Event
		for _, e := range r.events {
			if match(e) {
				found = append(found, e)
			}
		}
		changed := r.changed
		r.mu.Unlock()
		if len(found) >= n {
			return found
		}
		select {
		case <-changed:
		case <-deadline:
			r.t.Fatalf("%d of %d %s after %v", len(found), n, what, patience)
		}
	}
}

func (r *rig) ctx() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	r.t.Cleanup(cancel)
	return ctx
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) up(n int) {
	r.t.Helper()
	r.must(r.sim.WaitSessions(r.ctx(), n))
	r.await("sessions up", n, isState(schema.Connected))
}

func isState(state schema.SessionState) func(schema.Event) bool {
	return func(e schema.Event) bool {
		var c schema.SessionChanged
		return e.Type == schema.TypeSessionChanged && json.Unmarshal(e.Body, &c) == nil && c.State == state
	}
}

func isType(t schema.Type) func(schema.Event) bool {
	return func(e schema.Event) bool { return e.Type == t }
}

func decodePop(t *testing.T, e schema.Event) (p schema.CallPop) {
	t.Helper()
	if err := json.Unmarshal(e.Body, &p); err != nil {
		t.Fatal(err)
	}
	return p
}

func decodeLetter(t *testing.T, e schema.Event) (d schema.DeadLetter) {
	t.Helper()
	if err := json.Unmarshal(e.Body, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

func TestSessionsRegisterAnswerHeartbeatsAndTakePops(t *testing.T) {
	r := newRig(t, lqsim.Options{Heartbeat: 20 * time.Millisecond}, nil)
	r.up(2)
	session, ok := r.sim.Session("802")
	if !ok || session.Channel != "12" {
		t.Errorf("802 registered as %+v", session)
	}
	for i := range 10 {
		r.must(r.sim.Send("801", fmt.Appendf(nil, "H=t1v5,ch=2,ph=86307627,ty=1,tm=080711175931,op=801,sn=%d,dm=1;2;", i+1)))
	}
	for i, e := range r.await("pops", 10, isType(schema.TypeCallPop)) {
		p := decodePop(t, e)
		if p.Agent.ID != "801" || p.Customer.E164 != "+862586307627" || p.IVR.Keys != "1;2" || p.Source.Type != "session" {
			t.Errorf("pop %d: %s", i, e.Body)
		}
	}
	r.must(r.sim.Wait(r.ctx(), func(t lqsim.Totals) bool { return t.Replies >= 20 }))
	if totals := r.sim.Totals(); totals.Stray != 0 || totals.Replies > totals.Heartbeats {
		t.Errorf("the server saw %+v", totals)
	}
}

func TestAPopOfAnotherAgentsNumberNamesBoth(t *testing.T) {
	r := newRig(t, lqsim.Options{}, nil)
	r.up(2)
	r.must(r.sim.Send("801", []byte("H=t1v3,ch=2,ph=86307627,op=805,sn=7;")))
	p := decodePop(t, r.await("pops", 1, isType(schema.TypeCallPop))[0])
	if p.Agent.ID != "805" || p.Source.Agent != "801" {
		t.Errorf("agent %q over the socket of %q", p.Agent.ID, p.Source.Agent)
	}
}

func TestGarbageCostsADeadLetterAndNeverTheSession(t *testing.T) {
	r := newRig(t, lqsim.Options{Heartbeat: lqsim.Never}, nil)
	r.must(r.sim.WaitSessions(r.ctx(), 2))
	r.must(r.sim.Heartbeat("801"))
	before, _ := r.sim.Session("801")
	// A frame that is none of ours, then two running, which lose the framing.
	r.must(r.sim.SendBytes("801", []byte("\x05hello")))
	r.must(r.sim.Heartbeat("801"))
	r.must(r.sim.SendBytes("801", []byte("\x05hello\x05world\xffand so on")))
	r.must(r.sim.Heartbeat("801"))
	r.must(r.sim.SendBytes("801", []byte{0})) // an empty pop
	r.must(r.sim.Send("801", []byte("H=t1v3,ch=2,ph=86307627,op=801,sn=7;")))
	r.await("pops", 1, isType(schema.TypeCallPop))
	var kept strings.Builder
	for _, e := range r.await("dead letters", 3, isType(schema.TypeDeadLetter)) {
		letter := decodeLetter(t, e)
		if letter.Agent != "801" || letter.Server != "hq" || letter.Detail == "" {
			t.Errorf("letter %s", e.Body)
		}
		kept.WriteString(letter.Raw)
	}
	if got, want := kept.String(), "hellohello"; !strings.HasPrefix(got, want) || !strings.Contains(got, "and so on") {
		t.Errorf("dead letters hold %q", got)
	}
	r.must(r.sim.WaitAgent(r.ctx(), "801", func(a lqsim.Agent) bool { return a.Replies == 3 }))
	if after, ok := r.sim.Session("801"); !ok || after.Number != before.Number {
		t.Errorf("the socket was closed: %+v, then %+v", before, after)
	}
}

func TestASessionThatEndsInsideAFrameKeepsItsBytes(t *testing.T) {
	r := newRig(t, lqsim.Options{}, nil)
	r.up(2)
	r.must(r.sim.Cut("801", []byte("H=t1v3,ch=2,ph=86307627,op=801,sn=7;"), 20))
	letter := decodeLetter(t, r.await("dead letters", 1, isType(schema.TypeDeadLetter))[0])
	if letter.Reason != schema.ReasonCutFrame || !strings.Contains(letter.Raw, "H=t1v3,ch=2,ph=863") {
		t.Errorf("got %+v", letter)
	}
	r.must(r.sim.WaitAgent(r.ctx(), "801", func(a lqsim.Agent) bool { return a.Connects == 2 }))
}

func TestLostSessionsComeBackAndReportTheirGap(t *testing.T) {
	for name, end := range map[string]func(*lqsim.Server) error{
		"closed": func(s *lqsim.Server) error { return s.Close("801") },
		"reset":  func(s *lqsim.Server) error { return s.Reset("801") },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, lqsim.Options{Heartbeat: 20 * time.Millisecond}, nil)
			r.up(2)
			r.must(end(r.sim))
			r.await("reconnecting", 1, isState(schema.Reconnecting))
			again := r.await("sessions up", 3, isState(schema.Connected))[2]
			var c schema.SessionChanged
			r.must(json.Unmarshal(again.Body, &c))
			if c.Agent != "801" || c.Gap == nil || !c.Gap.To.After(c.Gap.From) {
				t.Errorf("back as %s", again.Body)
			}
			if a, _ := r.sim.Agent("802"); a.Connects != 1 {
				t.Errorf("802 connected %d times, nobody touched it", a.Connects)
			}
		})
	}
}

func TestASilentServerExpiresAndAMuteOneFails(t *testing.T) {
	t.Run("silent after it was heard", func(t *testing.T) {
		r := newRig(t, lqsim.Options{Heartbeat: 50 * time.Millisecond}, func(c *Config) { c.ExpireAfter = time.Second })
		r.up(2)
		r.must(r.sim.HalfOpen("801"))
		r.await("expired", 1, isState(schema.Expired))
	})
	t.Run("accepts and says nothing", func(t *testing.T) {
		r := newRig(t, lqsim.Options{Heartbeat: lqsim.Never}, func(c *Config) { c.ExpireAfter = time.Second })
		r.await("failed", 2, isState(schema.Failed))
		if got := r.source.Status().Up; got != 0 {
			t.Errorf("%d sessions count as up, none was heard", got)
		}
	})
}

func TestARefusingServerFailsOnceAndIsTriedAgain(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	r := newRig(t, lqsim.Options{Listener: listener}, func(c *Config) { c.Address = address })
	r.up(2)
	r.must(r.sim.Refuse(true))
	r.must(r.sim.Close("801"))
	r.await("reconnecting", 1, isState(schema.Reconnecting))
	r.must(r.sim.Refuse(false))
	r.await("sessions up", 3, isState(schema.Connected))
}

func TestStoppingClosesTheSessionsAndSaysSo(t *testing.T) {
	r := newRig(t, lqsim.Options{}, nil)
	r.up(2)
	r.stop()
	<-r.stopped
	r.await("closed", 2, isState(schema.Closed))
	r.must(r.sim.Wait(r.ctx(), func(t lqsim.Totals) bool { return t.Live == 0 }))
}

func TestTheEightyFourBytePopAndEverySplitArriveWhole(t *testing.T) {
	r := newRig(t, lqsim.Options{}, nil)
	r.up(2)
	raw := "H=t1v5,ch=2,ph=013812345678,ty=1,tm=080711175931,op=801,sn=123456789,da=0,dm=1;2;3;"
	raw += strings.Repeat("4", 84-len(raw)-1) + ";"
	if len(raw) != 84 {
		t.Fatalf("%d bytes", len(raw))
	}
	wire, err := frame.AppendPop(nil, []byte(raw))
	r.must(err)
	wire = slices.Concat([]byte(frame.Request), wire, []byte(frame.Request))
	for i := 1; i < len(wire); i++ {
		r.must(r.sim.SendBytes("801", wire[:i]))
		r.must(r.sim.SendBytes("801", wire[i:]))
	}
	for _, e := range r.await("pops", len(wire)-1, isType(schema.TypeCallPop)) {
		if p := decodePop(t, e); p.Raw != raw {
			t.Fatalf("got %q", p.Raw)
		}
	}
}

func TestAConfigurationSaysWhatIsWrong(t *testing.T) {
	for _, c := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Registration = "" }, "registration is missing"},
		{func(c *Config) { c.Registration = "" }, "connector capture"},
		{func(c *Config) { c.RegistrationHex = "00" }, "both set"},
		{func(c *Config) { c.Registration = "op={{.Agnt}}" }, "registration is"},
		{func(c *Config) { c.Address = "10.0.0.5" }, `address is "10.0.0.5": expected the LQ server's host and port`},
		{func(c *Config) { c.Charset = "latin1" }, `charset is "latin1"`},
		{func(c *Config) { c.Timezone = "Mars/Base" }, `timezone is "Mars/Base"`},
		{func(c *Config) { c.AreaCode = "x" }, `area_code is "x"`},
		{func(c *Config) { c.ExpireAfter = time.Millisecond }, "expire_after is 1ms"},
		{func(c *Config) { c.ReconnectInterval = 0 }, "reconnect_interval is 0s"},
		{func(c *Config) { c.DialRate = 0 }, "dial_rate is 0"},
		{func(c *Config) { c.Server = "a/b" }, `server is "a/b"`},
		{func(c *Config) { c.Name = "" }, `name is ""`},
	} {
		config := DefaultConfig()
		config.Name, config.Server, config.Address = "hq", "hq", "10.0.0.5:7628"
		config.Agents = source.Roster{{ID: "801"}}
		config.Registration = lqsim.DefaultRegistration
		if err := config.Validate(); err != nil {
			t.Fatalf("before the change: %v", err)
		}
		c.change(&config)
		if err := config.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}
