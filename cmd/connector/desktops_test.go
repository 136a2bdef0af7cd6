package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/internal/freeport"
	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/lqsim"
)

// desktop is an existing client: it registers, answers heartbeats and reads pops.
func desktop(t testing.TB, address, agent string, pops chan<- string) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = conn.Close(); <-done })
	if _, err := fmt.Fprintf(conn, "op=%s,ch=-1;", agent); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(done)
		var d frame.Decoder
		for {
			n, err := conn.Read(d.Buffer())
			if err != nil {
				return
			}
			d.Wrote(n)
			for f, ok := d.Next(); ok; f, ok = d.Next() {
				switch f.Kind {
				case frame.Heartbeat:
					_, _ = io.WriteString(conn, frame.Reply)
				case frame.Pop:
					pops <- string(f.Data)
				}
			}
		}
	}()
}

func TestDesktopsThatAreRelayedKeepWorkingAndTheirPopsBecomeEvents(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: 50 * time.Millisecond})
	d := start(t, writeConfig(t, `
sources: [{name: desktops, type: relay, server: hq2, listen: "127.0.0.1:0", address: "{LQ}"}]
spool: {dir: "{DIR}", min_free: 0}
embedded: {listen: "127.0.0.1:0"}
http: {health: ""}
`, lq))
	address := d.sources[0].source.(interface{ Addr() net.Addr }).Addr().String()
	pops := make(chan string, 100)
	for _, agent := range []string{"801", "802"} {
		desktop(t, address, agent, pops)
	}
	if err := lq.WaitSessions(patient(t), 2); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if err := lq.Send("801", fmt.Appendf(nil, "H=t1v2,ch=2,ph=86307627,id=%d,dm=0;", 1000+i)); err != nil {
			t.Fatal(err)
		}
		<-pops
	}
	for _, e := range received(t, "nats://"+d.spool.Addr().String(), "CALLPOP", 10) {
		var p schema.CallPop
		if err := json.Unmarshal(e.Body, &p); err != nil {
			t.Fatal(err)
		}
		if p.Agent.ID != "801" || p.Server != "hq2" || p.Source.Type != "relay" {
			t.Errorf("got %s", e.Body)
		}
	}
	if err := d.end(); err != nil {
		t.Error(err)
	}
}

func TestACallbackIsTheSameCallAsTheSocketsPop(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, `
sources:
  - {name: hq, type: session, address: "{LQ}", agents: ["801"], registration: 'op={{.Agent}},ch={{.Channel}};'}
  - {name: pages, type: callback, server: hq, listen: "127.0.0.1:0", redirect: "https://crm.example/c?phone={{.Customer.Number}}"}
spool: {dir: "{DIR}", min_free: 0}
embedded: {listen: "127.0.0.1:0"}
http: {health: ""}
`, lq))
	if err := lq.WaitSessions(patient(t), 1); err != nil {
		t.Fatal(err)
	}
	if err := lq.Send("801", []byte("H=t1v2,ch=2,ph=86307627,id=12157703713752,tm=080711175931,dm=0;")); err != nil {
		t.Fatal(err)
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Get("http://" + d.sources[1].source.(interface{ Addr() net.Addr }).Addr().String() +
		"/pop?phone=86307627&oper=801&ch=8&outch=2&startTime=1215770371375&id=12157703713752&dtmf=1;2;")
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	client.CloseIdleConnections()
	if response.StatusCode != http.StatusFound || response.Header.Get("Location") != "https://crm.example/c?phone=86307627" {
		t.Errorf("%s, to %q", response.Status, response.Header.Get("Location"))
	}
	events := received(t, "nats://"+d.spool.Addr().String(), "CALLPOP", 2)
	if events[0].Key != events[1].Key || events[0].Key != "hq/12157703713752" {
		t.Errorf("keys %s and %s", events[0].Key, events[1].Key)
	}
	if err := d.end(); err != nil {
		t.Error(err)
	}
}

func TestACaptureGivesTheRegistrationAndPlaysBack(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Registration: "LOGIN {{.Agent}}/{{.Channel}}\\r\\n"})
	file := filepath.Join(t.TempDir(), "lq.capture")
	listen := freeAddress(t)
	stop := make(chan struct{})
	code := make(chan int, 1)
	var stderr outputtest.Output
	go func() {
		code <- run(context.Background(), world{
			args: []string{"capture", "--listen", listen, "--upstream", lq.Addr().String(), "--out", file},
			stop: stop, stdout: &outputtest.Output{}, stderr: &stderr,
		})
	}()
	conns := []net.Conn{}
	for _, agent := range []string{"801", "802"} {
		conn := dialPatiently(t, listen)
		conns = append(conns, conn)
		if _, err := fmt.Fprintf(conn, "LOGIN %s/-1\r\n", agent); err != nil {
			t.Fatal(err)
		}
	}
	if err := lq.WaitSessions(patient(t), 2); err != nil {
		t.Fatal(err, stderr.String())
	}
	raw := "H=t1v3,ch=2,ph=86307627,id=12157703713752,tm=080711175931,op=801,sn=1234,dm=0;"
	if err := lq.Send("801", []byte(raw)); err != nil {
		t.Fatal(err)
	}
	buffer := make([]byte, 300)
	for got := ""; !strings.Contains(got, raw); {
		n, err := conns[0].Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		got += string(buffer[:n])
	}
	for _, conn := range conns {
		_ = conn.Close()
	}
	close(stop)
	if got := <-code; got != exitGood {
		t.Fatalf("code %d: %s", got, stderr.String())
	}

	shown := connector(t, "", "capture", "show", file)
	if shown.code != exitGood || !strings.Contains(shown.stdout, `LOGIN {{.Agent}}/{{.Channel}}\r\n`) || !strings.Contains(shown.stdout, "t1v3") {
		t.Errorf("code %d: %s%s", shown.code, shown.stdout, shown.stderr)
	}
	decoded := connector(t, "", "decode", "-o", "json", file)
	if decoded.code != exitGood || !strings.Contains(decoded.stdout, `"key":"hq/1234"`) {
		t.Errorf("code %d: %s%s", decoded.code, decoded.stdout, decoded.stderr)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}

	address := freeAddress(t)
	stopReplay := make(chan struct{})
	go func() {
		code <- run(context.Background(), world{
			args: []string{"simulate", "--replay", file, "--listen", address, "--speed", "0"},
			stop: stopReplay, stdout: &outputtest.Output{}, stderr: &stderr,
		})
	}()
	conn := dialPatiently(t, address)
	if _, err := io.WriteString(conn, "LOGIN 801/-1\r\n"); err != nil {
		t.Fatal(err)
	}
	for got := ""; !strings.Contains(got, raw); {
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		got += string(buffer[:n])
	}
	_ = conn.Close()
	close(stopReplay)
	if got := <-code; got != exitGood {
		t.Fatalf("code %d: %s", got, stderr.String())
	}
}

func freeAddress(t testing.TB) string {
	t.Helper()
	ports, err := freeport.Find(1)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", ports[0])
}

// dialPatiently waits for a listener that is about to be there.
func dialPatiently(t testing.TB, address string) net.Conn {
	t.Helper()
	for ctx := patient(t); ; {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.SetDeadline(time.Now().Add(patience))
			return conn
		}
		if ctx.Err() != nil {
			t.Fatal(err)
		}
	}
}
