package main

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/callpop/connector/internal/outputtest"
)

// terminal opens a terminal and collects what is written to it; what the test
// types goes to keyboard.
func terminal(t *testing.T) (tty, keyboard *os.File, screen *outputtest.Output) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("there are no terminals here: %v", err)
		}
		t.Skipf("there are no terminals here: %v", err)
	}
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	screen = &outputtest.Output{}
	shown := make(chan struct{})
	go func() {
		defer close(shown)
		buffer := make([]byte, 4096)
		for {
			n, err := keyboard.Read(buffer)
			_, _ = screen.Write(buffer[:n])
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = tty.Close() // with it the other side's reads end
		<-shown
		_ = keyboard.Close()
	})
	return tty, keyboard, screen
}

func waitFor(t *testing.T, screen *outputtest.Output, text string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !strings.Contains(screen.String(), text); {
		if time.Now().After(deadline) {
			t.Fatalf("no %q in %q", text, screen)
		}
		time.Sleep(time.Millisecond) // polls what another goroutine writes
	}
}

func TestATerminalIsAskedAndAnythingButYesIsNo(t *testing.T) {
	file := writeConfig(t, toolConfig(""), nil)
	fill(t, file, toolPops(4)...)
	purge := []string{"spool", "purge", "--config", file, "--type", "pops", "--all"}
	for _, c := range []struct {
		answer, want string
		code         int
	}{
		{"\n", "nothing was done", exitFailed},
		{"n\n", "nothing was done", exitFailed},
		{"yesterday\n", "nothing was done", exitFailed},
		{"Y\n", "", exitGood},
	} {
		tty, keyboard, screen := terminal(t)
		var stdout outputtest.Output
		code := make(chan int, 1)
		go func() {
			code <- run(patient(t), world{args: purge, stop: make(chan struct{}), stdin: tty, stdout: &stdout, stderr: tty})
		}()
		waitFor(t, screen, "remove 4 events of type pops from ")
		waitFor(t, screen, "? [y/N] ")
		if _, err := keyboard.WriteString(c.answer); err != nil {
			t.Fatal(err)
		}
		if got := <-code; got != c.code {
			t.Errorf("%q: code %d: %s", c.answer, got, screen)
		}
		waitFor(t, screen, c.want)
		if removed := stdout.String() == "removed 4 events of type pops\n"; removed != (c.code == exitGood) {
			t.Errorf("%q: %s", c.answer, stdout.String())
		}
	}
}

func TestAnInterruptWhileAskedDoesNothing(t *testing.T) {
	file := writeConfig(t, toolConfig(""), nil)
	fill(t, file, toolPops(4)...)
	tty, keyboard, screen := terminal(t)
	stop := make(chan struct{})
	code := make(chan int, 1)
	go func() {
		code <- run(patient(t), world{
			args: []string{"spool", "purge", "--config", file, "--type", "pops", "--all"},
			stop: stop, stdin: tty, stdout: &outputtest.Output{}, stderr: tty,
		})
	}()
	waitFor(t, screen, "? [y/N] ")
	close(stop)
	if got := <-code; got != exitFailed {
		t.Errorf("code %d", got)
	}
	waitFor(t, screen, "nothing was done")
	if _, err := keyboard.WriteString("y\n"); err != nil { // ends the read; nobody heeds it
		t.Fatal(err)
	}
	if got := lines(good(t, "spool", "ls", "--config", file, "--type", "pops", "-o", "json")); len(got) != 4 {
		t.Errorf("%d events are left, want 4", len(got))
	}
}

func TestABarIsForTerminalsOnly(t *testing.T) {
	tty, _, screen := terminal(t)
	bar := newProgress(&world{stderr: tty}, "replay")
	bar.set(0, 0) // nothing is known yet
	bar.set(5, 10)
	waitFor(t, screen, "replay")
	waitFor(t, screen, "5/10")
	bar.end()
	var plain outputtest.Output
	bar = newProgress(&world{stderr: &plain}, "replay")
	bar.set(5, 10)
	bar.end()
	if plain.String() != "" {
		t.Errorf("elsewhere: %q", plain.String())
	}
}
