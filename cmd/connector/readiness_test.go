package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestReadyzShowsWhatDamageTookAndFromWhom(t *testing.T) {
	file := writeConfig(t, toolConfig(`{name: crm, type: nats, url: "nats://127.0.0.1:1", start: all}`), nil)
	fill(t, file, toolPops(30)...)
	blocks, err := filepath.Glob(filepath.Join(filepath.Dir(file), "spool", "*", "*", "*", "CALLPOP", "msgs", "*.blk"))
	if err != nil || len(blocks) != 1 {
		t.Fatalf("blocks %q, %v", blocks, err)
	}
	block, err := os.ReadFile(blocks[0])
	if err != nil {
		t.Fatal(err)
	}
	block[len(block)/2] ^= 1
	if err := os.WriteFile(blocks[0], block, 0o600); err != nil {
		t.Fatal(err)
	}

	d := start(t, file)
	status, body := d.ready(t, "")
	if status != http.StatusOK || !body.Ready || body.Spool == nil || len(body.Spool.Lost) != 1 {
		t.Fatalf("readyz %d, %+v", status, body)
	}
	lost := body.Spool.Lost[0]
	if lost.Type != "callpop.v1" || lost.Events != 1 || lost.From != lost.To || lost.From < 2 || lost.From > 29 ||
		lost.FoundAt.IsZero() || !lost.StoredAfter.Before(lost.StoredBefore) || lost.Undelivered["crm"] != 1 {
		t.Errorf("spool.lost %+v", lost)
	}
	// The sink comes to it, and says what took it.
	for deadline := time.Now().Add(patience); lineLost(t, d, "crm") != 1; {
		if time.Now().After(deadline) {
			t.Fatal("the sink's line has not lost it")
		}
	}
	if err := d.end(); err != nil {
		t.Error(err)
	}
	for said, want := range map[string]bool{"events in the spool were damaged before the sink had them": true, "its limits are too small": false} {
		if got := strings.Contains(d.stderr.String(), said); got != want {
			t.Errorf("%q was said: %t, want %t:\n%s", said, got, want, d.stderr)
		}
	}
}

// lineLost is what /readyz says that a sink's line of pops has lost.
func lineLost(t *testing.T, d *running, sink string) uint64 {
	t.Helper()
	_, body := d.ready(t, "")
	for _, s := range body.Sinks {
		for _, l := range s.Lines {
			if s.Name == sink && l.Type == "callpop.v1" {
				return l.Lost
			}
		}
	}
	t.Fatalf("readyz has no line of pops to %s: %+v", sink, body.Sinks)
	return 0
}
