package lqsim

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callpop/connector/source/frame"
)

func TestRegistrationIsReadBackInAnySplit(t *testing.T) {
	server := start(t, Options{Heartbeat: Never})
	const message = "op=801,ch=12;"
	for at := 1; at < len(message); at++ {
		c := dial(t, server, message[:at])
		c.write(message[at:])
		if err := server.WaitAgent(within(t), "801", func(a Agent) bool { return a.Connects == at }); err != nil {
			t.Fatalf("split at %d: %v", at, err)
		}
		session, ok := server.Session("801")
		if !ok || session.Channel != "12" || session.Number != int64(at) {
			t.Fatalf("split at %d: got session %+v, want channel 12 and number %d", at, session, at)
		}
		if got, want := session.Remote.String(), c.conn.LocalAddr().String(); got != want {
			t.Errorf("split at %d: got remote %s, want %s", at, got, want)
		}
	}
}

func TestTemplatesAreReadBack(t *testing.T) {
	for _, test := range []struct {
		name           string
		opts           Options
		agent, channel string
	}{
		{"escapes", Options{Registration: `REG\x01{{.Agent}}\0{{.Channel}}\r\n`}, "801", "-1"},
		{"hex", Options{RegistrationHex: "52 45 47 {{.Agent}} 0a"}, "802", ""},
		{"no end but silence", Options{Registration: "{{.Agent}}"}, "803", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.opts.Heartbeat = Never
			server := start(t, test.opts)
			var message []byte
			if test.opts.RegistrationHex != "" {
				r, err := frame.ParseRegistrationHex(test.opts.RegistrationHex)
				if err != nil {
					t.Fatal(err)
				}
				message = r.Append(nil, test.agent, test.channel)
			} else {
				r, err := frame.ParseRegistration(test.opts.Registration)
				if err != nil {
					t.Fatal(err)
				}
				message = r.Append(nil, test.agent, test.channel)
			}
			dial(t, server, string(message))
			if err := server.WaitSessions(within(t), 1); err != nil {
				t.Fatal(err)
			}
			got := server.Sessions()[0]
			if got.Agent != test.agent || got.Channel != test.channel {
				t.Errorf("got agent %q channel %q, want %q %q", got.Agent, got.Channel, test.agent, test.channel)
			}
		})
	}
}

func TestClientsThatDoNotRegisterAreClosed(t *testing.T) {
	server := start(t, Options{Agents: []string{"801"}, RegisterTimeout: 50 * time.Millisecond})
	for _, test := range []struct {
		name, message string
		end           End
	}{
		{"other bytes", "GET / HTTP/1.1\r\n\r\n", EndUnregistered},
		{"half a registration", "op=80", EndUnregistered},
		{"nothing", "", EndUnregistered},
		{"an agent that is not known", "op=999,ch=-1;", EndRejected},
	} {
		t.Run(test.name, func(t *testing.T) {
			before := len(server.Ended())
			c := dial(t, server, test.message)
			if _, err := c.next(); err == nil {
				t.Fatal("got a frame, want the end")
			}
			err := server.wait(within(t), func() bool { return len(server.ended) > before })
			if err != nil {
				t.Fatal(err)
			}
			if got := server.Ended()[before].End; got != test.end {
				t.Errorf("got end %q, want %q", got, test.end)
			}
		})
	}
	if got := server.Totals(); got.Registered != 0 || got.Unregistered != 3 || got.Rejected != 1 || len(server.Agents()) != 0 {
		t.Errorf("got totals %+v, want 3 unregistered, 1 rejected, no session", got)
	}
	register(t, server, "801").wantHeartbeat()
}

func TestHeartbeatsAndRepliesAreBooked(t *testing.T) {
	server := start(t, Options{Heartbeat: 10 * time.Millisecond})
	c := register(t, server, "801")
	const rounds = 5
	for range rounds {
		c.wantHeartbeat()
		c.write("TRY_")
		c.write("REP")
	}
	err := server.WaitAgent(within(t), "801", func(a Agent) bool { return a.Replies >= 1 && a.Replies+a.Unanswered >= rounds })
	if err != nil {
		t.Fatal(err)
	}
	session, _ := server.Session("801")
	if session.SlowestReply <= 0 || session.Stray != 0 {
		t.Errorf("got slowest reply %s and %d stray bytes, want a time and none", session.SlowestReply, session.Stray)
	}

	// From here on the client says nothing.
	seen, _ := server.Agent("801")
	err = server.WaitAgent(within(t), "801", func(a Agent) bool { return a.Unanswered >= seen.Unanswered+3 })
	if err != nil {
		t.Fatal(err)
	}
	a, _ := server.Agent("801")
	if owed := a.Heartbeats - a.Replies - a.Unanswered; owed < 0 || owed > 1 {
		t.Errorf("got %+v: %d heartbeats neither answered nor given up, want at most the last", a, owed)
	}
}

func TestBytesThatAreNoReplyAreBooked(t *testing.T) {
	server := start(t, Options{Heartbeat: Never})
	c := register(t, server, "801")
	if err := server.Heartbeat("801"); err != nil {
		t.Fatal(err)
	}
	c.wantHeartbeat()
	c.write("xxTRY_RTTRY_REPTRY_REP")
	if err := server.Wait(within(t), func(t Totals) bool { return t.Replies == 1 && t.Unsolicited == 1 }); err != nil {
		t.Fatalf("got totals %+v, want one reply and one to nothing: %v", server.Totals(), err)
	}
	if got, want := server.Totals().Stray, len("xxTRY_RT"); got != want {
		t.Errorf("got %d stray bytes, want %d", got, want)
	}
}

func TestSessionsThatNeverAnswerAreClosedWhereAsked(t *testing.T) {
	server := start(t, Options{Heartbeat: time.Millisecond, MaxUnanswered: 3})
	register(t, server, "801").wantEnd(false)
	if err := server.Wait(within(t), func(t Totals) bool { return t.Ended == 1 }); err != nil {
		t.Fatal(err)
	}
	if a, _ := server.Agent("801"); a.LastEnd != EndUnanswered || a.Unanswered != 3 {
		t.Errorf("got %+v, want 3 unanswered and the end %q", a, EndUnanswered)
	}
}

func TestPopsGoToTheNewestSessionAlone(t *testing.T) {
	server := start(t, Options{Heartbeat: Never, Record: true})
	older := register(t, server, "801")
	newer := register(t, server, "801")
	other := register(t, server, "802")
	send(t, server, "801", "2,one")
	send(t, server, "802", "2,two")
	newer.wantPop("2,one")
	other.wantPop("2,two")

	_ = newer.conn.Close()
	if err := server.WaitAgent(within(t), "801", func(a Agent) bool { return a.Live == 1 }); err != nil {
		t.Fatal(err)
	}
	send(t, server, "801", "2,three")
	older.wantPop("2,three")

	a, _ := server.Agent("801")
	want := Agent{ID: "801", Live: 1, MostLive: 2, Connects: 2, Disconnects: 1, Pops: 2, LastEnd: EndClientClosed}
	if a != want {
		t.Errorf("got %+v, want %+v", a, want)
	}
	var got []string
	for i, sent := range server.Sent() {
		if sent.Sequence != uint64(i+1) || sent.At.IsZero() {
			t.Errorf("got sequence %d at %s, want %d and a time", sent.Sequence, sent.At, i+1)
		}
		got = append(got, fmt.Sprintf("%s/%d %s", sent.Agent, sent.Session, sent.Raw))
	}
	if want := []string{"801/2 2,one", "802/3 2,two", "801/1 2,three"}; !slices.Equal(got, want) {
		t.Errorf("got sent %q, want %q", got, want)
	}
}

func TestPopsGoToEverySessionWhereAsked(t *testing.T) {
	server := start(t, Options{Heartbeat: Never, Record: true, EverySession: true})
	older := register(t, server, "801")
	newer := register(t, server, "801")
	send(t, server, "801", "2,one")
	older.wantPop("2,one")
	newer.wantPop("2,one")
	_ = older.conn.Close()
	if err := server.WaitAgent(within(t), "801", func(a Agent) bool { return a.Live == 1 }); err != nil {
		t.Fatal(err)
	}
	send(t, server, "801", "2,two")
	newer.wantPop("2,two")
	_ = newer.conn.Close()
	if err := server.WaitAgent(within(t), "801", func(a Agent) bool { return a.Live == 0 }); err != nil {
		t.Fatal(err)
	}
	if err := server.Send("801", []byte("2,three")); !errors.Is(err, ErrNoSession) {
		t.Errorf("without a session: %v", err)
	}
	if a, _ := server.Agent("801"); a.Pops != 3 || a.Missed != 1 || len(server.Sent()) != 3 {
		t.Errorf("got %+v and %d sent, want 3 pops and 1 missed", a, len(server.Sent()))
	}
}

func send(t testing.TB, server *Server, agent, raw string) {
	t.Helper()
	if err := server.Send(agent, []byte(raw)); err != nil {
		t.Fatal(err)
	}
}

func TestPopsWithoutASessionAreMissedForGood(t *testing.T) {
	server := start(t, Options{Heartbeat: Never, Record: true})
	if err := server.Send("801", []byte("2,one")); !errors.Is(err, ErrNoSession) {
		t.Fatalf("got %v, want %v", err, ErrNoSession)
	}
	c := register(t, server, "801")
	send(t, server, "801", "2,two")
	c.wantPop("2,two")
	if a, _ := server.Agent("801"); a.Missed != 1 || a.Pops != 1 || server.Totals().Missed != 1 || len(server.Sent()) != 1 {
		t.Errorf("got %+v, want one missed and one sent", a)
	}
	if err := server.Send("801", make([]byte, 256)); err == nil || errors.Is(err, ErrNoSession) {
		t.Errorf("got %v, want an error for a pop of 256 bytes", err)
	}
}

func TestEveryPopSentArrivesInOrder(t *testing.T) {
	const agents, pops = 20, 200
	var mu sync.Mutex
	sent := make(map[string][]string)
	server := start(t, Options{Heartbeat: 5 * time.Millisecond, OnSent: func(s Sent) {
		mu.Lock()
		defer mu.Unlock()
		sent[s.Agent] = append(sent[s.Agent], string(s.Raw))
	}})
	received := make(map[string]*answering)
	for i := range agents {
		id := fmt.Sprint(801 + i)
		received[id] = register(t, server, id).answer()
	}
	var wg sync.WaitGroup
	for id := range received {
		for half := range 2 {
			wg.Go(func() {
				for n := range pops {
					if err := server.Send(id, fmt.Appendf(nil, "%d,%s,%d", half, id, n)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	for id, r := range received {
		if err := server.Close(id); err != nil {
			t.Fatal(err)
		}
		if got, want := r.received(), sent[id]; !slices.Equal(got, want) || len(got) != 2*pops {
			t.Errorf("agent %s: got %d pops, want the %d sent, in their order", id, len(got), len(want))
		}
	}
}

func TestSessionHookTellsOfEachBeginAndEnd(t *testing.T) {
	events := make(chan Session, 10)
	server := start(t, Options{OnSession: func(s Session) { events <- s }})
	c := register(t, server, "801")
	if got := <-events; got.Agent != "801" || got.End != "" || got.RegisteredAt.IsZero() {
		t.Errorf("got %+v, want the session's begin", got)
	}
	_ = c.conn.Close()
	if got := <-events; got.Agent != "801" || (got.End != EndClientClosed && got.End != EndClientReset) || got.EndedAt.IsZero() {
		t.Errorf("got %+v, want the session's end by the client", got)
	}
}

func TestOnlyTheLastEndsAreRemembered(t *testing.T) {
	server := start(t, Options{History: 3, Heartbeat: Never})
	for n := 1; n <= 5; n++ {
		_ = register(t, server, "801").conn.Close()
		if err := server.Wait(within(t), func(t Totals) bool { return t.Ended == n }); err != nil {
			t.Fatal(err)
		}
	}
	var got []int64
	for _, s := range server.Ended() {
		got = append(got, s.Number)
	}
	if want := []int64{3, 4, 5}; !slices.Equal(got, want) {
		t.Errorf("got ended sessions %v, want %v", got, want)
	}
}

func TestAThousandSessionsRegisterAndAreServed(t *testing.T) {
	const n = 1000
	server := start(t, Options{Heartbeat: 100 * time.Millisecond})
	for i := range n {
		conn, err := net.Dial("tcp", server.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c := &client{t: t, conn: conn}
		c.write(fmt.Sprintf("op=%d,ch=-1;", i))
		c.answer()
	}
	if err := server.WaitSessions(within(t), n); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		send(t, server, fmt.Sprint(i), "2,86307627")
	}
	err := server.Wait(within(t), func(t Totals) bool { return t.Replies >= 2*n })
	got := server.Totals()
	if err != nil || got.Live != n || got.Ended != 0 || got.Pops != n {
		t.Errorf("got %+v, %v, want %d sessions up, none ended, and 2 replies from each", got, err, n)
	}
	if got := len(server.Sessions()); got != n {
		t.Errorf("got %d sessions listed, want %d", got, n)
	}
}

func TestRunWithADoneContextGivesTheServerUp(t *testing.T) {
	server, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := server.Run(ctx); err != nil {
		t.Errorf("got %v, want nil", err)
	}
	if conn, err := net.Dial("tcp", server.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("the port still listens")
	}
}

func TestAListenerCanBeGiven(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := start(t, Options{Listener: listener})
	if server.Addr() != listener.Addr() {
		t.Errorf("got %s, want %s", server.Addr(), listener.Addr())
	}
	register(t, server, "801").wantHeartbeat()
}

func TestOptionsThatCannotBeAreRefused(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	for _, test := range []struct {
		name string
		opts Options
		want string
	}{
		{"port in use", Options{Address: taken.Addr().String()}, "address already in use"},
		{"no port", Options{Address: "localhost"}, "missing port"},
		{"negative heartbeat", Options{Heartbeat: -time.Second}, "heartbeat -1s"},
		{"negative first heartbeat", Options{FirstHeartbeat: -1}, "first heartbeat"},
		{"negative timeout", Options{WriteTimeout: Never}, "write timeout"},
		{"negative history", Options{History: -1}, "history"},
		{"template without agent", Options{Registration: "hello"}, "{{.Agent}}"},
		{"two templates", Options{Registration: "{{.Agent}}", RegistrationHex: "{{.Agent}}"}, "both"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := New(test.opts)
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %v, want one line with %q", err, test.want)
			}
		})
	}
}

func BenchmarkSend(b *testing.B) {
	server := start(b, Options{Heartbeat: Never})
	c := register(b, server, "801")
	c.answer()
	raw := []byte("H=t1v4,ch=2,ph=86307627,ty=1,tm=080711175931,op=801,sn=1234,so=802,da=0,dm=0;")
	b.ReportAllocs()
	for b.Loop() {
		if err := server.Send("801", raw); err != nil {
			b.Fatal(err)
		}
	}
}
