package spool

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/callpop/connector/schema"
)

// childVariable makes this test binary a process that emits into the directory
// that it names, and prints each id once Emit has returned nil.
const childVariable = "CALLPOP_TEST_SPOOL"

func childMain() bool {
	dir := os.Getenv(childVariable)
	if dir == "" {
		return false
	}
	s, err := Open(context.Background(), testOptions(dir))
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	for caller := range 8 {
		go func() {
			for n := caller; ; n += 8 {
				e := newEvent(n)
				err := s.Emit(context.Background(), e)
				mu.Lock()
				if err != nil {
					fmt.Println("error:", err)
				} else {
					fmt.Println(e.ID)
				}
				mu.Unlock()
			}
		}()
	}
	select {}
}

func TestNothingAcknowledgedIsLostWhenTheProcessIsKilled(t *testing.T) {
	dir := t.TempDir()
	var want []string
	for round := range 3 {
		want = append(want, killedAfter(t, dir, 500)...)
		s, err := Open(testContext(t), testOptions(dir))
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		state, err := s.State(testContext(t), schema.TypeCallPop)
		if err != nil {
			t.Fatal(err)
		}
		got := make(map[string]int)
		for _, r := range take(t, read(t, s, schema.TypeCallPop, 0), int(state.Messages)) {
			got[r.ID]++
		}
		for _, id := range want {
			if got[id] != 1 {
				t.Fatalf("round %d: %d copies of event %s, which was acknowledged", round, got[id], id)
			}
		}
		closeSpool(t, s)
	}
}

// killedAfter has a child emit and kills it once n events are acknowledged. It
// returns the ids of all that were, also between.
func killedAfter(t *testing.T, dir string, n int) []string {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.HasPrefix(lines.Text(), "error:") {
			t.Errorf("child: %s", lines.Text())
			break
		}
		ids = append(ids, lines.Text())
		if len(ids) == n {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Process.Kill()
	_ = child.Wait() // it was killed
	if len(ids) < n {
		t.Fatalf("the child acknowledged %d of %d events", len(ids), n)
	}
	// A line that the kill cut short is no id.
	return slices.DeleteFunc(ids, func(id string) bool { return len(id) != len(schema.NewID(testStart)) })
}

func TestASecondProcessIsRefusedAndToldWhoHoldsTheDirectory(t *testing.T) {
	dir := t.TempDir()
	openSpool(t, testOptions(dir))
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childVariable+"="+dir)
	out, err := child.CombinedOutput()
	if err == nil {
		t.Fatal("a second process opened the directory")
	}
	for _, want := range []string{dir, "in use by process " + strconv.Itoa(os.Getpid())} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not in %q", want, out)
		}
	}
}
