//go:build linux

package faults

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/lqsim"
)

// What the emitter is told: the spool's directory, its sync, how many callers, how
// many events, 0 for no end, and how many bytes to pad each with.
const (
	dirVariable     = "FAULTS_DIR"
	syncVariable    = "FAULTS_SYNC"
	callersVariable = "FAULTS_CALLERS"
	countVariable   = "FAULTS_COUNT"
	padVariable     = "FAULTS_PAD"
)

// emitMain is a process that emits into a spool and writes each id to its output
// once Emit has returned nil, in one write that a kill cannot take back.
func emitMain() int {
	c := spool.DefaultConfig()
	c.Dir, c.MinFree = os.Getenv(dirVariable), 0
	err := c.Sync.UnmarshalText([]byte(os.Getenv(syncVariable)))
	callers, err1 := strconv.Atoi(os.Getenv(callersVariable))
	count, err2 := strconv.Atoi(os.Getenv(countVariable))
	pad, err3 := strconv.Atoi(os.Getenv(padVariable))
	if err := errors.Join(err, err1, err2, err3); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	s, err := spool.Open(context.Background(), spool.Options{Config: c})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for n := 0; count == 0 || n < count/callers; n++ {
				e := emitted(caller, n, pad)
				if err := s.Emit(context.Background(), e); err != nil {
					fmt.Fprintln(os.Stderr, err)
					continue
				}
				if _, err := os.Stdout.WriteString(e.ID + "\n"); err != nil {
					os.Exit(1)
				}
			}
		})
	}
	all.Wait()
	if err := s.Close(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// callsOfCaller is over how many calls a caller's events go.
const callsOfCaller = 100

// emitted is the n-th event of a caller.
func emitted(caller, n, pad int) schema.Event {
	now := time.Now().UTC()
	c := call{"801", fmt.Sprint(1000 + caller*callsOfCaller + n%callsOfCaller)}
	p := schema.CallPop{
		ID: schema.NewID(now), Server: "hq", Key: "hq/" + c.sn, Agent: schema.Agent{ID: c.agent},
		Raw: string(c.pop(n/callsOfCaller)) + strings.Repeat(" ", pad), ReceivedAt: now,
	}
	return p.Event()
}

// emitter starts a process that emits.
func emitter(dir, sync string, callers, count, pad int) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), modeVariable+"=emit", dirVariable+"="+dir, syncVariable+"="+sync,
		callersVariable+"="+strconv.Itoa(callers), countVariable+"="+strconv.Itoa(count), padVariable+"="+strconv.Itoa(pad))
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// A process writes down each id that Emit has acknowledged, and is killed at
// random moments. The log holds every one of them, and a sink that is added
// afterwards gets them all.
func TestFaultKillAcknowledged(t *testing.T) {
	kills := scale(3, 50, 300)
	broker := startNATS(t)
	lq := startLQ(t, lqsim.Options{})
	s := newSetup(t, lq.Addr().String(), agentNumbers(1))
	var acked []string
	for range kills {
		acked = append(acked, killedEmitter(t, s.spoolDir)...)
	}
	s.sinks = []string{natsSink("events", broker.url())}
	began := time.Now()
	p := s.startReady()
	held := whole(t, s.embedded(), "CALLPOP")
	sink := follow(t, broker.url(), "CALLPOP")
	sink.waitFor(held)
	p.expectExit(p.stop(), 0)

	in := make(map[string]bool, len(held))
	for _, e := range held {
		in[e.id] = true
	}
	missing := 0
	for _, id := range acked {
		if !in[id] {
			missing++
		}
	}
	r := delivered(t, "kill -9, every emit written down", held, sink.seen(), 0)
	r.lost += missing
	r.recovery = lastStored(sink.seen()).Sub(began)
	r.note = fmt.Sprintf("%d kills; %d emits had returned", kills, len(acked))
	rows.add(t, r)
}

// killedEmitter lets a process emit for a random time and kills it. It returns the
// ids that were acknowledged.
func killedEmitter(t *testing.T, dir string) (ids []string) {
	t.Helper()
	cmd := emitter(dir, "100ms", 8, 0, 0)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	kill := func() { _ = cmd.Process.Kill() }
	giveUp := time.AfterFunc(patience, kill)
	defer giveUp.Stop()
	for lines.Scan() {
		if len(ids) == 0 {
			timer := time.AfterFunc(time.Duration(rand.Int64N(int64(150*time.Millisecond))), kill)
			defer timer.Stop()
		}
		ids = append(ids, strings.Clone(lines.Text()))
	}
	_ = cmd.Wait() // it was killed
	if len(ids) == 0 {
		t.Fatal("the process emitted nothing")
	}
	// A line that the kill cut short is no id.
	if last := len(ids) - 1; len(ids[last]) != len(schema.NewID(time.Now())) {
		ids = ids[:last]
	}
	return ids
}
