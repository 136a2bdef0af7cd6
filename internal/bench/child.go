package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// A child process reads requests as lines of JSON from its standard input and
// answers each with one on its standard output. The first line says what it is to
// be; its end of input ends it, so that none outlives its parent.

// role is what a child is.
type role string

const (
	// RoleConnector is the daemon itself; the command line has it, see [Roles].
	RoleConnector role = "connector"
	roleLoad      role = "load"
	roleNATS      role = "nats"
	roleReader    role = "reader"
	rolePublisher role = "publisher"
	roleFill      role = "fill"
)

// opening is a child's first line.
type opening struct {
	Role    role            `json:"role"`
	Options json.RawMessage `json:"options"`
}

// reply is a child's answer.
type reply struct {
	Answer json.RawMessage `json:"answer,omitempty"`
	Error  string          `json:"error,omitempty"`
}

// request is what a child is asked.
type request struct {
	Ask  string          `json:"ask"`
	With json.RawMessage `json:"with,omitempty"`
}

// child is a process of a run, as its parent sees it.
type child struct {
	role   role
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	stderr *tailWriter

	mu   sync.Mutex // held for a question and its answer
	once sync.Once
	err  error
}

// endTime is how long a child may take to end by itself.
const endTime = 30 * time.Second

// startChild starts a process and returns what it said once it was ready.
func startChild[T any](ctx context.Context, o *Options, r role, options any) (*child, T, error) {
	var ready T
	c := &child{role: r, stderr: &tailWriter{}}
	c.cmd = exec.CommandContext(ctx, o.Child[0], o.Child[1:]...)
	c.cmd.Env, c.cmd.Stderr = o.Environ, c.stderr
	c.cmd.WaitDelay = endTime
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		return nil, ready, err
	}
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, ready, err
	}
	c.stdout = bufio.NewReader(stdout)
	if err := c.cmd.Start(); err != nil {
		return nil, ready, fmt.Errorf("start the %s process: %w", r, err)
	}
	encoded, err := json.Marshal(options)
	if err == nil {
		err = c.exchange(opening{Role: r, Options: encoded}, &ready)
	}
	if err != nil {
		return nil, ready, errors.Join(err, c.stop())
	}
	return c, ready, nil
}

// ask has the child do something and reads its answer into answer; nil: none.
func (c *child) ask(what string, with, answer any) error {
	encoded, err := json.Marshal(with)
	if err != nil {
		return err
	}
	return c.exchange(request{Ask: what, With: encoded}, answer)
}

func (c *child) exchange(question, answer any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := json.NewEncoder(c.stdin).Encode(question); err != nil {
		return c.gone(err)
	}
	line, err := c.stdout.ReadBytes('\n')
	if err != nil {
		return c.gone(err)
	}
	var r reply
	switch err := json.Unmarshal(line, &r); {
	case err != nil:
		return fmt.Errorf("the %s process: %w", c.role, err)
	case r.Error != "":
		return fmt.Errorf("the %s process: %s", c.role, r.Error)
	case answer == nil || len(r.Answer) == 0:
		return nil
	default:
		return json.Unmarshal(r.Answer, answer)
	}
}

// gone is the error of a child that does not answer: what it said last.
func (c *child) gone(err error) error {
	if text := c.stderr.String(); text != "" {
		return fmt.Errorf("the %s process ended: %s", c.role, text)
	}
	return fmt.Errorf("the %s process ended: %w", c.role, err)
}

// usage asks what the child has used.
func (c *child) usage(tidy bool) (u Usage, err error) {
	err = c.ask("usage", tidy, &u)
	return u, err
}

// stop ends the child and waits for it. It is safe to call it twice.
func (c *child) stop() error {
	c.once.Do(func() {
		_ = c.stdin.Close() // its end
		timer := time.AfterFunc(endTime, func() { _ = c.cmd.Process.Kill() })
		defer timer.Stop()
		_, _ = io.Copy(io.Discard, c.stdout)
		if err := c.cmd.Wait(); err != nil {
			c.err = fmt.Errorf("the %s process: %w: %s", c.role, err, c.stderr)
		}
	})
	return c.err
}

// tailWriter keeps the end of what a child wrote for people.
type tailWriter struct {
	mu   sync.Mutex
	text []byte
}

const tailBytes = 4 << 10

func (w *tailWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text = append(w.text, p...)
	if extra := len(w.text) - tailBytes; extra > 0 {
		w.text = append(w.text[:0], w.text[extra:]...)
	}
	return len(p), nil
}

func (w *tailWriter) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.TrimSpace(string(bytes.ToValidUTF8(w.text, []byte("?"))))
}
