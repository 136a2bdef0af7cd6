package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
)

// theCode is the text of all that the connector is made of, but for its tests.
func theCode(t testing.TB) string {
	t.Helper()
	root := filepath.Join("..", "..")
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
	return code.String()
}

// instrumentNames finds the names of our instruments where they are made or named.
var instrumentNames = regexp.MustCompile(`(?:Metric\w+\s*=\s*|(?:Counter|Gauge|Histogram)\()"(callpop\.[a-z_.]+)"`)

func TestNoMetricOfTheCodeIsMissingInTheRunbook(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := instrumentNames.FindAllStringSubmatch(theCode(t), -1)
	for _, name := range names {
		if !strings.Contains(string(text), "`"+strings.ReplaceAll(name[1], ".", "_")) {
			t.Errorf("%s is not in docs/operations.md", name[1])
		}
	}
	if len(names) < 40 {
		t.Errorf("only %d names are in the code", len(names))
	}
}

func TestTheLogLinesInTheRunbookAreThoseThatAreWritten(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	code := theCode(t)
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
			if !strings.Contains(code, `"`+line) {
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
