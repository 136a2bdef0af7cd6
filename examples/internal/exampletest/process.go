package exampletest

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/lqsim"
)

// printed is the line that a consumer in another language prints for a call's pop.
type printed struct {
	ID    string `json:"id"`
	Key   string `json:"key"`
	Agent string `json:"agent"`
	Mode  string `json:"mode"`
}

// Missing ends a test that needs what this machine lacks: it is skipped, or fails
// where the environment has CI=true.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// Prints runs a script in another language, with a NATS server's URL, against a
// simulated day with repeats, broken messages and a restart in the middle, and
// compares what it prints with what the simulator says. Its durable consumer has the
// given name. The script ends well at SIGTERM.
func Prints(t *testing.T, durable, program, script string) {
	// What a test opens decides whether its last result still holds.
	if _, err := os.ReadFile(script); err != nil {
		t.Fatal(err)
	}
	broker := startNATS(t)
	url := broker.Flags[1]
	pops := Simulate(t, Options{
		Agents: []string{"801", "802", "803"}, Pops: 3000, Rate: 5, Seed: 1, Format: lqsim.Mixed, Start: time.Now(),
	})
	want := map[string]printed{}
	var events []schema.Event
	var broken int
	for i, p := range pops {
		if i%100 == 50 {
			broken++
			events = append(events, spoiled(p.Event, i/100)) // and whole, behind it
		}
		events = append(events, p.Event)
		mode := string(p.Mode())
		if mode == "" {
			mode = "unknown"
		}
		want[p.Event.ID] = printed{p.Event.ID, p.Event.Key, p.Agent, mode}
	}

	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	settled := func(*outputtest.Output) bool {
		consumer, err := js.Consumer(t.Context(), "CALLPOP", durable)
		return err == nil && consumer.CachedInfo().NumPending == 0 && consumer.CachedInfo().NumAckPending == 0
	}
	got := map[string]printed{}
	var said strings.Builder
	take := func(what string, is func(*outputtest.Output) bool) {
		t.Helper()
		out, errs := printsUntil(t, what, is, program, script, url)
		said.WriteString(errs)
		once := map[string]bool{}
		for line := range strings.Lines(out) {
			var p printed
			if err := json.Unmarshal([]byte(line), &p); err != nil {
				t.Fatalf("the line %q is no JSON: %v", line, err)
			}
			if once[p.ID] {
				t.Errorf("event %s is printed twice", p.ID)
			}
			once[p.ID], got[p.ID] = true, p
		}
	}
	restart := len(events) * 2 / 3
	broker.Send(t, events[:restart], 0.2, 1)
	take("some pops are printed", func(out *outputtest.Output) bool { return strings.Count(out.String(), "\n") > len(want)/10 })
	broker.Send(t, events[restart:], 0.2, 2)
	broker.Send(t, events[:500], 0, 3)
	take("every message is acknowledged", settled)
	if !maps.Equal(got, want) {
		t.Errorf("%d pops are printed, want %d; or other ones", len(got), len(want))
	}
	if n := strings.Count(said.String(), "passed over: "); n < broken || n != strings.Count(said.String(), "\n") {
		t.Errorf("%d messages are passed over, want at least %d, and nothing else is said: %s", n, broken, said.String())
	}
	for _, p := range pops {
		if n := p.Pop.Number; len(n) > 7 && regexp.MustCompile(`\b`+n+`\b`).MatchString(said.String()) {
			t.Fatal("a customer's number is in what the program says")
		}
	}
}

// spoiled is an event as no consumer can take it.
func spoiled(e schema.Event, how int) schema.Event {
	switch how % 5 {
	case 0:
		e.Body = []byte("no event")
	case 1:
		e.Body = bytes.Replace(e.Body, []byte(`"version":1`), []byte(`"version":2`), 1)
	case 2:
		e.Body = []byte(`["` + e.ID + `"]`)
	case 3:
		e.ID = schema.NewID(e.Time) // of the headers alone
	default:
		e.ID = ""
	}
	return e
}

// printsUntil runs a program until something is so.
func printsUntil(t *testing.T, what string, is func(out *outputtest.Output) bool, program string, args ...string) (out, said string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	var stdout, stderr outputtest.Output
	command := exec.CommandContext(ctx, program, args...)
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	Until(t, what, func() bool {
		select {
		case err := <-ended:
			t.Fatalf("%s ended by itself: %v: %s", program, err, stderr.String())
		default:
		}
		return is(&stdout)
	})
	if err := command.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatalf("%s ended with: %v: %s", program, err, stderr.String())
	}
	return stdout.String(), stderr.String()
}
