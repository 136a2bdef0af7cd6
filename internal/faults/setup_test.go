//go:build linux

package faults

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/source/lqsim"
)

// setup is a connector's configuration, kept through its restarts.
type setup struct {
	t   testing.TB
	dir string

	lq     string // the LQ server's address
	agents []string
	// source, spool and more are further lines of the configuration: of the source
	// and of the spool within braces, and at the top level.
	source, spool, more string
	spoolDir            string
	sinks               []string

	healthPort, embeddedPort int
}

func newSetup(t testing.TB, lq string, agents []string) *setup {
	t.Helper()
	if _, err := binary(); err != nil { // now, so that it is in no time measured
		t.Fatal(err)
	}
	dir := t.TempDir()
	return &setup{
		t: t, dir: dir, lq: lq, agents: agents, spoolDir: filepath.Join(dir, "spool"),
		source: "dial_rate: 1000, reconnect_interval: 200ms", spool: "min_free: 0",
		healthPort: freePort(t), embeddedPort: freePort(t),
	}
}

// embedded is the URL of the broker that the spool is to others.
func (s *setup) embedded() string { return fmt.Sprintf("nats://127.0.0.1:%d", s.embeddedPort) }

// write writes the configuration and returns its file.
func (s *setup) write() string {
	s.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "sources:\n  - {name: hq, type: session, address: %q, agents: [%s], registration: 'op={{.Agent}},ch={{.Channel}};', %s}\n",
		s.lq, strings.Join(s.agents, ", "), s.source)
	if len(s.sinks) > 0 {
		fmt.Fprintf(&b, "sinks:\n  - {%s}\n", strings.Join(s.sinks, "}\n  - {"))
	}
	fmt.Fprintf(&b, "spool: {dir: %q, %s}\n", s.spoolDir, s.spool)
	fmt.Fprintf(&b, "embedded: {listen: \"127.0.0.1:%d\"}\n", s.embeddedPort)
	fmt.Fprintf(&b, "http: {health: \"127.0.0.1:%d\"}\n", s.healthPort)
	fmt.Fprintf(&b, "log: {format: json}\n%s\n", s.more)
	file := filepath.Join(s.dir, "connector.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// natsSink is a sink in the configuration.
func natsSink(name, url string) string {
	return fmt.Sprintf("name: %s, type: nats, url: %q, start: all, create: true, duplicates: 100ms", name, url)
}

// agentNumbers are the roster from 801 on, as YAML strings.
func agentNumbers(n int) []string {
	agents := make([]string, n)
	for i := range agents {
		agents[i] = fmt.Sprintf("%q", fmt.Sprint(801+i))
	}
	return agents
}

// startLQ runs an LQ server in this process for the test's time.
func startLQ(t testing.TB, o lqsim.Options) *lqsim.Server {
	t.Helper()
	o.Record = true
	if o.Heartbeat == 0 {
		o.Heartbeat = time.Second
	}
	s, err := lqsim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// waitSessions waits until all of the setup's agents have one.
func (s *setup) waitSessions(lq *lqsim.Server) {
	s.t.Helper()
	if err := lq.WaitSessions(patient(s.t), len(s.agents)); err != nil {
		s.t.Fatalf("%d of %d sessions are up: %v", lq.Totals().Live, len(s.agents), err)
	}
}
