package bench_test

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// measure measures everything and writes the page's tables.
func (f *figures) measure() {
	duration := f.scale.duration.String()
	most := fmt.Sprint(f.most)

	usual := f.run("--sessions", most, "--rate", "500", "--duration", duration, "--sink", "nats")
	fast := f.run("--sessions", most, "--rate", "0", "--duration", duration, "--sink", "nats")
	lake := f.run("--sessions", most, "--rate", "0", "--duration", duration, "--sink", "kafka", "--kafka", f.kafka)
	burst := f.run("--sessions", most, "--burst", "--sink", "nats")
	idle := f.run("--sessions", most, "--idle", "--duration", f.scale.idle.String())
	nanos, allocs := f.benchmark("^Benchmark(Codec|Event)$", "./source")
	full := f.run("--sessions", "100", "--backlog", "1000000", "--compare=false")

	t := table{"target", "limit", "measured", "bare", "ratio", ""}.start()
	t.target("codec, frame to JSON", "300 ns", nanos["BenchmarkCodec"]*1e-9, 300e-9, 0, inSeconds)
	t.target("its allocations", "0", float64(allocs["BenchmarkCodec"]), 0, 0, plain)
	t.target("whole event", "700 ns", nanos["BenchmarkEvent"]*1e-9, 700e-9, 0, inSeconds)
	t.target("memory a session", "5 KB", idle["connector.bytes_per_session"], 5000, idle["bare_reader.bytes_per_session"], inBytes)
	t.target("all sessions connected", "2 s", usual["connector.connect_seconds"], 2, usual["bare_reader.connect_seconds"], inSeconds)
	t.target("due to acknowledged, p99, 500/s", "3 ms", usual["connector.latency_seconds.acknowledged.p99"], 3e-3, usual["bare_publisher.latency_seconds.acknowledged.p99"], inSeconds)
	t.target("the same beside the bare publisher", "3 times", usual["ratios.acknowledged_p99"], 3, 0, plain)
	t.atLeast("pops a second to JetStream", "half of bare", fast, "ratios.pops_per_second")
	t.atLeast("pops a second to Kafka", "half of bare", lake, "ratios.pops_per_second")
	t.target("burst of one on each session, acknowledged", "1 s", burst["connector.until_seconds.acknowledged"], 1, burst["bare_publisher.until_seconds.acknowledged"], inSeconds)
	t.target("idle, heartbeats every 10 s, CPU", "10 % of a core", idle["connector.cpu_percent"], 10, idle["bare_reader.cpu_percent"], inPercent)
	t.target("start with a million events", "2 s", full["connector.ready_seconds"], 2, 0, inSeconds)
	t.target("binary", "40 MB", float64(f.size), 40e6, 0, inBytes)
	f.write("targets", t.String())
	f.writeMachine()
	targets := f.scale.runs
	f.scale.runs = f.scale.rest

	t = table{"sessions", "connect", "memory each", "due to acknowledged p50", "p99", "bare p99", "CPU a pop", "CPU idle"}.start()
	for _, n := range f.scale.sessions {
		r, quiet := usual, idle
		if n != f.most {
			r = f.run("--sessions", fmt.Sprint(n), "--rate", "500", "--duration", duration, "--sink", "nats")
			quiet = f.run("--sessions", fmt.Sprint(n), "--idle", "--duration", f.scale.idle.String(), "--compare=false")
		}
		t.row(fmt.Sprint(n), inSeconds(r["connector.connect_seconds"]), inBytes(quiet["connector.bytes_per_session"]),
			inSeconds(r["connector.latency_seconds.acknowledged.p50"]), inSeconds(r["connector.latency_seconds.acknowledged.p99"]),
			inSeconds(r["bare_publisher.latency_seconds.acknowledged.p99"]), inSeconds(r["connector.cpu_us_per_pop"]*1e-6), inPercent(quiet["connector.cpu_percent"]))
	}
	f.write("sessions", t.String())

	t = table{"pops a second", "written late p99", "spooled p99", "acknowledged p50", "p99", "p99.9", "delivered p99", "bare publisher p99", "CPU a pop", "CPU of a core", "GC pause p99"}.start()
	for _, rate := range f.scale.rates {
		r := usual
		if rate != 500 {
			r = f.run("--sessions", most, "--rate", fmt.Sprint(rate), "--duration", duration, "--sink", "nats")
		}
		l := func(of string) string { return inSeconds(r["connector.latency_seconds."+of]) }
		t.row(fmt.Sprint(rate), l("written.p99"), l("spooled.p99"), l("acknowledged.p50"), l("acknowledged.p99"), l("acknowledged.p999"), l("delivered.p99"),
			inSeconds(r["bare_publisher.latency_seconds.acknowledged.p99"]), inSeconds(r["connector.cpu_us_per_pop"]*1e-6),
			inPercent(r["connector.cpu_percent"]), inSeconds(r["connector.gc_pause_seconds.p99"]))
	}
	f.write("rates", t.String())

	t = table{"sink", "pops a second, at most", "bare publisher", "ratio", "CPU a pop", "bare reader and publisher", "500/s: delivered p50", "p99"}.start()
	for _, sink := range []struct {
		name string
		args []string
		fast found
	}{{"spool", nil, nil}, {"nats", nil, fast}, {"kafka", []string{"--kafka", f.kafka}, lake}} {
		r, slow := sink.fast, usual
		with := func(args ...string) found {
			return f.run(append(append(args, "--sessions", most, "--duration", duration, "--sink", sink.name), sink.args...)...)
		}
		if r == nil {
			r = with("--rate", "0")
		}
		if sink.name != "nats" {
			slow = with("--rate", "500")
		}
		t.row(sink.name, plainRate(r["connector.pops_per_second"]), plainRate(r["bare_publisher.pops_per_second"]), plain(r["ratios.pops_per_second"]),
			inSeconds(r["connector.cpu_us_per_pop"]*1e-6), inSeconds((r["bare_reader.cpu_us_per_pop"]+r["bare_publisher.cpu_us_per_pop"])*1e-6),
			inSeconds(slow["connector.latency_seconds.delivered.p50"]), inSeconds(slow["connector.latency_seconds.delivered.p99"]))
	}
	f.write("sinks", t.String())
	f.write("backlog", f.backlogs())
	f.scale.runs = targets
	f.writeMachine()
}

// writeMachine says what the figures are of; so far, if not all was measured yet.
func (f *figures) writeMachine() {
	f.write("machine", fmt.Sprintf("%v, %v cores (%v), %v; medians of %d runs for the targets and %d for the rest (%s), %v each; load average before the runs %.1f to %.1f; %s.\n",
		f.machine["system"], f.machine["cpus"], f.machine["cpu"], f.machine["go"], f.scale.runs, f.scale.rest, f.scale.kind, f.scale.duration, f.low, f.high,
		time.Now().UTC().Format(time.DateOnly)))
}

// backlogs is what a start with events in the spool takes, and how fast a NATS
// sink gets them.
func (f *figures) backlogs() string {
	t := table{"events in the spool", "ready after", "delivered a second", "bare publisher", "ratio"}.start()
	for _, n := range f.scale.backlogs {
		if n == 0 {
			r := f.run("--sessions", "1", "--idle", "--duration", "100ms", "--compare=false")
			t.row("0", inSeconds(r["connector.ready_seconds"]), "", "", "")
			continue
		}
		r := f.run("--sessions", "100", "--backlog", fmt.Sprint(n), "--sink", "nats")
		t.row(fmt.Sprint(n), inSeconds(r["connector.ready_seconds"]), plainRate(r["connector.pops_per_second"]),
			plainRate(r["bare_publisher.pops_per_second"]), plain(r["ratios.pops_per_second"]))
	}
	return t.String()
}

// table is a header, or a table of Markdown being written.
type table []string

type markdown struct{ strings.Builder }

func (t table) start() *markdown {
	m := &markdown{}
	m.row(t...)
	m.WriteString(strings.Repeat("|---", len(t)) + "|\n")
	return m
}

func (m *markdown) row(cells ...string) {
	m.WriteString("| " + strings.Join(cells, " | ") + " |\n")
}

// target writes a figure that should be at most limit.
func (m *markdown) target(name, limit string, measured, most, bare float64, show func(float64) string) {
	ratio := ""
	if bare > 0 {
		ratio = plain(measured / bare)
	}
	m.row(name, limit, show(measured), show(bare), ratio, verdict(measured <= most))
}

// atLeast writes a rate that should be at least half of the bare publisher's.
func (m *markdown) atLeast(name, limit string, r found, path string) {
	m.row(name, limit, plainRate(r["connector.pops_per_second"]), plainRate(r["bare_publisher.pops_per_second"]), plain(r[path]), verdict(r[path] >= 0.5))
}

func verdict(met bool) string {
	if met {
		return "met"
	}
	return "**missed**"
}

func inSeconds(s float64) string {
	switch {
	case s <= 0 || math.IsNaN(s):
		return ""
	case s < 1e-6:
		return fmt.Sprintf("%.0f ns", s*1e9)
	case s < 1e-3:
		return fmt.Sprintf("%.0f µs", s*1e6)
	case s < 1:
		return fmt.Sprintf("%.1f ms", s*1e3)
	default:
		return fmt.Sprintf("%.2f s", s)
	}
}

func inBytes(b float64) string {
	switch {
	case b <= 0:
		return ""
	case b < 1e6:
		return fmt.Sprintf("%.1f KB", b/1e3)
	default:
		return fmt.Sprintf("%.1f MB", b/1e6)
	}
}

func inPercent(p float64) string { return fmt.Sprintf("%.1f %%", p) }

func plain(v float64) string {
	if math.IsNaN(v) {
		return ""
	}
	return fmt.Sprintf("%.3g", v)
}

func plainRate(v float64) string {
	if v <= 0 {
		return ""
	}
	return fmt.Sprintf("%.0f", v)
}
