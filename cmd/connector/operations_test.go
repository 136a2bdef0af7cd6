package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

func TestTheLogLinesInTheRunbookAreThoseThatAreWritten(t *testing.T) {
	root := filepath.Join("..", "..")
	text, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, dir := range []string{"source", "sink", "internal", "cmd"} {
		if err := filepath.WalkDir(filepath.Join(root, dir), func(file string, _ os.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return err
			}
			source, err := os.ReadFile(file)
			code.Write(source)
			return err
		}); err != nil {
			t.Fatal(err)
		}
	}
	_, section, _ := strings.Cut(string(text), "\n## The log\n")
	section, _, _ = strings.Cut(section, "\n## ")
	lines := 0
	for row := range strings.Lines(section) {
		if !strings.HasPrefix(row, "| `") {
			continue
		}
		first := strings.Split(row, "|")[1]
		for i, line := range strings.Split(first, "`") {
			state, ofSession := strings.CutPrefix(line, "session ")
			if i%2 == 0 || ofSession && slices.Contains([]string{"failed", "expired", "reconnecting"}, state) {
				continue // not quoted, or put together of words
			}
			lines++
			if !strings.Contains(code.String(), `"`+line) {
				t.Errorf("nothing logs %q", line)
			}
		}
	}
	if lines < 10 {
		t.Errorf("only %d lines are in the runbook", lines)
	}
}

var updateDocs = flag.Bool("update-docs", false, "write the table of metrics in docs/operations.md anew")

const (
	tableBegins = "<!-- metrics: written by go test ./cmd/connector -run Documented -update-docs -->\n"
	tableEnds   = "<!-- end of metrics -->\n"
)

// metricsTable is what docs/operations.md says of the metrics.
func metricsTable(families []*dto.MetricFamily) string {
	var b strings.Builder
	b.WriteString("| metric | labels | what it is |\n|---|---|---|\n")
	for _, family := range families {
		names := map[string]bool{}
		for _, m := range family.GetMetric() {
			for name := range labelsOf(m) {
				names[name] = true
			}
		}
		fmt.Fprintf(&b, "| `%s` %s | %s | %s |\n", family.GetName(), strings.ToLower(family.GetType().String()),
			strings.Join(slices.Sorted(maps.Keys(names)), ", "), family.GetHelp())
	}
	return b.String()
}

func TestEveryMetricIsDocumentedAsItIs(t *testing.T) {
	d, _ := troubled(t)
	want := metricsTable(ours(d.scrape(t)))
	file := filepath.Join("..", "..", "docs", "operations.md")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, begins := strings.Cut(string(text), tableBegins)
	got, after, ends := strings.Cut(rest, tableEnds)
	if !begins || !ends {
		t.Fatalf("%s has no table of metrics between %q and %q", file, tableBegins, tableEnds)
	}
	if got == want {
		return
	}
	if *updateDocs {
		if err := os.WriteFile(file, []byte(before+tableBegins+want+tableEnds+after), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	t.Errorf("%s is not what /metrics shows; write it anew with -update-docs:\n%s", file, want)
}
