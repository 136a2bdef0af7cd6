package main

import (
	"net/http"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/callpop/connector/internal/outputtest"
)

// child is a run of the connector as a process of its own.
type child struct {
	t      testing.TB
	cmd    *exec.Cmd
	health string
	stderr *outputtest.Output
	ended  chan struct{}
}

// startChild runs the connector with a configuration, to which http.health is
// added, until it is killed or the test ends.
func startChild(t testing.TB, file string, environ ...string) *child {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, health: freeAddress(t), stderr: &outputtest.Output{}, ended: make(chan struct{})}
	c.cmd = exec.Command(self, "run", "--config", file) //nolint:gosec // ourselves
	c.cmd.Env = append(os.Environ(), childVariable+"=1", "CONNECTOR_HTTP__HEALTH="+c.health)
	c.cmd.Env = append(c.cmd.Env, environ...)
	c.cmd.Stderr = c.stderr
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = c.cmd.Wait() // it is killed as a rule
		close(c.ended)
	}()
	t.Cleanup(func() {
		c.kill()
		if t.Failed() {
			t.Log(c.stderr)
		}
	})
	eventually(t, "the connector to be ready", func() bool {
		response, err := http.Get("http://" + c.health + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		http.DefaultClient.CloseIdleConnections()
		return response.StatusCode == http.StatusOK
	})
	return c
}

// kill ends it as kill -9 does.
func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.ended
}

// stop ends it in order.
func (c *child) stop() {
	c.t.Helper()
	_ = c.cmd.Process.Signal(os.Interrupt)
	select {
	case <-c.ended:
	case <-time.After(patience):
		c.t.Fatal("the connector does not end")
	}
}

// eventually asks until ok says so.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v in vain for %s", patience, what)
		}
	}
}
