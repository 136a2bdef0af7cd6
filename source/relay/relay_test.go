package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/lqsim"
)

// startServer runs a simulator until the test ends.
func startServer(t testing.TB, o lqsim.Options) *lqsim.Server {
	t.Helper()
	server, err := lqsim.New(o)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = server.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	return server
}

// register connects a desktop and registers it, as an unmodified client does.
func register(t testing.TB, address, agent string) *net.TCPConn {
	t.Helper()
	conn := connect(t, address)
	write(t, conn, "op="+agent+",ch=-1;")
	return conn
}

// answer reads pops and answers heartbeats until the connection ends; then it
// closes it.
func answer(t testing.TB, conn *net.TCPConn, pops chan<- string) {
	var answering sync.WaitGroup
	answering.Go(func() {
		defer func() { _ = conn.Close() }()
		var decoder frame.Decoder
		for {
			n, err := conn.Read(decoder.Buffer())
			decoder.Wrote(n)
			for f, ok := decoder.Next(); ok; f, ok = decoder.Next() {
				switch f.Kind {
				case frame.Heartbeat:
					_, _ = io.WriteString(conn, frame.Reply)
				case frame.Pop:
					pops <- string(f.Data)
				}
			}
			if err != nil {
				return
			}
		}
	})
	t.Cleanup(func() { _ = conn.Close(); answering.Wait() })
}

// turnedAway says how a connection over which said is sent ends; the end may come
// before the connection is seen to stand.
func turnedAway(address, said string) string {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return kind(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, said); err != nil {
		return kind(err)
	}
	return end(conn)
}

func popOf(agent string, sn int) string {
	return fmt.Sprintf("H=t1v5,ch=2,ph=86307627,ty=1,tm=080711175931,op=%s,sn=%d,dm=1;2;", agent, sn)
}

func TestDesktopsRegisterAnswerHeartbeatsAndTheirPopsAreTapped(t *testing.T) {
	server := startServer(t, lqsim.Options{Heartbeat: 20 * time.Millisecond})
	r := newRig(t, server.Addr().String(), rigOptions{})
	pops := make(chan string, 100)
	// Many desktops behind one address.
	for _, agent := range []string{"801", "802", "803"} {
		answer(t, register(t, r.address(), agent), pops)
	}
	must(t, server.WaitSessions(within(t), 3))
	for i := range 10 {
		must(t, server.Send("801", []byte(popOf("801", i+1))))
	}
	for i := range 10 {
		if got, want := <-pops, popOf("801", i+1); got != want {
			t.Fatalf("the desktop got %q, want %q", got, want)
		}
	}
	seen := map[string]bool{}
	for _, e := range r.await("pops", 10, isType(schema.TypeCallPop)) {
		p := decode[schema.CallPop](t, e)
		seen[p.Raw] = true
		if p.Agent.ID != "801" || p.Customer.E164 != "+862586307627" || p.Server != "hq" ||
			p.Source != (schema.Source{Type: "relay", Name: "desktops"}) {
			t.Errorf("pop %s", e.Body)
		}
	}
	if len(seen) != 10 {
		t.Errorf("%d different pops, want 10", len(seen))
	}
	for _, agent := range []string{"801", "802", "803"} {
		e := r.await("connected "+agent, 1, isState(agent, schema.Connected))[0]
		if c := decode[schema.SessionChanged](t, e); c.Gap != nil || c.Source.Type != "relay" {
			t.Errorf("%s came as %s", agent, e.Body)
		}
	}
	must(t, server.Wait(within(t), func(t lqsim.Totals) bool { return t.Replies >= 20 }))
	if totals := server.Totals(); totals.Stray != 0 {
		t.Errorf("the server saw bytes that are no answer: %+v", totals)
	}
	if got := r.source.Status(); got.Wanted != 3 || got.Up != 3 || got.Type != "relay" || got.Name != "desktops" || got.Server != "hq" {
		t.Errorf("status %+v, want 3 desktops, all up", got)
	}
	eventually(t, "the heartbeats are counted", func() bool { return r.counter(t, "callpop.relay.heartbeats", "") >= 20 })
}

func TestAPopWithoutItsAgentIsTheRegisteredAgentsElseTheAddresss(t *testing.T) {
	const bare = "2,02586307627,1000,1208674344953,NA"
	server := newPlainServer(t)
	for _, c := range []struct {
		name, pattern, said, agent, channel string
	}{
		{"text", "", "op=801,ch=12;", "801", ""},
		{"a pattern with the channel", `op=(?P<agent>\d+),ch=(?P<channel>[^;]+)`, "op=801,ch=12;", "801", "12"},
		{"a channel that the server finds", `op=(?P<agent>\d+),ch=(?P<channel>[^;]+)`, "op=801,ch=-1;", "801", ""},
		{"lines", `USER (?P<agent>\S+)\r\n`, "HELLO\r\nUSER 801\r\n", "801", ""},
		{"binary with NUL", `\x00(?P<agent>\d+)\x00`, "\x02\x00801\x00\xff", "801", ""},
		{"a GBK name", `name=(?P<agent>[^;]+);`, "name=\xd5\xc5\xc8\xfd;", "张三", ""},
		{"nothing that fits", "", "LOGIN 801\r\n", "127.0.0.1", ""},
		{"an agent with control characters", "", "op=8\x1b[1m01;", "127.0.0.1", ""},
		{"an agent without end", "", "op=" + strings.Repeat("8", 500), "127.0.0.1", ""},
		{"an agent beyond the first KiB", "", strings.Repeat("x", maxSaid-5) + "op=801;", "80", ""},
		{"nothing at all", "", "", "127.0.0.1", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, server.address(), rigOptions{config: func(config *Config) {
				if c.pattern != "" {
					config.AgentPattern = c.pattern
				}
			}})
			client := connect(t, r.address())
			accepted := server.next(t)
			write(t, client, c.said)
			wantRead(t, accepted, c.said)
			write(t, accepted, string(rune(len(bare)))+bare)
			p := decode[schema.CallPop](t, r.await("pops", 1, isType(schema.TypeCallPop))[0])
			if p.Agent != (schema.Agent{ID: c.agent, Channel: c.channel}) {
				t.Errorf("agent %+v, want %q, channel %q", p.Agent, c.agent, c.channel)
			}
			if p.Raw != bare {
				t.Errorf("raw %q", p.Raw)
			}
			r.await("connected", 1, isState(c.agent, schema.Connected))
		})
	}
}

func TestARegistrationThatComesAfterTheFirstHeartbeatStillCounts(t *testing.T) {
	server := newPlainServer(t)
	r := newRig(t, server.address(), rigOptions{})
	client := connect(t, r.address())
	accepted := server.next(t)
	write(t, accepted, frame.Request)
	wantRead(t, client, frame.Request)
	write(t, client, frame.Reply)
	wantRead(t, accepted, frame.Reply)
	for _, piece := range []string{"o", "p=8", "01;"} { // a registration may be split
		write(t, client, piece)
		wantRead(t, accepted, piece)
	}
	write(t, accepted, frame.Request)
	r.await("connected", 1, isState("801", schema.Connected))
	// One that only ever answers goes by its address in the end.
	other := connect(t, r.address())
	accepted = server.next(t)
	for range patientBeats {
		write(t, accepted, frame.Request)
		wantRead(t, other, frame.Request)
		write(t, other, frame.Reply)
		wantRead(t, accepted, frame.Reply)
	}
	r.await("connected", 1, isState("127.0.0.1", schema.Connected))
}

func TestGarbageCostsDeadLettersAndNeverTheConnection(t *testing.T) {
	server := startServer(t, lqsim.Options{Heartbeat: lqsim.Never})
	r := newRig(t, server.Addr().String(), rigOptions{})
	conn := register(t, r.address(), "801")
	must(t, server.WaitSessions(within(t), 1))
	garbage := "\x05hello" + frame.Request + "\x05hello\x05world\xffand so on" + frame.Request + "\x00"
	must(t, server.SendBytes("801", []byte(garbage)))
	must(t, server.Send("801", []byte(popOf("801", 7))))
	wantRead(t, conn, garbage+string(rune(len(popOf("801", 7))))+popOf("801", 7))
	r.await("pops", 1, isType(schema.TypeCallPop))
	var kept strings.Builder
	for _, e := range r.await("dead letters", 3, isType(schema.TypeDeadLetter)) {
		letter := decode[schema.DeadLetter](t, e)
		if letter.Agent != "801" || letter.Server != "hq" || letter.Source.Type != "relay" {
			t.Errorf("letter %s", e.Body)
		}
		kept.WriteString(letter.Raw)
	}
	if got := kept.String(); !strings.HasPrefix(got, "hellohello") || !strings.Contains(got, "and so on") {
		t.Errorf("dead letters hold %q", got)
	}
	if got := r.counter(t, "callpop.session.empty_pops", ""); got != 1 {
		t.Errorf("%d empty pops, want 1", got)
	}
}

func TestEachEndIsReportedWithItsCauseAndTheNextSessionWithItsGap(t *testing.T) {
	for _, c := range []struct {
		name  string
		end   func(t *testing.T, client, server *net.TCPConn)
		state schema.SessionState
		cause string
		label string
	}{
		{"server closes", func(t *testing.T, _, s *net.TCPConn) { must(t, s.Close()) },
			schema.Reconnecting, "closed by the server", "closed_by_server"},
		{"server closes inside a frame", func(t *testing.T, _, s *net.TCPConn) { write(t, s, "\x20H=t1v3"); must(t, s.Close()) },
			schema.Reconnecting, "closed by the server inside a frame, 7 bytes of it received", "closed_in_frame"},
		{"server resets", func(_ *testing.T, _, s *net.TCPConn) { reset(s) },
			schema.Reconnecting, "reset by the server", "reset"},
		{"desktop closes", func(t *testing.T, c, s *net.TCPConn) { must(t, c.Close()); _ = end(s); must(t, s.Close()) },
			schema.Closed, "closed by the desktop", "closed_by_desktop"},
		{"desktop resets", func(_ *testing.T, c, _ *net.TCPConn) { reset(c) },
			schema.Closed, "reset by the desktop", "reset_by_desktop"},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := newPlainServer(t)
			r := newRig(t, server.address(), rigOptions{})
			up := func() (client, accepted *net.TCPConn) {
				client = register(t, r.address(), "801")
				accepted = server.next(t)
				wantRead(t, accepted, "op=801,ch=-1;")
				write(t, accepted, frame.Request)
				wantRead(t, client, frame.Request)
				return client, accepted
			}
			client, accepted := up()
			c.end(t, client, accepted)
			r.await("ends", 1, isState("801", c.state))
			up()
			r.await("connected again", 2, isState("801", schema.Connected))
			all := r.changes("801")
			if len(all) != 3 || all[1].State != c.state || all[1].Cause != c.cause {
				t.Fatalf("got %+v", all)
			}
			if gap := all[2].Gap; gap == nil || gap.From.Before(all[0].At) || !gap.To.Equal(all[2].At) || gap.From.After(all[1].At) {
				t.Errorf("gap %+v after %+v", all[2].Gap, all[:2])
			}
			if got := r.counter(t, "callpop.session.ends", c.label); got != 1 {
				t.Errorf("%d ends counted as %s, want 1", got, c.label)
			}
			if c.label == "closed_in_frame" {
				letter := decode[schema.DeadLetter](t, r.await("dead letters", 1, isType(schema.TypeDeadLetter))[0])
				if letter.Reason != schema.ReasonCutFrame || letter.Raw != " H=t1v3" {
					t.Errorf("letter %+v", letter)
				}
			}
		})
	}
}

func TestOfTwoConnectionsOfAnAgentTheFirstUpAndTheLastDownAreReported(t *testing.T) {
	server := startServer(t, lqsim.Options{})
	r := newRig(t, server.Addr().String(), rigOptions{})
	first := register(t, r.address(), "801")
	wantRead(t, first, frame.Request)
	second := register(t, r.address(), "801")
	wantRead(t, second, frame.Request)
	eventually(t, "both are up", func() bool { return r.source.Status().Up == 2 })
	must(t, first.Close())
	eventually(t, "one is up", func() bool { return r.source.Status().Up == 1 })
	must(t, second.Close())
	r.await("closed", 1, isState("801", schema.Closed))
	if got := r.changes("801"); len(got) != 2 || got[0].State != schema.Connected {
		t.Errorf("got %+v, want connected and closed alone", got)
	}
}

func TestASilentServerIsReportedAndTheDesktopLeftAlone(t *testing.T) {
	server := newPlainServer(t)
	r := newRig(t, server.address(), rigOptions{config: func(c *Config) { c.ExpireAfter = time.Second }})
	heard := register(t, r.address(), "801")
	atHeard := server.next(t)
	write(t, atHeard, frame.Request)
	wantRead(t, heard, frame.Request)
	register(t, r.address(), "802") // accepted, and never answered
	atMute := server.next(t)
	r.await("expired", 1, isState("801", schema.Expired))
	failed := r.await("failed", 1, isState("802", schema.Failed))
	if c := decode[schema.SessionChanged](t, failed[0]); !strings.Contains(c.Cause, "nothing was heard for 1s") {
		t.Errorf("cause %q", c.Cause)
	}
	if got := r.source.Status(); got.Up != 0 || got.Wanted != 2 {
		t.Errorf("status %+v, want both connected and none up", got)
	}
	// Both are still relayed, and count as up as soon as the server is heard.
	write(t, heard, "still here")
	wantRead(t, atHeard, "op=801,ch=-1;still here")
	write(t, atHeard, frame.Request)
	write(t, atMute, frame.Request)
	r.await("connected again", 2, isState("801", schema.Connected))
	r.await("connected at last", 1, isState("802", schema.Connected))
	if again := r.changes("801"); again[2].Gap == nil {
		t.Errorf("no gap in %+v", again[2])
	}
}

func TestAServerThatRefusesResetsTheDesktopAndIsReportedOnce(t *testing.T) {
	server := startServer(t, lqsim.Options{})
	r := newRig(t, server.Addr().String(), rigOptions{})
	must(t, server.Refuse(true))
	for range 3 {
		if got := turnedAway(r.address(), "op=801,ch=-1;"); got != "reset" {
			t.Errorf("the desktop's connection ended with %q, want a reset", got)
		}
	}
	// One that says nothing is refused all the same.
	if got := turnedAway(r.address(), ""); got != "reset" {
		t.Errorf("the silent desktop's connection ended with %q, want a reset", got)
	}
	must(t, server.Refuse(false))
	wantRead(t, register(t, r.address(), "801"), frame.Request)
	r.await("connected", 1, isState("801", schema.Connected))
	all := r.changes("801")
	if len(all) != 2 || all[0].State != schema.Failed || !strings.Contains(all[0].Cause, "refused") {
		t.Errorf("got %+v, want failed once, then connected", all)
	}
	if got := r.counter(t, "callpop.session.ends", "refused"); got != 4 {
		t.Errorf("%d dials counted as refused, want 4", got)
	}
	logs := r.logs.String()
	if strings.Count(logs, "cannot be reached") != 1 || strings.Count(logs, "can be reached") != 1 {
		t.Errorf("want one line when it goes and one when it comes back:\n%s", logs)
	}
	eventually(t, "the places of the refused are free", func() bool { return r.source.Status().Wanted == 1 })
}

func TestLimitsAndTheAllowListTurnDesktopsAway(t *testing.T) {
	for reason, change := range map[string]func(*Config){
		refusedByMax:        func(c *Config) { c.MaxClients = 2 },
		refusedByPerAddress: func(c *Config) { c.MaxClientsPerAddress = 2 },
		refusedByAllow:      func(c *Config) { c.Allow = []string{"10.0.0.0/8", "192.0.2.7", "2001:db8::/32"} },
	} {
		t.Run(reason, func(t *testing.T) {
			server := startServer(t, lqsim.Options{})
			r := newRig(t, server.Addr().String(), rigOptions{config: change})
			var inside []*net.TCPConn
			if reason != refusedByAllow {
				for i := range 2 {
					inside = append(inside, register(t, r.address(), fmt.Sprint(801+i)))
					wantRead(t, inside[i], frame.Request)
				}
			}
			for range 3 {
				if got := turnedAway(r.address(), ""); got != "reset" {
					t.Errorf("one too many ended with %q, want a reset", got)
				}
			}
			if got := r.counter(t, "callpop.relay.refused", reason); got != 3 {
				t.Errorf("%d refusals counted for %s, want 3", got, reason)
			}
			if got := strings.Count(r.logs.String(), "turned away"); got != 1 {
				t.Errorf("%d lines logged, want 1:\n%s", got, r.logs)
			}
			if reason == refusedByAllow {
				return
			}
			// A place that becomes free is given away again.
			must(t, inside[0].Close())
			eventually(t, "the place is free", func() bool { return r.source.Status().Wanted == 1 })
			wantRead(t, register(t, r.address(), "803"), frame.Request)
		})
	}
}

func TestTheAllowListLetsItsNetworksIn(t *testing.T) {
	prefixes, err := source.ParseAllow([]string{"10.1.0.0/16", "192.0.2.7", "2001:db8::/32", "::ffff:198.51.100.9"})
	must(t, err)
	d := door{allow: prefixes}
	for address, want := range map[string]bool{
		"10.1.2.3": true, "10.2.2.3": false, "192.0.2.7": true, "192.0.2.8": false,
		"2001:db8::1": true, "2001:db9::1": false, "198.51.100.9": true, "198.51.100.8": false,
		"2001:db8::1%eth0": true,
	} {
		if got := d.allows(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is let in: %t, want %t", address, got, want)
		}
	}
}

func TestAPortInUseIsAnErrorAtTheStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { _ = taken.Close() }()
	c := testConfig("10.0.0.6:7628")
	c.Listen = taken.Addr().String()
	_, err = New(c, Options{Logger: slog.New(slog.DiscardHandler)})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "listen for desktops on "+c.Listen) {
		t.Errorf("got %v, want the address in use, by name", err)
	}
}

func TestARelayThatWouldDialItselfIsRefused(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := free.Addr().String()
	must(t, free.Close())
	_, port, _ := net.SplitHostPort(address)
	own := []net.Addr{&net.IPNet{IP: net.IPv4(10, 0, 0, 9), Mask: net.CIDRMask(24, 32)}}
	for _, c := range []struct {
		listening, address string
		want               bool
	}{
		{"127.0.0.1:" + port, "127.0.0.1:" + port, true},
		{"127.0.0.1:" + port, "localhost:" + port, true},
		{"0.0.0.0:" + port, "127.0.0.1:" + port, true},
		{"[::]:" + port, "127.0.0.1:" + port, true},
		{"[::]:" + port, "10.0.0.9:" + port, true},
		{"[::]:" + port, "10.0.0.8:" + port, false},
		{"10.0.0.9:" + port, "127.0.0.1:" + port, false},
		{"127.0.0.1:1", "127.0.0.1:2", false},
		{"[::]:" + port, "lq.example:" + port, false},
	} {
		config := testConfig(c.address)
		if got := config.dialsItself(netip.MustParseAddrPort(c.listening), own); got != c.want {
			t.Errorf("listening on %s, dialling %s: got %t, want %t", c.listening, c.address, got, c.want)
		}
	}
	config := testConfig(address)
	config.Listen = address
	if _, err := New(config, Options{Logger: slog.New(slog.DiscardHandler)}); !errors.Is(err, errDialsItself) {
		t.Errorf("got %v, want it refused", err)
	}
}

func TestASourceThatNeverRunsGivesItsPortBack(t *testing.T) {
	s, err := New(testConfig("10.0.0.6:7628"), Options{Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	must(t, s.Close())
	must(t, s.Close())
	again, err := net.Listen("tcp", s.Addr().String())
	must(t, err)
	_ = again.Close()
}

func TestAGivenListenerIsServed(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	s, err := New(testConfig("10.0.0.6:7628"), Options{Listener: listener, Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	if s.Addr() != listener.Addr() {
		t.Errorf("listens on %v, want %v", s.Addr(), listener.Addr())
	}
	must(t, s.Close())
	unix, err := net.Listen("unix", t.TempDir()+"/s")
	must(t, err)
	if _, err := New(testConfig("10.0.0.6:7628"), Options{Listener: unix, Logger: slog.New(slog.DiscardHandler)}); err == nil {
		t.Error("a listener that is not TCP was taken")
	}
}

func TestStoppingClosesTheDesktopsAndSaysSo(t *testing.T) {
	server := startServer(t, lqsim.Options{})
	r := newRig(t, server.Addr().String(), rigOptions{})
	conn := register(t, r.address(), "801")
	wantRead(t, conn, frame.Request)
	r.await("connected", 1, isState("801", schema.Connected))
	r.stop()
	<-r.stopped
	if got := end(conn); got != "EOF" {
		t.Errorf("the desktop's connection ended with %q, want EOF", got)
	}
	closed := r.await("closed", 1, isState("801", schema.Closed))
	if c := decode[schema.SessionChanged](t, closed[0]); c.Cause != "closed by the connector" {
		t.Errorf("cause %q", c.Cause)
	}
	must(t, server.Wait(within(t), func(t lqsim.Totals) bool { return t.Live == 0 }))
	if _, err := net.DialTimeout("tcp", r.address(), time.Second); err == nil {
		t.Error("the port is still served")
	}
}

func TestStoppingDoesNotWaitForADial(t *testing.T) {
	server := newPlainServer(t)
	dialling := make(chan struct{})
	r := newRig(t, server.address(), rigOptions{
		config: func(c *Config) { c.DialTimeout = time.Minute },
		source: func(s *Source) {
			s.dialer.ControlContext = func(ctx context.Context, _, _ string, _ syscall.RawConn) error {
				close(dialling)
				<-ctx.Done()
				return ctx.Err()
			}
		},
	})
	conn := connect(t, r.address())
	<-dialling
	r.stop()
	<-r.stopped
	if got := end(conn); got != "EOF" {
		t.Errorf("the desktop's connection ended with %q, want EOF", got)
	}
}

func TestAServerThatDoesNotAnswerADialIsGivenUpInTime(t *testing.T) {
	server := newPlainServer(t)
	r := newRig(t, server.address(), rigOptions{
		config: func(c *Config) { c.DialTimeout = 100 * time.Millisecond },
		source: func(s *Source) {
			s.dialer.ControlContext = func(ctx context.Context, _, _ string, _ syscall.RawConn) error {
				<-ctx.Done()
				return ctx.Err()
			}
		},
	})
	if got := turnedAway(r.address(), "op=801;"); got != "reset" {
		t.Errorf("the desktop's connection ended with %q, want a reset", got)
	}
	r.await("failed", 1, isState("801", schema.Failed))
	if got := r.counter(t, "callpop.session.ends", "timeout"); got != 1 {
		t.Errorf("%d dials counted as timed out, want 1", got)
	}
}

func TestASessionAfterTheConnectorsOwnAbsenceHasThatGap(t *testing.T) {
	server := startServer(t, lqsim.Options{})
	since := time.Now().Add(-time.Hour).UTC()
	r := newRig(t, server.Addr().String(), rigOptions{absences: aliveUntil(t, since)})
	register(t, r.address(), "801")
	c := decode[schema.SessionChanged](t, r.await("connected", 1, isState("801", schema.Connected))[0])
	if c.Gap == nil || !c.Gap.From.Equal(since) || !c.Gap.To.Equal(c.At) {
		t.Errorf("gap %+v, want from %v to %v", c.Gap, since, c.At)
	}
}

func TestAcceptErrorsAreOutlived(t *testing.T) {
	server := startServer(t, lqsim.Options{})
	failing := 3
	r := newRig(t, server.Addr().String(), rigOptions{source: func(s *Source) {
		accept := s.accept
		s.accept = func() (*net.TCPConn, error) {
			if failing > 0 {
				failing--
				return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
			}
			return accept()
		}
	}})
	wantRead(t, register(t, r.address(), "801"), frame.Request)
	logs := r.logs.String()
	if strings.Count(logs, "cannot be accepted") != 1 || strings.Count(logs, "accepted again") != 1 {
		t.Errorf("want a line at each change:\n%s", logs)
	}
}
