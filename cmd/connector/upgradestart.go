package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/handover"
)

// upgrading is the one upgrade that may be under way.
type upgrading struct {
	mu    sync.Mutex  // guards what follows
	child *os.Process // nil once it was killed
	// process is its id.
	process int
	// outcome has room for what becomes of the handover; nil where nobody asks.
	outcome chan upgradeOutcome
}

type upgradeOutcome struct {
	done control.Upgraded
	err  error
}

// settle says what became of the handover to a process, which need not be one that was
// started here.
func (u *upgrading) settle(process int, done control.Upgraded, err error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.outcome != nil && u.process == process {
		u.outcome <- upgradeOutcome{done, err}
		u.outcome = nil
	}
}

// forget has nobody wait for outcome any more.
func (u *upgrading) forget(outcome chan upgradeOutcome) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.outcome == outcome {
		u.outcome, u.child = nil, nil
	}
}

// kill ends a successor that was started here, and reports whether it was.
func (u *upgrading) kill(process int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.child == nil || u.process != process {
		return false
	}
	child := u.child
	u.child = nil
	return child.Kill() == nil
}

var errUpgrading = control.Wrong(errors.New("an upgrade is under way"))

// Upgrade implements [control.Daemon]. What it starts goes on by itself, whether or
// not anybody waits for it.
func (d *daemon) Upgrade(ctx context.Context, r control.UpgradeRequest) (control.Upgraded, error) {
	command, err := d.successor(r)
	if err != nil {
		return control.Upgraded{}, control.Wrong(err)
	}
	u := &d.upgrading
	u.mu.Lock()
	if u.outcome != nil {
		u.mu.Unlock()
		return control.Upgraded{}, errUpgrading
	}
	outcome := make(chan upgradeOutcome, 1)
	if err := command.Start(); err != nil {
		u.mu.Unlock()
		return control.Upgraded{}, fmt.Errorf("start the successor: %w", err)
	}
	u.outcome, u.child, u.process = outcome, command.Process, command.Process.Pid
	u.mu.Unlock()
	d.log.Info("a successor was started", "successor", command.Process.Pid, "program", command.Path)

	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }() // it ends with the child, or with this process
	select {
	case o := <-outcome:
		return o.done, o.err
	case <-ctx.Done():
		u.forget(outcome)
		return control.Upgraded{}, context.Cause(ctx)
	case err = <-ended:
	}
	// A handover that was under way has its turn to say what became of it.
	d.desk.turn.Lock()
	defer d.desk.turn.Unlock()
	select {
	case o := <-outcome:
		return o.done, o.err
	default:
	}
	u.forget(outcome)
	d.log.Error("the successor ended before it took anything over: this process goes on", "error", err)
	return control.Upgraded{}, fmt.Errorf("the successor ended before it took anything over: %w: the connector's log has its last words", err)
}

// successor is the command that starts one.
func (d *daemon) successor(r control.UpgradeRequest) (*exec.Cmd, error) {
	program, file := r.Binary, r.Config
	if program == "" {
		program = d.program
	}
	if file == "" {
		file = d.config.File
	}
	switch {
	case !handover.Supported:
		return nil, errors.New("this system cannot pass sockets from one process to another: restart the connector instead")
	case file == "":
		return nil, errNoFile
	case !filepath.IsAbs(program):
		return nil, fmt.Errorf("the successor's program is %q: expected an absolute path", program)
	case os.Getpid() == 1:
		return nil, errors.New("this is process 1 of a container, which ends with it: replace the container instead")
	}
	command := exec.Command(program, "run", "--takeover", "--config", file) //nolint:gosec // whoever may use the control socket may run programs
	command.Env = d.environ
	command.Stdout, command.Stderr = inheritable(d.stdout), inheritable(d.stderr)
	return command, nil
}

// inheritable is w where a child can go on writing to it when this process has ended.
func inheritable(w io.Writer) io.Writer {
	if file, ok := w.(*os.File); ok {
		return file
	}
	return nil
}

// ownProgram is the path of this program as it was started, for a successor: through
// links as they are when it starts, so that one that is switched to another version
// leads there.
func ownProgram() string {
	if len(os.Args) > 0 {
		if path, err := exec.LookPath(os.Args[0]); err == nil {
			if absolute, err := filepath.Abs(path); err == nil {
				return absolute
			}
		}
	}
	path, _ := os.Executable() // empty: then a successor's has to be named
	return path
}
