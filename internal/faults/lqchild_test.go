//go:build linux

package faults

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/callpop/connector/source/lqsim"
)

// The address of the LQ server that this test binary is in mode lq.
const addressVariable = "FAULTS_ADDRESS"

// lqStatus is what such a server tells of itself.
type lqStatus struct {
	Totals lqsim.Totals
	// Accepts are the times at which it accepted connections.
	Accepts []time.Time
	// Missed are agents whose pop could not be sent, Sent the others' number.
	Sent, Missed int
}

// lqMain is an LQ server in a process of its own. It answers each line of its
// input with its status; the line "pop N" has it send the N-th pop to all first.
func lqMain() int {
	if err := serveLQ(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func serveLQ(in io.Reader, out io.Writer) error {
	listener, err := net.Listen("tcp", os.Getenv(addressVariable))
	if err != nil {
		return err
	}
	timed := &timedListener{Listener: listener}
	lq, err := lqsim.New(lqsim.Options{Listener: timed, Heartbeat: 5 * time.Second})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- lq.Run(ctx) }()
	answer := json.NewEncoder(out)
	if err := answer.Encode(lqStatus{}); err != nil {
		return err
	}
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var status lqStatus
		if n, ok := strings.CutPrefix(lines.Text(), "pop "); ok {
			for _, agent := range lq.Agents() {
				raw := fmt.Appendf(nil, "H=t1v4,ch=2,ph=86307627,ty=1,tm=080711175931,op=%s,sn=%s,so=0,da=n:%s,dm=0;", agent.ID, agent.ID, n)
				if lq.Send(agent.ID, raw) == nil {
					status.Sent++
				} else {
					status.Missed++
				}
			}
		}
		status.Totals, status.Accepts = lq.Totals(), timed.times()
		if err := answer.Encode(status); err != nil {
			return err
		}
	}
	cancel()
	return <-done
}

// timedListener notes when connections are accepted.
type timedListener struct {
	net.Listener
	mu       sync.Mutex
	accepted []time.Time
}

func (l *timedListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.mu.Lock()
		l.accepted = append(l.accepted, time.Now())
		l.mu.Unlock()
	}
	return conn, err
}

func (l *timedListener) times() []time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.accepted)
}

// lqChild is an LQ server in a process of its own.
type lqChild struct {
	t      testing.TB
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *json.Decoder
	killed bool
}

func startLQChild(t testing.TB, address string) *lqChild {
	t.Helper()
	c := &lqChild{t: t, cmd: exec.Command(os.Args[0])}
	c.cmd.Env = append(os.Environ(), modeVariable+"=lq", addressVariable+"="+address)
	c.cmd.Stderr = os.Stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kill)
	c.out = json.NewDecoder(out)
	c.answer() // it listens
	return c
}

func (c *lqChild) kill() {
	if !c.killed {
		c.killed = true
		_ = c.cmd.Process.Kill()
		_ = c.cmd.Wait() // it was killed
	}
}

func (c *lqChild) ask(line string) lqStatus {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.in, line); err != nil {
		c.t.Fatal(err)
	}
	return c.answer()
}

func (c *lqChild) answer() (s lqStatus) {
	c.t.Helper()
	if err := c.out.Decode(&s); err != nil {
		c.t.Fatalf("the LQ server's process: %v", err)
	}
	return s
}
