package kafkatest

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// readyTimeout is how long a broker may take to answer. It takes some three
// seconds on two idle cores.
const readyTimeout = 2 * time.Minute

// Broker is one broker of a cluster. Its methods are not for use by several
// goroutines at once.
type Broker struct {
	ID      int
	cluster *Cluster
	dir     string
	ports   []int
	process *process
}

// listener is one of a broker's listeners.
type listener int

const (
	open listener = iota
	sasl
	tls
	mtls
	controller
	portsPerBroker = int(iota)
)

var listenerNames = [...]string{open: "OPEN", sasl: "SASL", tls: "TLS", mtls: "MTLS", controller: "CONTROLLER"}

func listenerPorts(ports []int) []int { return ports[:portsPerBroker] }

func (b *Broker) address(l listener) string { return fmt.Sprintf("127.0.0.1:%d", b.ports[l]) }

// Stop ends the broker as an operator does, and waits until it is gone.
func (b *Broker) Stop(t testing.TB) {
	t.Helper()
	if b.process == nil {
		t.Fatalf("stop broker %d: it does not run", b.ID)
	}
	if !b.process.end(syscall.SIGTERM, time.Minute) {
		t.Errorf("broker %d had to be killed:\n%s", b.ID, b.log())
	}
	b.process = nil
}

// Kill ends the broker with SIGKILL, and waits until it is gone.
func (b *Broker) Kill(t testing.TB) {
	t.Helper()
	if b.process == nil {
		t.Fatalf("kill broker %d: it does not run", b.ID)
	}
	b.kill()
}

func (b *Broker) kill() {
	if b.process != nil {
		b.process.end(syscall.SIGKILL, time.Minute)
		b.process = nil
	}
}

// Restart starts the broker again on the same ports with the same data, and
// returns when it answers.
func (b *Broker) Restart(t testing.TB) {
	t.Helper()
	if err := b.launch(); err != nil {
		t.Fatal(err)
	}
	if err := b.awaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// format writes the broker's properties and makes its data directory, with the
// cluster's SCRAM users in it.
func (b *Broker) format(ctx context.Context, clusterID string, extra map[string]string) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	properties := b.properties()
	maps.Copy(properties, extra)
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(properties)) {
		fmt.Fprintf(&text, "%s=%s\n", key, escapeProperty(properties[key]))
	}
	if err := os.WriteFile(b.propertiesFile(), []byte(text.String()), 0o600); err != nil {
		return err
	}
	args := []string{"format", "-t", clusterID, "-c", b.propertiesFile()}
	for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%q]", mechanism, User, ScramPassword))
	}
	cmd := b.cluster.dist.command(ctx, nil, "kafka.tools.StorageTool", args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("format the storage of broker %d: %w\n%s", b.ID, err, tail(out, 4000))
	}
	return nil
}

// launch starts the broker and does not wait for it.
func (b *Broker) launch() error {
	log, err := os.OpenFile(b.logFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	// The heap is small, and so is the compiler: a test's broker lives for
	// seconds, and shares two cores.
	cmd := b.cluster.dist.command(context.Background(), []string{
		"-Xms64m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=" + b.jwksURL(),
	}, "kafka.Kafka", b.propertiesFile())
	cmd.Stdout, cmd.Stderr = log, log
	b.process, err = startProcess(cmd)
	if err != nil {
		return fmt.Errorf("start broker %d: %w", b.ID, err)
	}
	return nil
}

// awaitReady returns when the broker serves clients and the cluster knows it.
func (b *Broker) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := b.ping(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-b.process.done:
			return fmt.Errorf("broker %d ended while starting:\n%s", b.ID, b.log())
		case <-ctx.Done():
			return fmt.Errorf("broker %d does not answer: %w\n%s", b.ID, err, b.log())
		case <-tick.C:
		}
	}
}

func (b *Broker) ping(ctx context.Context) error {
	conn, err := (&kafka.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", b.address(open))
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	brokers, err := conn.Brokers()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(brokers, func(k kafka.Broker) bool { return k.ID == b.ID }) {
		return fmt.Errorf("broker %d is not among %v", b.ID, brokers)
	}
	return nil
}

// log is the end of what the broker has written.
func (b *Broker) log() []byte {
	text, _ := os.ReadFile(b.logFile())
	return tail(text, 6000)
}

func (b *Broker) logFile() string        { return filepath.Join(b.dir, "kafka.log") }
func (b *Broker) propertiesFile() string { return filepath.Join(b.dir, "server.properties") }
func (b *Broker) jwksURL() string        { return "file://" + b.cluster.creds.files.jwks }

// command is a Java program of the distribution. It writes warnings and errors
// only.
func (d *distribution) command(ctx context.Context, jvm []string, class string, args ...string) *exec.Cmd {
	all := append([]string{
		"-cp", filepath.Join(d.lib, "*"),
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
		"-Dfile.encoding=UTF-8", "-Dsun.jnu.encoding=UTF-8",
	}, jvm...)
	cmd := exec.CommandContext(ctx, d.java, append(append(all, class), args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8") // arguments are read in the locale's encoding
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// process is a child and the goroutine that waits for it.
type process struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// startProcess starts cmd. Its goroutine keeps the thread that started the
// child for as long as the child lives: the kernel's signal at the parent's
// death is bound to that thread.
func startProcess(cmd *exec.Cmd) (*process, error) {
	cmd.SysProcAttr = processAttributes()
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(p.done)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // how it ended is of no interest
		}
	}()
	if err := <-started; err != nil {
		<-p.done
		return nil, err
	}
	return p, nil
}

// end sends a signal and waits until the process is gone; past the time-out it
// kills it and returns false.
func (p *process) end(signal os.Signal, timeout time.Duration) bool {
	_ = p.cmd.Process.Signal(signal) // it may be gone already
	select {
	case <-p.done:
		return true
	case <-time.After(timeout):
	}
	_ = p.cmd.Process.Kill()
	<-p.done
	return false
}
