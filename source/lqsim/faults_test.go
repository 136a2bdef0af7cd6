package lqsim

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

const somePop = "2,02586307627,1000,1208674344953,NA"

func TestSilenceStopsEverythingUntilItIsLifted(t *testing.T) {
	server := start(t, Options{Heartbeat: time.Millisecond})
	c := register(t, server, "801")
	c.wantHeartbeat()
	server.Silence("801", true)
	before := server.Totals()
	for _, err := range []error{
		server.Send("801", []byte(somePop)), server.SendBytes("801", []byte("x")), server.Heartbeat("801"),
	} {
		if !errors.Is(err, ErrSilent) {
			t.Errorf("got %v, want %v", err, ErrSilent)
		}
	}
	// A second session of the agent is silent too, and another agent's is not.
	dial(t, server, "op=801,ch=-1;")
	if err := server.WaitSessions(within(t), 2); err != nil {
		t.Fatal(err)
	}
	register(t, server, "802").wantHeartbeat()
	if a, _ := server.Agent("801"); a.Heartbeats != before.Heartbeats || a.Missed != 1 {
		t.Errorf("got %d heartbeats and %d missed, want %d and 1", a.Heartbeats, a.Missed, before.Heartbeats)
	}

	server.Silence("801", false)
	err := server.WaitAgent(within(t), "801", func(a Agent) bool { return a.Heartbeats > before.Heartbeats })
	if err != nil {
		t.Error(err)
	}
	c.wantHeartbeat()
}

func TestAHalfOpenSessionKeepsItsSocketAndSaysNothing(t *testing.T) {
	server := start(t, Options{Heartbeat: 5 * time.Millisecond})
	c := register(t, server, "801")
	c.wantHeartbeat()
	if err := server.HalfOpen("801"); err != nil {
		t.Fatal(err)
	}
	before := server.Totals()
	if err := server.Send("801", []byte(somePop)); !errors.Is(err, ErrHalfOpen) {
		t.Errorf("got %v, want %v", err, ErrHalfOpen)
	}
	c.write("TRY_REP")
	_ = c.conn.Close()
	// Another agent gets many heartbeats meanwhile: time enough for one to 801.
	register(t, server, "802")
	if err := server.WaitAgent(within(t), "802", func(a Agent) bool { return a.Heartbeats >= 5 }); err != nil {
		t.Fatal(err)
	}
	a, _ := server.Agent("801")
	if a.Live != 1 || a.Disconnects != 0 || a.Heartbeats != before.Heartbeats || a.Replies != before.Replies || a.Missed != 1 {
		t.Errorf("got %+v, want the session up, untouched, one pop missed", a)
	}

	// The agent's next session is an ordinary one.
	next := register(t, server, "801")
	next.wantHeartbeat()
	if err := next.conn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := server.WaitAgent(within(t), "801", func(a Agent) bool { return a.Live == 1 }); err != nil {
		t.Fatal(err)
	}
	if err := server.Reset("801"); err != nil {
		t.Error(err)
	}
	if a, _ := server.Agent("801"); a.Live != 0 || a.LastEnd != EndReset {
		t.Errorf("got %+v, want it reset", a)
	}
}

func TestCutBreaksOffInsideAFrame(t *testing.T) {
	server := start(t, Options{Heartbeat: Never})
	framed := append([]byte{byte(len(somePop))}, somePop...)
	for _, at := range []int{0, 1, 2, len(somePop) / 2, len(somePop)} {
		c := register(t, server, "801")
		if err := server.Cut("801", []byte(somePop), at); err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(c.conn)
		if err != nil || string(got) != string(framed[:at]) {
			t.Errorf("cut after %d bytes: got %q, %v, want %q and the end", at, got, err, framed[:at])
		}
		_ = c.conn.Close()
	}
	c := register(t, server, "801")
	if err := server.CutReset("801", []byte(somePop), 5); err != nil {
		t.Fatal(err)
	}
	c.wantEnd(true)
	if a, _ := server.Agent("801"); a.LastEnd != EndCutReset || a.Pops != 0 {
		t.Errorf("got %+v, want the end %q and no pop", a, EndCutReset)
	}
	register(t, server, "801")
	for _, at := range []int{-1, len(framed)} {
		if err := server.Cut("801", []byte(somePop), at); err == nil {
			t.Errorf("cut after %d bytes: got no error", at)
		}
	}
}

func TestCloseEndsInOrderBehindWhatWasSent(t *testing.T) {
	server := start(t, Options{Heartbeat: Never})
	c := register(t, server, "801")
	for range 100 {
		send(t, server, "801", somePop)
	}
	// Bytes that the server has not read must not turn its close into a reset.
	c.write("TRY_REP")
	if err := server.Close("801"); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		c.wantPop(somePop)
	}
	c.wantEnd(false)
	if err := server.Close("801"); !errors.Is(err, ErrNoSession) {
		t.Errorf("closed twice: got %v, want %v", err, ErrNoSession)
	}
	if a, _ := server.Agent("801"); a.LastEnd != EndClosed || a.Live != 0 {
		t.Errorf("got %+v, want the end %q", a, EndClosed)
	}
}

func TestResetIsSeenAsOne(t *testing.T) {
	server := start(t, Options{Heartbeat: Never})
	c := register(t, server, "801")
	if err := server.Reset("801"); err != nil {
		t.Fatal(err)
	}
	c.wantEnd(true)
}

func TestRefuseStopsListeningAndKeepsSessions(t *testing.T) {
	server := start(t, Options{Heartbeat: time.Millisecond})
	c := register(t, server, "801")
	for range 3 {
		for range 2 { // twice is as good as once
			if err := server.Refuse(true); err != nil {
				t.Fatal(err)
			}
		}
		if conn, err := net.Dial("tcp", server.Addr().String()); err == nil {
			_ = conn.Close()
			t.Error("refusing, but a connection was accepted")
		}
		c.wantHeartbeat()
		if err := server.Refuse(false); err != nil {
			t.Fatal(err)
		}
		register(t, server, "802").wantHeartbeat()
	}
	if a, _ := server.Agent("801"); a.Connects != 1 || a.Disconnects != 0 {
		t.Errorf("got %+v, want the first session still up", a)
	}
}

func TestHangUpAcceptsAndClosesAtOnce(t *testing.T) {
	server := start(t, Options{})
	server.HangUp(true)
	c := dial(t, server, "")
	if f, err := c.next(); err == nil {
		t.Errorf("got frame %s, want the end", f.Kind)
	}
	if err := server.Wait(within(t), func(t Totals) bool { return t.HungUp == 1 }); err != nil {
		t.Error(err)
	}
	server.HangUp(false)
	register(t, server, "801").wantHeartbeat()
}

func TestMuteAcceptsAndNeverSpeaks(t *testing.T) {
	server := start(t, Options{Heartbeat: time.Millisecond})
	server.Mute(true)
	c := dial(t, server, "op=801,ch=-1;")
	if err := server.Wait(within(t), func(t Totals) bool { return t.Muted == 1 }); err != nil {
		t.Fatal(err)
	}
	server.Mute(false)
	register(t, server, "802")
	if err := server.WaitAgent(within(t), "802", func(a Agent) bool { return a.Heartbeats >= 20 }); err != nil {
		t.Fatal(err)
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	if f, err := c.next(); err == nil || isReset(err) || errors.Is(err, io.EOF) {
		t.Errorf("got frame %s, %v, want nothing on a connection that stays", f.Kind, err)
	}
	if _, ok := server.Agent("801"); ok {
		t.Error("a muted connection has registered")
	}
	_ = c.conn.Close()
	err := server.wait(within(t), func() bool { return len(server.ended) == 1 && server.ended[0].End == EndMuted })
	if err != nil {
		t.Error(err)
	}
}

func TestAClientThatDoesNotReadEndsItsSession(t *testing.T) {
	server := start(t, Options{Heartbeat: Never, WriteTimeout: 20 * time.Millisecond})
	register(t, server, "801")
	garbage := make([]byte, 1<<20)
	var err error
	for range 64 { // no socket buffers so much
		if err = server.SendBytes("801", garbage); err != nil {
			break
		}
	}
	if err == nil || isHeldBack(err) {
		t.Fatalf("got %v, want the write's own error", err)
	}
	if a, _ := server.Agent("801"); a.LastEnd != EndWrite || a.Live != 0 {
		t.Errorf("got %+v, want the end %q", a, EndWrite)
	}
}
