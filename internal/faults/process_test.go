//go:build linux

package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/callpop/connector/internal/web"
)

// patience bounds every wait for something that takes a second or two on a quiet
// machine.
const patience = 2 * time.Minute

func patient(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually asks until ok says so.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	within(t, patience, what, ok)
}

// busy reports whether the machine has so much else to do that how fast something
// goes says nothing: more than four that want to run for each processor, where the
// suite alone makes two.
func busy(t testing.TB) bool {
	t.Helper()
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		t.Fatal(err)
	}
	var load float64
	if _, err := fmt.Sscan(string(text), &load); err != nil {
		t.Fatalf("/proc/loadavg has %q: %v", text, err)
	}
	return load > 4*float64(runtime.NumCPU())
}

func within(t testing.TB, limit time.Duration, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(limit); !ok(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain for: %s", limit, what)
		}
		pause(20 * time.Millisecond)
	}
}

// pause lets time pass: between two looks, or as part of a fault.
func pause(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	<-timer.C
}

// lastPort is where the search for free ports goes on.
var lastPort atomic.Int32

// freePort returns a port of the loopback address that is free now, below those
// that the kernel gives to outgoing connections: a child that is killed and
// started again finds it free.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 20_000 + (os.Getpid()*37+int(lastPort.Add(1)))%10_000
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			_ = l.Close()
			return port
		}
	}
	t.Fatal("no free port")
	return 0
}

// process is a run of the connector as a child.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	health string
	log    string // the file of its standard error
	from   int64  // where in it this run begins
	ended  chan struct{}
	err    error // of Wait, once ended is closed
}

// start runs the connector with a configuration file; the test's end kills it.
// wrap are a program and its arguments to run it under.
func (s *setup) start(wrap ...string) *process {
	s.t.Helper()
	path, err := binary()
	if err != nil {
		s.t.Fatal(err)
	}
	args := slices.Concat(wrap, []string{path, "run", "--config", s.write()})
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	from, err := log.Seek(0, io.SeekEnd)
	if err != nil {
		s.t.Fatal(err)
	}
	p := &process{
		t: s.t, cmd: exec.Command(args[0], args[1:]...), health: fmt.Sprintf("127.0.0.1:%d", s.healthPort),
		log: log.Name(), from: from, ended: make(chan struct{}),
	}
	p.cmd.Stderr, p.cmd.Stdout = log, log
	// Whatever is set for the suite, or for a connector of the machine's own, is
	// not meant for this one.
	p.cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "CONNECTOR_") })
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	s.t.Cleanup(func() {
		p.kill()
		if s.t.Failed() {
			s.t.Log(tail(p.text(), 6000))
		}
	})
	return p
}

// startReady starts it and waits until it serves.
func (s *setup) startReady(wrap ...string) *process {
	s.t.Helper()
	p := s.start(wrap...)
	p.waitReady()
	return p
}

func (p *process) waitReady() {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; pause(20 * time.Millisecond) {
		select {
		case <-p.ended:
			p.t.Fatalf("the connector ended: %v\n%s", p.err, tail(p.text(), 3000))
		default:
		}
		if r, err := p.ready(); err == nil && r.Ready {
			return
		}
		if time.Now().After(deadline) {
			// What it waits for is in its goroutines.
			p.signal(syscall.SIGQUIT)
			<-p.ended
			p.t.Fatalf("the connector does not serve after %v:\n%s", patience, p.text())
		}
	}
}

// kill is kill -9; it returns once the process is gone.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.ended
}

// stop is SIGTERM; it returns the exit code.
func (p *process) stop() int {
	p.t.Helper()
	p.signal(syscall.SIGTERM)
	return p.wait()
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// wait returns the exit code.
func (p *process) wait() int {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatal("the connector does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// text is what this run has logged so far.
func (p *process) text() string {
	data, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	return string(data[min(int64(len(data)), p.from):])
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

var client = &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func (p *process) get(path string) (int, []byte, error) {
	response, err := client.Get("http://" + p.health + path)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	return response.StatusCode, body, err
}

// ready is the body of /readyz.
func (p *process) ready() (web.Readiness, error) {
	_, body, err := p.get("/readyz")
	if err != nil {
		return web.Readiness{}, err
	}
	var r web.Readiness
	return r, json.Unmarshal(body, &r)
}

// full is the status of /readyz?full.
func (p *process) full() int {
	status, _, err := p.get("/readyz?full")
	if err != nil {
		return 0
	}
	return status
}

// spoolState is what /readyz says of the spool.
func (p *process) spoolState() web.SpoolState {
	r, err := p.ready()
	if err != nil || r.Spool == nil {
		return ""
	}
	return r.Spool.State
}

// backlog is what a sink has not got yet, of all its lines.
func (p *process) backlog(sink string) (n uint64, known bool) {
	r, err := p.ready()
	if err != nil {
		return 0, false
	}
	for _, s := range r.Sinks {
		if s.Name == sink && s.Backlog != nil {
			return *s.Backlog, true
		}
	}
	return 0, false
}

// metric adds up a metric over all series that have the labels.
func (p *process) metric(name string, labels ...string) float64 {
	p.t.Helper()
	var body []byte
	eventually(p.t, "/metrics to answer", func() bool {
		var err error
		if _, body, err = p.get("/metrics"); err != nil {
			p.t.Log(err)
		}
		return err == nil
	})
	total := 0.0
series:
	for line := range strings.Lines(string(body)) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || (rest[0] != '{' && rest[0] != ' ') {
			continue
		}
		for _, label := range labels {
			if !strings.Contains(rest, label) {
				continue series
			}
		}
		fields := strings.Fields(rest)
		value, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			p.t.Fatalf("metric %q: %v", line, err)
		}
		total += value
	}
	return total
}

// memory is the resident memory now, and the most it has ever been, in MiB.
func (p *process) memory() (now, peak int) {
	p.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	field := func(name string) int {
		_, rest, ok := bytes.Cut(status, []byte(name+":"))
		fields := bytes.Fields(rest)
		if !ok || len(fields) == 0 {
			p.t.Fatalf("no %s in /proc/pid/status", name)
		}
		n, err := strconv.Atoi(string(fields[0]))
		if err != nil {
			p.t.Fatal(err)
		}
		return n >> 10
	}
	return field("VmRSS"), field("VmHWM")
}

// expectExit fails where the process did not exit with the code.
func (p *process) expectExit(got, want int) {
	p.t.Helper()
	if got != want {
		p.t.Errorf("exit code %d, want %d: %v\n%s", got, want, errors.Join(p.err), tail(p.text(), 3000))
	}
}
