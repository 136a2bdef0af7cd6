//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/callpop/connector/source/lqsim"
)

// installed is a connector that runs in processes of its own, one after the other.
type installed struct {
	t    testing.TB
	file string
	log  string
	// embedded and health are addresses that stay.
	embedded, health string
	process          int
}

// freeAddressFor is an address that is free now and not among those that the kernel
// gives to outgoing connections.
func freeAddressFor(t testing.TB, from int) string {
	t.Helper()
	for i := range 1000 {
		address := fmt.Sprintf("127.0.0.1:%d", 20_000+(os.Getpid()*37+from*1000+i)%10_000)
		if l, err := net.Listen("tcp", address); err == nil {
			_ = l.Close()
			return address
		}
	}
	t.Fatal("no free port")
	return ""
}

// install starts a connector as a process; the test's end kills whatever it became.
func install(t testing.TB, config string, lq *lqsim.Server) *installed {
	t.Helper()
	i := &installed{t: t, embedded: freeAddressFor(t, 1), health: freeAddressFor(t, 2)}
	i.file = writeConfig(t, config+fmt.Sprintf(`
embedded: {listen: %q}
http: {health: %q}
log: {format: json}
`, i.embedded, i.health), lq)
	i.log = filepath.Join(filepath.Dir(i.file), "log")
	first := i.spawn("run", "--config", i.file).Process.Pid
	i.process = first
	t.Cleanup(func() {
		_ = syscall.Kill(-first, syscall.SIGKILL) // all that it became
		if t.Failed() {
			text, _ := os.ReadFile(i.log)
			t.Logf("%s", text[max(0, len(text)-12_000):])
		}
	})
	return i
}

// connectorEnviron is the environment of a connector: what is set for tests is not
// meant for it.
func connectorEnviron() []string {
	return append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CONNECTOR_") }), childVariable+"=1")
}

// spawn starts this program as a connector.
func (i *installed) spawn(args ...string) *exec.Cmd {
	i.t.Helper()
	log, err := os.OpenFile(i.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		i.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	c := exec.Command(os.Args[0], args...)
	c.Env = connectorEnviron()
	c.Stdout, c.Stderr = log, log
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		i.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { _ = c.Wait(); close(ended) }() // its end is looked at where it matters
	i.t.Cleanup(func() {
		_ = c.Process.Kill()
		<-ended
	})
	return c
}

// command runs this program as a command to its end.
func (i *installed) command(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, os.Args[0], args...)
	c.Env = connectorEnviron()
	out, err := c.CombinedOutput()
	return string(out), err
}

// upgrade upgrades it, and waits until the process before has ended.
func (i *installed) upgrade() string {
	i.t.Helper()
	out, err := i.command("upgrade", "--config", i.file)
	if err != nil {
		i.t.Fatalf("upgrade: %v\n%s", err, out)
	}
	former := i.process
	_, rest, _ := strings.Cut(out, ", process ")
	if _, err := fmt.Sscanf(rest, "%d", &i.process); err != nil {
		i.t.Fatalf("%q: %v", out, err)
	}
	for deadline := time.Now().Add(patience); alive(former); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			i.t.Fatalf("process %d does not end", former)
		}
	}
	return out
}

// alive reports whether a process runs: not one that has ended and was not waited for.
func alive(process int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", process))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// stop is SIGTERM.
func (i *installed) stop() {
	i.t.Helper()
	if err := syscall.Kill(i.process, syscall.SIGTERM); err != nil {
		i.t.Fatal(err)
	}
}

// traffic sends pops at a rate until stop is called, which returns how many.
func traffic(t testing.TB, lq *lqsim.Server, agents []string, rate float64) (stop func() int) {
	t.Helper()
	made, err := lqsim.NewTraffic(lqsim.TrafficOptions{Agents: agents, Rate: rate, Format: lqsim.Mixed, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	halt, done := make(chan struct{}), make(chan int)
	go func() {
		began, n := time.Now(), 0
		for {
			offer, ok := made.Next()
			if !ok {
				break
			}
			select {
			case <-halt:
				done <- n
				return
			case <-time.After(time.Until(began.Add(offer.Offset))):
			}
			if err := lq.Send(offer.Agent, offer.Raw); err != nil {
				t.Errorf("send to %s: %v", offer.Agent, err)
			}
			n++
		}
	}()
	stop = sync.OnceValue(func() int { close(halt); return <-done })
	t.Cleanup(func() { stop() })
	return stop
}

func agentRange(n int) []string {
	agents := make([]string, n)
	for i := range agents {
		agents[i] = fmt.Sprint(1001 + i)
	}
	return agents
}

// upgradeUnderLoad upgrades a connector again and again while pops come.
func upgradeUnderLoad(t *testing.T, sessions int, rate float64, upgrades int) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: 500 * time.Millisecond, MaxUnanswered: 60})
	i := install(t, fmt.Sprintf(`
sources: [{name: hq, type: session, address: "{LQ}", agents: ["1001-%d"], registration: 'op={{.Agent}},ch={{.Channel}};', dial_rate: 10000}]
spool: {dir: "{DIR}", min_free: 0}`, 1000+sessions), lq)
	if err := lq.WaitSessions(patient(t), sessions); err != nil {
		t.Fatal(err)
	}
	client, err := nats.Connect("nats://"+i.embedded, nats.ReconnectWait(20*time.Millisecond), nats.MaxReconnects(-1))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	stop := traffic(t, lq, agentRange(sessions), rate)
	for done := range upgrades {
		t.Log(strings.TrimSpace(i.upgrade()))
		i.eventually("a client of embedded.listen to be connected again", func() bool {
			return client.IsConnected() && int(client.Stats().Reconnects) == done+1
		})
	}
	n := stop()
	sameAsSent(t, lq.Sent(), received(t, "nats://"+i.embedded, "CALLPOP", n))
	totals := lq.Totals()
	if totals.Accepted != sessions || totals.Live != sessions {
		t.Errorf("the server has seen %d connections and has %d of %d sessions: %+v", totals.Accepted, totals.Live, sessions, lq.Ended())
	}
	i.quietSessions(2 * sessions) // connecting and connected, of each
	t.Logf("%d pops, %d heartbeats answered, %d not", n, totals.Replies, totals.Unanswered)
	i.stop()
}

// TestTwentyUpgradesUnderFullLoad is long: it runs where CONNECTOR_UPGRADES is full,
// see make upgrades.
func TestTwentyUpgradesUnderFullLoad(t *testing.T) {
	if os.Getenv("CONNECTOR_UPGRADES") != "full" {
		t.Skip("CONNECTOR_UPGRADES is not full (make upgrades)")
	}
	upgradeUnderLoad(t, 2000, 2000, 20)
}

func TestUpgradesInARowLoseNothingAndCloseNothing(t *testing.T) {
	upgradeUnderLoad(t, 200, 300, 5)
}

func (i *installed) eventually(what string, ok func() bool) {
	i.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			i.t.Fatalf("waited in vain for %s", what)
		}
	}
}

func (i *installed) waitListening(address string) {
	i.t.Helper()
	i.eventually(address+" to be listened on", func() bool {
		conn, err := net.Dial("tcp", i.health) // it comes after all others
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

// quietSessions checks that no session has had more than n events.
func (i *installed) quietSessions(n int) {
	i.t.Helper()
	stream, err := jetStream(i.t, "nats://"+i.embedded).Stream(patient(i.t), "CALLPOP_SESSION")
	if err != nil {
		i.t.Fatal(err)
	}
	if got := int(stream.CachedInfo().State.Msgs); got != n {
		i.t.Errorf("%d session events, want %d", got, n)
	}
}

func (i *installed) logged() (string, error) {
	text, err := os.ReadFile(i.log)
	return string(text), err
}

// ready reports whether /readyz says so.
func (i *installed) ready() bool {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	response, err := client.Get("http://" + i.health + "/readyz")
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (i *installed) spoolDir() string { return filepath.Join(filepath.Dir(i.file), "spool") }
