package collectortest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/callpop/connector/internal/freeport"
)

// patience bounds every wait for something that takes a second on a quiet machine.
const patience = 2 * time.Minute

// Collector is a running collector, or one that was stopped.
type Collector struct {
	t          testing.TB
	dir        string
	grpc, http int
	cmd        *exec.Cmd
	ended      chan struct{}
}

// Start runs a collector on ports of the loopback address until the test ends.
func Start(t testing.TB) *Collector {
	t.Helper()
	ports, err := freeport.Find(2)
	if err != nil {
		t.Fatal(err)
	}
	c := &Collector{t: t, dir: t.TempDir(), grpc: ports[0], http: ports[1]}
	c.Start()
	t.Cleanup(c.Stop)
	return c
}

// HTTP is the endpoint of OTLP over HTTP, GRPC that of OTLP over gRPC.
func (c *Collector) HTTP() string { return fmt.Sprintf("http://127.0.0.1:%d", c.http) }

// GRPC is the endpoint of OTLP over gRPC.
func (c *Collector) GRPC() string { return fmt.Sprintf("http://127.0.0.1:%d", c.grpc) }

const config = `
receivers:
  otlp:
    protocols:
      grpc: {endpoint: "127.0.0.1:%d"}
      http: {endpoint: "127.0.0.1:%d"}
exporters:
  file/traces:  {path: "%[3]s/traces.json", append: true, flush_interval: 100ms}
  file/metrics: {path: "%[3]s/metrics.json", append: true, flush_interval: 100ms}
  file/logs:    {path: "%[3]s/logs.json", append: true, flush_interval: 100ms}
service:
  telemetry: {metrics: {level: none}, logs: {level: warn}}
  pipelines:
    traces:  {receivers: [otlp], exporters: [file/traces]}
    metrics: {receivers: [otlp], exporters: [file/metrics]}
    logs:    {receivers: [otlp], exporters: [file/logs]}
`

// Start starts it again after Stop, on the same ports; what it received stays.
func (c *Collector) Start() {
	c.t.Helper()
	binary := find(c.t)
	file := filepath.Join(c.dir, "otelcol.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, c.grpc, c.http, c.dir), 0o600); err != nil {
		c.t.Fatal(err)
	}
	log, err := os.OpenFile(filepath.Join(c.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = log.Close() }()
	c.cmd = exec.Command(binary, "--config", "file:"+file) //nolint:gosec // built by .ci/collector
	c.cmd.Stdout, c.cmd.Stderr = log, log
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ended := make(chan struct{})
	c.ended = ended
	go func() {
		_ = c.cmd.Wait() // its log says why
		close(ended)
	}()
	c.await("the collector to listen", func() bool {
		select {
		case <-ended:
			text, _ := os.ReadFile(log.Name())
			c.t.Fatalf("the collector ended: %s", text)
		default:
		}
		for _, port := range []int{c.grpc, c.http} {
			var d net.Dialer
			conn, err := d.DialContext(context.Background(), "tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				return false
			}
			_ = conn.Close()
		}
		return true
	})
}

// Stop ends it in order, so that all that it received is in its files.
func (c *Collector) Stop() {
	if c.cmd == nil {
		return
	}
	_ = c.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-c.ended:
	case <-time.After(patience):
		_ = c.cmd.Process.Kill()
		<-c.ended
		c.t.Error("the collector did not end by itself")
	}
	c.cmd = nil
}

// await asks until ok says so.
func (c *Collector) await(what string, ok func() bool) {
	c.t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			c.t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}

// find looks for the collector that .ci/collector builds.
func find(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, ".ci")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Fatal("the repository's root is not above the test")
		}
	}
	binary := filepath.Join(dir, ".cache", "bin", "otelcol")
	if _, err := os.Stat(binary); errors.Is(err, os.ErrNotExist) {
		missing(t, "the OpenTelemetry Collector is missing: .ci/collector builds it")
	} else if err != nil {
		t.Fatal(err)
	}
	return binary
}

func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// Text is everything that was received of all signals, as the collector wrote it.
func (c *Collector) Text() string {
	c.t.Helper()
	var all strings.Builder
	for _, signal := range []string{"traces", "metrics", "logs"} {
		all.Write(c.read(signal))
	}
	return all.String()
}

func (c *Collector) read(signal string) []byte {
	c.t.Helper()
	text, err := os.ReadFile(filepath.Join(c.dir, signal+".json"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		c.t.Fatal(err)
	}
	return text
}
