//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/lqsim"
)

// lasting is a desktop whose connection must last as long as the test.
type lasting struct {
	conn net.Conn
	mu   sync.Mutex // guards pops
	pops []string
	done chan struct{}
}

func connectDesktop(t testing.TB, address, agent string) *lasting {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	l := &lasting{conn: conn, done: make(chan struct{})}
	t.Cleanup(func() { _ = conn.Close(); <-l.done })
	if _, err := fmt.Fprintf(conn, "op=%s,ch=-1;", agent); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(l.done)
		var d frame.Decoder
		for {
			n, err := conn.Read(d.Buffer())
			if err != nil {
				if !errors.Is(err, net.ErrClosed) {
					t.Errorf("the connection of agent %s ended: %v", agent, err)
				}
				return
			}
			d.Wrote(n)
			for f, ok := d.Next(); ok; f, ok = d.Next() {
				switch f.Kind {
				case frame.Heartbeat:
					_, _ = io.WriteString(conn, frame.Reply)
				case frame.Pop:
					l.mu.Lock()
					l.pops = append(l.pops, string(f.Data))
					l.mu.Unlock()
				case frame.Skipped:
					t.Errorf("agent %s: bytes that are no frame: %q", agent, f.Data)
				}
			}
		}
	}()
	return l
}

func (l *lasting) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.pops)
}

func TestRelayedDesktopsAndCallbacksGoThroughUpgrades(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond})
	listen, pages := freeAddressFor(t, 3), freeAddressFor(t, 4)
	i := install(t, fmt.Sprintf(`
sources:
  - {name: desktops, type: relay, server: hq, listen: %q, address: "{LQ}"}
  - {name: pages, type: callback, server: web, listen: %q}
spool: {dir: "{DIR}", min_free: 0}`, listen, pages), lq)
	i.waitListening(listen)
	desktops := map[string]*lasting{}
	agents := agentRange(30)
	for _, agent := range agents {
		desktops[agent] = connectDesktop(t, listen, agent)
	}
	if err := lq.WaitSessions(patient(t), len(agents)); err != nil {
		t.Fatal(err)
	}
	stop := traffic(t, lq, agents, 300)
	stopCalls := callbacks(t, pages)
	for n := range 3 {
		t.Log(i.upgrade())
		late := fmt.Sprint(2001 + n) // comes to whoever listens now
		desktops[late] = connectDesktop(t, listen, late)
		if err := lq.WaitSessions(patient(t), len(agents)+n+1); err != nil {
			t.Fatal(err)
		}
	}
	n, called := stop(), stopCalls()
	var popped []schema.Event
	urls := map[string]int{}
	for _, e := range received(t, "nats://"+i.embedded, "CALLPOP", n+called) {
		var p schema.CallPop
		if err := json.Unmarshal(e.Body, &p); err != nil {
			t.Fatal(err)
		}
		if p.Source.Type == "callback" {
			urls[p.Customer.Number]++
		} else {
			popped = append(popped, e)
		}
	}
	sameAsSent(t, lq.Sent(), popped)
	for number, times := range urls {
		if times != 1 {
			t.Errorf("the callback of %s is there %d times", number, times)
		}
	}
	if len(urls) != called {
		t.Errorf("%d callbacks of %d", len(urls), called)
	}
	want := map[string]int{}
	for _, s := range lq.Sent() {
		want[s.Agent]++
	}
	for agent, d := range desktops {
		i.eventually(fmt.Sprintf("agent %s's desktop to get its pops", agent), func() bool { return d.count() == want[agent] })
	}
	if totals := lq.Totals(); totals.Live != len(desktops) || totals.Accepted != len(desktops) {
		t.Errorf("the server has seen %d connections and has %d of %d", totals.Accepted, totals.Live, len(desktops))
	}
	if total := len(received(t, "nats://"+i.embedded, "CALLPOP_SESSION", len(desktops))); total != len(desktops) {
		t.Errorf("%d session events", total)
	}
	i.quietSessions(len(desktops))
}

// callbacks calls a callback source until stop, which returns how often.
func callbacks(t testing.TB, address string) (stop func() int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	halt, done := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-halt:
				done <- n
				return
			case <-time.After(5 * time.Millisecond):
			}
			response, err := client.Get(fmt.Sprintf("http://%s/pop?phone=%d&oper=801&ch=8&outch=2&startTime=1215770371375&id=%d", address, 10_000+n, n))
			if err != nil {
				t.Errorf("callback %d: %v", n, err)
				continue
			}
			_ = response.Body.Close()
			if response.StatusCode != http.StatusNoContent {
				t.Errorf("callback %d: %s", n, response.Status)
			}
		}
	}()
	return func() int { close(halt); return <-done }
}
