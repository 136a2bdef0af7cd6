package session

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/lqsim"
)

// serverProcess, in the environment, makes the test's binary an LQ server: one
// process may not open the descriptors of both ends of ten thousand sessions.
const serverProcess = "CONNECTOR_TEST_LQ_SERVER"

func serveLQ() {
	server, err := lqsim.New(lqsim.Options{Heartbeat: 2 * time.Second})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(server.Addr())
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // the parent's end is ours
		cancel()
	}()
	if err := server.Run(ctx); err != nil {
		os.Exit(1)
	}
}

// startServer starts an LQ server in a process of its own.
func startServer(tb testing.TB) (address string) {
	tb.Helper()
	command := exec.Command(os.Args[0])
	command.Env = append(os.Environ(), serverProcess+"=1")
	command.Stderr = os.Stderr
	stdin, err := command.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := command.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = stdin.Close(); _ = command.Wait() })
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// resident is this process's resident memory in bytes.
func resident(tb testing.TB) int {
	tb.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		tb.Skip("no /proc/self/status to read the resident memory from")
	}
	for line := range strings.Lines(string(status)) {
		if value, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kib, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")))
			if err != nil {
				tb.Fatal(err)
			}
			return kib << 10
		}
	}
	tb.Fatal("no VmRSS")
	return 0
}

// BenchmarkIdleSessions prints the resident memory of a session that only answers
// heartbeats, with 10,000 of them.
func BenchmarkIdleSessions(b *testing.B) {
	const sessions = 10_000
	address := startServer(b)
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	up := make(chan struct{}, 2*sessions)
	in, err := source.NewIntake(source.IntakeOptions{Logger: quiet, Emit: func(_ context.Context, e schema.Event) error {
		if isState(schema.Connected)(e) {
			up <- struct{}{}
		}
		return nil
	}})
	if err != nil {
		b.Fatal(err)
	}
	c := DefaultConfig()
	c.Name, c.Server, c.Address, c.Registration, c.DialRate = "hq", "hq", address, lqsim.DefaultRegistration, 5000
	if c.Agents, err = source.ParseRoster([]any{fmt.Sprintf("10001-%d", 10000+sessions)}); err != nil {
		b.Fatal(err)
	}
	s, err := New(c, Options{Intake: in, Logger: quiet})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	runtime.GC()
	debug.FreeOSMemory()
	before := resident(b)
	all.Go(func() { _ = in.Run(ctx) })
	all.Go(func() { _ = s.Run(ctx) })
	for range sessions {
		select {
		case <-up:
		case <-time.After(time.Minute):
			b.Fatalf("only %d sessions are up", s.Status().Up)
		}
	}
	<-time.After(5 * time.Second) // two heartbeats
	runtime.GC()
	debug.FreeOSMemory()
	each := float64(resident(b)-before) / sessions
	for b.Loop() {
		runtime.KeepAlive(s)
	}
	b.ReportMetric(each, "B/session")
	b.ReportMetric(0, "ns/op")
}
