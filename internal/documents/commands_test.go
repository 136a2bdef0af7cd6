package documents

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/callpop/connector/internal/outputtest"
)

// patience is how long a command may take on a machine with other things to do.
const patience = 3 * time.Minute

// how is the way in which a command of the README is run, where not as it is.
type how struct {
	// until is what it prints when it works. It is interrupted then, and has to end
	// in order.
	until string
	// elsewhere is a file and what it says: the command is run there, or what it
	// needs is not to be had in a test.
	elsewhere, says string
	// instead is as much of it as a test can do, in the repository; needs is a file
	// there without which it cannot.
	instead, needs string
}

// special are the commands that do not simply run and end.
var special = map[string]how{
	"go run ./cmd/connector demo":             {until: `(?s)Interrupt to end\..*\n[0-9:.]+ +8`},
	"go test ./...":                           {elsewhere: ".ci/run", says: "step 'test' go test ./..."},
	"connector run   --config connector.yaml": {until: `all sessions are up`},
	"connector capture --listen 0.0.0.0:7628 --upstream 10.0.0.5:7628 --out lq.capture": {until: `recording between`},
	"make image": {elsewhere: ".ci/run", says: "step 'image' .ci/image"},
	"kubectl create secret generic callpop-readers --from-literal=password=secret --from-literal=login=reader:secret": {
		elsewhere: "charts/connector/examples/trial.yaml", says: "callpop-readers",
	},
	"helm install trial charts/connector --values charts/connector/examples/trial.yaml --set image.registry=registry.example.com": {
		instead: ".cache/charts/helm template --kube-version 1.34.0 trial charts/connector --values charts/connector/examples/trial.yaml --set image.registry=registry.example.com >/dev/null",
		needs:   ".cache/charts/helm",
	},
}

// TestTheReadmesCommandsRun runs the fenced blocks of the README, line by line, in
// the order in which they stand. Both languages have the same ones. The hosts of
// the example are those of this test: a simulated LQ server and a NATS server.
func TestTheReadmesCommandsRun(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and runs programs: not with -short")
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	shell := &shell{root: root, dir: dir, hosts: strings.NewReplacer(
		"10.0.0.5:7628", freeAddress(t), "nats://nats:4222", startNATS(t), "/var/lib/connector", filepath.Join(dir, "spool"),
		"0.0.0.0:8080", freeAddress(t), "0.0.0.0:7628", freeAddress(t),
	)}
	shell.mustEnd(t, "go", "build", "-o", filepath.Join(dir, "bin", "connector"), "./cmd/connector")
	simulator := shell.start(t, "connector simulate --agents 801-830 --listen 10.0.0.5:7628")
	simulator.wait(t, regexp.MustCompile(`10\.|127\.`))
	defer simulator.interrupt(t)

	ran, used := 0, map[string]bool{}
	for _, block := range parse(readme).blocks {
		language, content, _ := strings.Cut(block, "\n")
		switch {
		case language == "yaml" && strings.HasPrefix(content, "# connector.yaml\n"):
			if err := os.WriteFile(filepath.Join(dir, "connector.yaml"), []byte(shell.hosts.Replace(content)), 0o600); err != nil {
				t.Fatal(err)
			}
		case language == "sh" || language == "":
			for line := range strings.Lines(content) {
				command := strings.TrimSpace(regexp.MustCompile(`\s# .*`).ReplaceAllString(line, ""))
				if !regexp.MustCompile(`^(go|make|connector|kubectl|helm) `).MatchString(command) {
					continue // a pop string
				}
				ran++
				used[command] = true
				shell.runLine(t, command)
			}
		}
	}
	for command := range special {
		if !used[command] {
			t.Errorf("the README has no command %q", command)
		}
	}
	if ran == len(special) {
		t.Error("no command simply runs and ends: the blocks were not found")
	}
}

// inRepository are the commands that a reader gives where the repository is.
var inRepository = regexp.MustCompile(`^(bash -ec )?(exec )?(go|make) `)

// shell runs commands where a reader would: go and make in the repository, the
// connector beside its configuration.
type shell struct {
	root, dir string
	hosts     *strings.Replacer
}

func (s *shell) runLine(t *testing.T, command string) {
	t.Helper()
	h := special[command]
	switch {
	case h.elsewhere != "":
		content, err := os.ReadFile(filepath.Join(s.root, h.elsewhere))
		if err != nil || !strings.Contains(string(content), h.says) {
			t.Errorf("%s: %s no longer says %q: %v", command, h.elsewhere, h.says, err)
		}
	case h.instead != "":
		if _, err := os.Stat(filepath.Join(s.root, h.needs)); err != nil && os.Getenv("CI") != "true" {
			t.Logf("%s: not run: %s is missing: .ci/chart-tools builds it", command, h.needs)
			return
		}
		s.mustEnd(t, "bash", "-ec", "cd "+s.root+" && "+h.instead)
	case h.until != "":
		p := s.start(t, command)
		p.wait(t, regexp.MustCompile(h.until))
		p.interrupt(t)
	default:
		s.mustEnd(t, "bash", "-ec", s.hosts.Replace(command))
	}
}

func (s *shell) command(ctx context.Context, name string, arguments ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, name, arguments...) //nolint:gosec // the README's
	c.Env = append(os.Environ(), "PATH="+filepath.Join(s.dir, "bin")+":"+os.Getenv("PATH"))
	c.Dir = s.dir
	if inRepository.MatchString(strings.Join(c.Args, " ")) {
		c.Dir = s.root
	}
	// An interrupt is for what go run started too, as in a terminal.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	c.Cancel = func() error { return syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }
	return c
}

func (s *shell) mustEnd(t *testing.T, name string, arguments ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if said, err := s.command(ctx, name, arguments...).CombinedOutput(); err != nil {
		t.Errorf("%s %q: %v\n%s", name, arguments, err, said)
	}
}

// process is a command that runs until it is interrupted.
type process struct {
	line  string
	c     *exec.Cmd
	said  *outputtest.Output
	ended chan error
}

func (s *shell) start(t *testing.T, line string) *process {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
	p := &process{line, s.command(ctx, "bash", "-ec", "exec "+s.hosts.Replace(line)), &outputtest.Output{}, make(chan error, 1)}
	p.c.Stdout, p.c.Stderr = p.said, p.said
	if err := p.c.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	go func() {
		defer cancel()
		p.ended <- p.c.Wait()
	}()
	return p
}

// wait waits until the command has printed what matches.
func (p *process) wait(t *testing.T, until *regexp.Regexp) {
	t.Helper()
	for !until.MatchString(p.said.String()) {
		select {
		case err := <-p.ended:
			p.ended <- err
			t.Fatalf("%s ended before it printed %s: %v\n%s", p.line, until, err, p.said)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// interrupt ends the command as ctrl-C in a terminal does.
func (p *process) interrupt(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(-p.c.Process.Pid, syscall.SIGINT); err != nil {
		t.Errorf("%s: %v", p.line, err)
	}
	err := <-p.ended
	if strings.HasPrefix(p.line, "go run ") && !strings.Contains(p.said.String(), "exit status") {
		err = nil // go run itself ends with 1 after an interrupt, and names the program's code where it failed
	}
	if err != nil {
		t.Errorf("%s: interrupted, it ended with %v\n%s", p.line, err, p.said)
	}
}

// freeAddress is one that nobody listens on, for a program that has to be told.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func startNATS(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not start")
	}
	return s.ClientURL()
}
