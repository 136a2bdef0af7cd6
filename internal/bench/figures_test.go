package bench_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/internal/kafkatest"
)

// TestFigures measures every figure of docs/performance.md and writes them into
// it. CONNECTOR_BENCH is full, targets for short runs and medians for the targets
// alone, or quick for a run of each in a few minutes; make bench, bench-targets and
// bench-quick set it.
func TestFigures(t *testing.T) {
	var s scale
	switch kind := os.Getenv("CONNECTOR_BENCH"); kind {
	case "":
		t.Skip("CONNECTOR_BENCH is not set: make bench measures")
	case "full":
		s = scale{
			kind: kind, runs: 5, rest: 5, duration: 20 * time.Second, idle: time.Minute, backlogs: []int{0, 10_000, 100_000, 1_000_000},
			sessions: []int{1, 10, 100, 1000, 10_000}, rates: []float64{100, 500, 1000, 2000, 5000, 10_000}, count: 5,
		}
	case "targets":
		s = scale{
			kind: kind, runs: 5, rest: 1, duration: 5 * time.Second, idle: time.Minute, backlogs: []int{0, 100_000, 1_000_000},
			sessions: []int{1, 10, 100, 1000, 10_000}, rates: []float64{500, 1000, 2000, 5000}, count: 5,
		}
	case "quick":
		s = scale{
			kind: kind, runs: 1, rest: 1, duration: 3 * time.Second, idle: 20 * time.Second, backlogs: []int{0, 100_000, 1_000_000},
			sessions: []int{1, 100, 10_000}, rates: []float64{500, 2000, 5000}, count: 2,
		}
	default:
		t.Fatalf("CONNECTOR_BENCH is %q: expected full, targets or quick", kind)
	}
	f := &figures{t: t, scale: s, most: s.sessions[len(s.sessions)-1]}
	f.build()
	f.kafka = os.Getenv("KAFKA_BROKERS")
	if f.kafka == "" {
		f.kafka = strings.Join(kafkatest.Start(t, kafkatest.Options{}).Addresses(), ",")
	}
	f.measure()
}

// scale is how much is measured.
type scale struct {
	kind string
	// runs is how often the targets are measured, rest all else, count the stages.
	runs, rest, count int
	duration, idle    time.Duration
	sessions          []int
	rates             []float64
	backlogs          []int
}

type figures struct {
	t      *testing.T
	scale  scale
	most   int // sessions
	binary string
	size   int64
	kafka  string
	// machine is what the runs said of it, load the least and the most.
	machine   map[string]any
	low, high float64
}

// root is the repository's.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// build builds the binary as a release is built.
func (f *figures) build() {
	f.t.Helper()
	f.binary = filepath.Join(f.t.TempDir(), "connector")
	cmd := exec.CommandContext(f.t.Context(), "make", "--silent", "build", "OUT="+f.binary) //nolint:gosec // our own
	cmd.Dir = root(f.t)
	if out, err := cmd.CombinedOutput(); err != nil {
		f.t.Fatalf("%v: %s", err, out)
	}
	info, err := os.Stat(f.binary)
	if err != nil {
		f.t.Fatal(err)
	}
	f.size = info.Size()
}

// found is the median of each figure over the runs, by its path in the JSON.
type found map[string]float64

// run measures one thing some times.
func (f *figures) run(args ...string) found {
	f.t.Helper()
	all := map[string][]float64{}
	for i := range f.scale.runs {
		f.t.Logf("%d of %d: connector bench %s", i+1, f.scale.runs, strings.Join(args, " "))
		ctx, cancel := context.WithTimeout(f.t.Context(), 15*time.Minute)
		cmd := exec.CommandContext(ctx, f.binary, append([]string{"bench", "-o", "json"}, args...)...)
		cmd.Stderr = os.Stderr
		out, err := cmd.Output()
		cancel()
		if err != nil {
			f.t.Fatalf("%v: %s", err, out)
		}
		var result map[string]any
		if err := json.Unmarshal(out, &result); err != nil {
			f.t.Fatal(err)
		}
		f.machine, _ = result["machine"].(map[string]any)
		if load, ok := f.machine["load"].(float64); ok {
			if f.low == 0 || load < f.low {
				f.low = load
			}
			f.high = max(f.high, load)
		}
		flatten("", result, all)
	}
	medians := found{}
	for path, values := range all {
		medians[path] = median(values)
	}
	return medians
}

func flatten(path string, value any, into map[string][]float64) {
	switch v := value.(type) {
	case float64:
		into[path] = append(into[path], v)
	case map[string]any:
		for name, inner := range v {
			flatten(strings.TrimPrefix(path+"."+name, "."), inner, into)
		}
	}
}

func median(values []float64) float64 {
	slices.Sort(values)
	n := len(values)
	if n == 0 {
		return math.NaN()
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

var benchLine = regexp.MustCompile(`(?m)^(Benchmark\S+)\s.*?([0-9.]+) ns/op(?:.*?([0-9]+) allocs/op)?`)

// benchmark runs Go benchmarks, one core, and returns the median of ns/op and the
// most allocations of each.
func (f *figures) benchmark(pattern, in string) (nanos map[string]float64, allocs map[string]int) {
	f.t.Helper()
	cmd := exec.CommandContext(f.t.Context(), "go", "test", "-run", "^$", "-bench", pattern, "-benchmem", "-cpu", "1",
		"-count", strconv.Itoa(f.scale.count), in)
	cmd.Dir = root(f.t)
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("%v: %s", err, out)
	}
	all := map[string][]float64{}
	nanos, allocs = map[string]float64{}, map[string]int{}
	for _, m := range benchLine.FindAllStringSubmatch(string(out), -1) {
		ns, _ := strconv.ParseFloat(m[2], 64) // digits, as matched
		all[m[1]] = append(all[m[1]], ns)
		n, _ := strconv.Atoi(m[3])
		allocs[m[1]] = max(allocs[m[1]], n)
	}
	for name, values := range all {
		nanos[name] = median(values)
	}
	return nanos, allocs
}

// write puts a table between its marks on the page, in both languages, as soon as
// it is measured: what fails hours later must not take it along.
func (f *figures) write(name, table string) {
	f.t.Helper()
	for _, page := range []string{"performance.md", "performance.zh-CN.md"} {
		f.writeTo(filepath.Join(root(f.t), "docs", page), name, table)
	}
}

func (f *figures) writeTo(path, name, table string) {
	f.t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	begin, end := fmt.Sprintf("<!-- %s -->\n", name), fmt.Sprintf("<!-- end of %s -->", name)
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !ok || !closed {
		f.t.Fatalf("%s has no place for %s", path, name)
	}
	if err := os.WriteFile(path, []byte(before+begin+table+end+after), 0o644); err != nil {
		f.t.Fatal(err)
	}
}
