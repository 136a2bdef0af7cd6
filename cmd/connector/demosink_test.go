package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/callpop/connector/schema"
)

// TestTheDemoGoesThroughASinkOfTheConfiguration: what it shows came back from the
// broker that the sink leads to.
func TestTheDemoGoesThroughASinkOfTheConfiguration(t *testing.T) {
	broker := startNATS(t)
	address := freeAddress(t)
	startKafka(t, address)
	file := writeConfig(t, bothSinks(broker.url(), address), nil)
	for _, sink := range []string{"events", "lake"} {
		t.Run(sink, func(t *testing.T) {
			r := connector(t, "", "demo", "--config", file, "--sink", sink, "--count", "3", "--rate", "50", "--agents", "3", "-o", "json")
			if r.code != exitGood {
				t.Fatalf("code %d: %s", r.code, r.stderr)
			}
			lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
			if len(lines) != 3 {
				t.Fatalf("got %d lines, want 3: %s", len(lines), r.stdout)
			}
			var event struct{ ID, Server string }
			if err := json.Unmarshal([]byte(lines[0]), &event); err != nil || event.Server != "demo" {
				t.Fatalf("got %+v, %v", event, err)
			}
			var events []schema.Event
			if sink == "events" {
				events = received(t, broker.url(), "CALLPOP", 3)
			} else {
				events = readKafka(t, address, "callpop.v1", 3)
			}
			stored := slices.ContainsFunc(events, func(e schema.Event) bool { return e.ID == event.ID })
			if !stored {
				t.Errorf("the broker does not have %s", event.ID)
			}
		})
	}
}

func TestTheDemoNamesASinkThatDoesNotExist(t *testing.T) {
	file := writeConfig(t, bothSinks("nats://127.0.0.1:1", "127.0.0.1:1"), nil)
	r := connector(t, "", "demo", "--config", file, "--sink", "evnts")
	if want := `--sink is "evnts": ` + file + " has no sink of that name"; r.code != exitUsage || !strings.Contains(r.stderr, want) {
		t.Errorf("code %d, %s; want %s", r.code, r.stderr, want)
	}
	r = connector(t, "", "demo", "--config", file, "--sink", "events", "--count", "1")
	if r.code != exitFailed || !strings.Contains(r.stderr, "connect to NATS to read events") {
		t.Errorf("a broker that is away: code %d, %s", r.code, r.stderr)
	}
}
