package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	cloudevents "github.com/cloudevents/sdk-go/v2/event"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/schema"
)

// eachWay runs a test with the daemon at work, and after it has ended; emit puts
// events into the spool.
func eachWay(t *testing.T, file string, test func(t *testing.T, emit func(...schema.Event))) {
	t.Helper()
	t.Run("running", func(t *testing.T) {
		d := start(t, file)
		test(t, d.emit)
		if err := d.end(); err != nil {
			t.Error(err)
		}
	})
	t.Run("not running", func(t *testing.T) {
		test(t, func(events ...schema.Event) { fill(t, file, events...) })
	})
}

// emit puts events into the spool.
func (r *running) emit(events ...schema.Event) {
	r.t.Helper()
	for _, e := range events {
		if err := r.spool.Emit(patient(r.t), e); err != nil {
			r.t.Fatal(err)
		}
	}
}

// good runs a command that must succeed and returns its output.
func good(t *testing.T, args ...string) string {
	t.Helper()
	r := connector(t, "", args...)
	if r.code != exitGood {
		t.Fatalf("%v: code %d: %s%s", args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// toolConfig has a spool, a source that finds no server, and sinks.
func toolConfig(sinks string) string {
	return `
sources:
  - {name: hq, type: session, address: "127.0.0.1:1", agents: ["801-803"], registration: 'op={{.Agent}};', area_code: "025", reconnect_interval: 1h}
spool: {dir: "{DIR}", min_free: 0}
http: {health: "127.0.0.1:0"}
shutdown_timeout: 2s
sinks: [` + sinks + "]\n"
}

const customerNumber = "13812345678"

// toolPop makes the n-th pop: ten calls, three agents, one a minute until now.
func toolPop(n, of int) schema.Event {
	at := time.Now().Add(-time.Duration(of-n) * time.Minute).UTC()
	p := schema.CallPop{
		ID: schema.NewID(at), Version: 1, Key: fmt.Sprint("hq/", n%10), Server: "hq",
		Agent: schema.Agent{ID: fmt.Sprint(801 + n%3)}, Customer: schema.Customer{Number: customerNumber},
		Call: schema.Call{SN: fmt.Sprint(n % 10)}, Format: schema.T1V5, Raw: "ph=" + customerNumber + ",da=<张三&>",
		Source: schema.Source{Type: "session", Name: "hq"}, ReceivedAt: at,
	}
	return p.Event()
}

// fill puts events into the spool while no daemon is to run.
func fill(t *testing.T, file string, events ...schema.Event) {
	t.Helper()
	d := start(t, file)
	d.emit(events...)
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
}

func toolPops(n int) []schema.Event {
	events := make([]schema.Event, n)
	for i := range events {
		events[i] = toolPop(i, n)
	}
	return events
}

func lines(text string) []string {
	if text == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(text, "\n"), "\n")
}

func TestTheSpoolIsLookedAtWhetherAConnectorRunsOrNot(t *testing.T) {
	file := writeConfig(t, toolConfig(""), nil)
	events := toolPops(30)
	fill(t, file, events...)
	eachWay(t, file, func(t *testing.T, _ func(...schema.Event)) {
		var o control.Overview
		if err := json.Unmarshal([]byte(good(t, "spool", "stat", "--config", file, "-o", "json")), &o); err != nil {
			t.Fatal(err)
		}
		if o.Streams[0].Events != 30 || o.Streams[0].Type != schema.TypeCallPop || o.State != "serving" {
			t.Errorf("stat %+v", o)
		}
		text := good(t, "spool", "stat", "--config", file)
		if !strings.Contains(text, "spool "+o.SpoolID) || !strings.Contains(text, "no sink has a cursor") || !strings.Contains(text, "pops ") {
			t.Errorf("stat:\n%s", text)
		}

		text = good(t, "spool", "ls", "--config", file, "--type", "pops")
		if got := lines(text); len(got) != 31 || !strings.HasPrefix(got[0], "TIME ") || !strings.Contains(got[3], events[2].ID) {
			t.Errorf("ls:\n%s", text)
		}
		if strings.Contains(text, customerNumber) || !strings.Contains(text, "138****5678") {
			t.Errorf("the numbers are not masked:\n%s", text)
		}
		if text := good(t, "spool", "ls", "--config", file, "--numbers", "--limit", "1"); !strings.Contains(text, customerNumber) {
			t.Errorf("--numbers:\n%s", text)
		}
		dir := filepath.Join(filepath.Dir(file), "spool")
		for _, c := range []struct {
			args []string
			want []schema.Event
		}{
			{[]string{"--agent", "802", "--limit", "2"}, []schema.Event{events[1], events[4]}},
			{[]string{"--key", "hq/7"}, []schema.Event{events[7], events[17], events[27]}},
			{[]string{"--type", "pops", "--since", "150s"}, events[28:]},
			{[]string{"--type", "pops", "--until", events[2].Time.Format(time.RFC3339Nano)}, events[:2]},
			{[]string{"--server", "hq2"}, nil},
			{[]string{"--type", "dead-letters"}, nil},
		} {
			var want string
			for _, e := range c.want {
				want += string(e.Body) + "\n"
			}
			args := append([]string{"spool", "ls", "--dir", dir, "-o", "json"}, c.args...)
			if got := good(t, args...); got != want {
				t.Errorf("%v:\n%s\nwant\n%s", c.args, got, want)
			}
		}

		text = good(t, "spool", "verify", "--config", file)
		if got := lines(text); len(got) != 3 || !strings.Contains(got[0], "good") || !strings.Contains(got[0], "30 events") {
			t.Errorf("verify:\n%s", text)
		}
		var verdicts []control.Verdict
		if err := json.Unmarshal([]byte(good(t, "spool", "verify", "--dir", dir, "-o", "json", "--type", "pops")), &verdicts); err != nil {
			t.Fatal(err)
		}
		if len(verdicts) != 1 || verdicts[0].Events != 30 || !verdicts[0].Good() {
			t.Errorf("verify %+v", verdicts)
		}
	})
}

func TestSessionsAndDeadLettersAreListedForPeople(t *testing.T) {
	file := writeConfig(t, toolConfig(""), nil)
	letter := schema.DeadLetter{
		ID: schema.NewID(time.Now()), Version: 1, Server: "hq", Reason: schema.ReasonRefused, Sink: "lake", Detail: "too\x1b[2Jlarge",
		ReceivedAt: time.Now(), Source: schema.Source{Type: "session", Name: "hq"},
	}
	failed := schema.SessionChanged{
		ID: schema.NewID(time.Now()), Version: 1, Server: "hq", Agent: "811", State: schema.Failed, Cause: "connection refused",
		At: time.Now(), Source: schema.Source{Type: "session", Name: "hq"},
	}
	fill(t, file, letter.Event(), failed.Event())
	text := good(t, "spool", "ls", "--config", file, "--agent", "811")
	if got := lines(text); len(got) != 2 || !strings.Contains(got[1], "sessions") || !strings.HasSuffix(got[1], "failed: connection refused") {
		t.Errorf("sessions:\n%s", text)
	}
	text = good(t, "spool", "ls", "--config", file, "--type", "dead-letters")
	if !strings.Contains(text, "refused by lake: too") || strings.Contains(text, "\x1b") {
		t.Errorf("dead letters:\n%s", text)
	}
}

func TestAnExportIsCloudEventsWithTheVeryBodies(t *testing.T) {
	file := writeConfig(t, toolConfig(""), nil)
	events := toolPops(12)
	events[3].TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	events[4].Body = []byte("no JSON\xff")
	fill(t, file, events...)
	check := func(t *testing.T, text string) {
		t.Helper()
		got := lines(text)
		if len(got) != 12 {
			t.Fatalf("%d lines, want 12", len(got))
		}
		for i, line := range got {
			var e cloudevents.Event
			if err := json.Unmarshal([]byte(line), &e); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			if err := e.Validate(); err != nil {
				t.Errorf("%s: %v", line, err)
			}
			want := events[i]
			extensions := e.Extensions()
			if e.ID() != want.ID || e.Type() != "callpop.v1" || e.Source() != "/lq/hq" || e.Subject() != want.Agent || !e.Time().Equal(want.Time) ||
				extensions["partitionkey"] != want.Key || !bytes.Equal(e.Data(), want.Body) {
				t.Errorf("got %s, want %+v", line, want)
			}
			if (extensions["traceparent"] == want.TraceParent) != (want.TraceParent != "") {
				t.Errorf("traceparent %v", extensions["traceparent"])
			}
		}
	}
	eachWay(t, file, func(t *testing.T, _ func(...schema.Event)) {
		check(t, good(t, "spool", "export", "--config", file, "--type", "pops"))
		out := filepath.Join(t.TempDir(), "events.ndjson")
		r := connector(t, "", "spool", "export", "--config", file, "--type", "pops", "--out", out)
		if r.code != exitGood || r.stdout != "" || !strings.Contains(r.stderr, "12 events in ") {
			t.Errorf("code %d: %s%s", r.code, r.stdout, r.stderr)
		}
		text, err := os.ReadFile(out) //nolint:gosec // the test's own
		if err != nil {
			t.Fatal(err)
		}
		check(t, string(text))
		if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%v, %v", info.Mode(), err)
		}
		if r := connector(t, "", "spool", "export", "--config", file, "--out", out); r.code != exitUsage || !strings.Contains(r.stderr, "exists") {
			t.Errorf("an existing file: code %d: %s", r.code, r.stderr)
		}
	})
}

func TestAPurgeShowsAsksAndRefusesWhatIsNotDelivered(t *testing.T) {
	file := writeConfig(t, toolConfig(`{name: events, type: nats, url: "nats://127.0.0.1:1"}`), nil)
	eachWay(t, file, func(t *testing.T, emit func(...schema.Event)) {
		dir := filepath.Join(filepath.Dir(file), "spool")
		emit(toolPops(10)...)
		r := connector(t, "", "spool", "purge", "--config", file, "--type", "pops", "--until", "150s", "--yes")
		if r.code != exitFailed || !strings.Contains(r.stderr, "sink events has not had 8 of them") || !strings.Contains(r.stderr, "--undelivered") || r.stdout != "" {
			t.Errorf("code %d: %s%s", r.code, r.stdout, r.stderr)
		}
		r = connector(t, "", "spool", "purge", "--config", file, "--type", "pops", "--until", "150s", "--undelivered")
		if r.code != exitUsage || !strings.Contains(r.stderr, "remove 8 events of type pops") || !strings.Contains(r.stderr, "--yes") {
			t.Errorf("not confirmed: code %d: %s", r.code, r.stderr)
		}
		if text := good(t, "spool", "purge", "--config", file, "--type", "pops", "--until", "150s", "--undelivered", "--yes"); text != "removed 8 events of type pops\n" {
			t.Errorf("purge: %s", text)
		}
		var result control.PurgeResult
		text := good(t, "spool", "purge", "--dir", dir, "--type", "pops", "--all", "--undelivered", "--yes", "-o", "json")
		if err := json.Unmarshal([]byte(text), &result); err != nil || result.Events != 2 || !result.Removed || result.Undelivered[0].Sink != "events" {
			t.Errorf("%s: %v", text, err)
		}
		if text := good(t, "spool", "purge", "--config", file, "--type", "pops", "--all"); text != "removed 0 events of type pops\n" {
			t.Errorf("of nothing: %s", text)
		}
	})
}

func TestARunningConnectorWorksWithoutItsSocket(t *testing.T) {
	file := writeConfig(t, toolConfig(""), nil)
	fill(t, file)
	// A socket cannot take the place of a directory.
	if err := os.MkdirAll(filepath.Join(filepath.Dir(file), "spool", "control.sock", "x"), 0o700); err != nil {
		t.Fatal(err)
	}
	d := start(t, file)
	if !strings.Contains(d.stderr.String(), "cannot reach this connector") {
		t.Errorf("the log: %s", d.stderr)
	}
	r := connector(t, "", "spool", "stat", "--config", file)
	if r.code != exitFailed || !strings.Contains(r.stderr, "in use by process") || !strings.Contains(r.stderr, "try again") || strings.Count(r.stderr, "\n") != 1 {
		t.Errorf("code %d: %s", r.code, r.stderr)
	}
	if err := d.end(); err != nil {
		t.Error(err)
	}
}

func TestADamagedSpoolIsExitCodeOne(t *testing.T) {
	file := writeConfig(t, toolConfig(""), nil)
	bad := toolPop(1, 1)
	bad.Body = []byte("no JSON")
	fill(t, file, append(toolPops(5), bad)...)
	eachWay(t, file, func(t *testing.T, _ func(...schema.Event)) {
		r := connector(t, "", "spool", "verify", "--config", file)
		if r.code != exitFailed || !strings.Contains(r.stdout, "DAMAGED") || !strings.Contains(r.stdout, "  6: invalid: the body is not JSON") || r.stderr != "" {
			t.Errorf("code %d: %s%s", r.code, r.stdout, r.stderr)
		}
	})
}

func TestATimeIsAgoOrADayOrAnInstant(t *testing.T) {
	now := time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"":                            {},
		"90m":                         now.Add(-90 * time.Minute),
		"0s":                          now,
		"2026-03-04T01:02:03Z":        time.Date(2026, 3, 4, 1, 2, 3, 0, time.UTC),
		"2026-03-04T01:02:03.5+08:00": time.Date(2026, 3, 3, 17, 2, 3, 5e8, time.UTC),
		"2026-03-04T01:02:03":         time.Date(2026, 3, 4, 1, 2, 3, 0, time.Local),
		"2026-03-04 01:02":            time.Date(2026, 3, 4, 1, 2, 0, 0, time.Local),
		"2026-03-04":                  time.Date(2026, 3, 4, 0, 0, 0, 0, time.Local),
	} {
		if got, err := parseTime("--since", text, now); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"yesterday", "-2h", "12", "2026-13-01", "2026-03-04T01", "1d"} {
		if got, err := parseTime("--since", text, now); err == nil || !strings.Contains(err.Error(), "--since is ") {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}

func TestWrongUseOfTheSpoolToolsIsCodeTwo(t *testing.T) {
	file := writeConfig(t, toolConfig(""), nil)
	fill(t, file)
	empty := t.TempDir()
	for _, c := range []struct {
		args string
		want string
	}{
		{"spool", "sub-command is missing"},
		{"spool frob", `unknown command "frob"`},
		{"dlq", "sub-command is missing"},
		{"dlq frob", `unknown command "frob"`},
		{"spool stat", "--config and --dir are missing"},
		{"spool stat --config {FILE} --dir x", "if any flags in the group"},
		{"spool stat --dir {EMPTY}", "there is no spool in"},
		{"spool stat --dir /no/such/dir", "there is no spool in"},
		{"spool stat --config /no/such/file", "no such file"},
		{"spool stat --config {FILE} x", "takes no arguments"},
		{"spool stat --config {FILE} -o xml", "--output"},
		{"spool ls --config {FILE} --type calls", "--type is \"calls\""},
		{"spool ls --config {FILE} --since yesterday", "--since is"},
		{"spool ls --config {FILE} --until 1", "--until is"},
		{"spool ls --config {FILE} --since 1h --until 2h", "is not before"},
		{"spool ls --config {FILE} --limit -1", "--limit is -1"},
		{"spool verify --config {FILE} --type x", "--type is"},
		{"spool export --config {FILE} --out /no/such/dir/file", "--out"},
		{"spool purge --config {FILE} --all", "--type is"},
		{"spool purge --config {FILE} --type pops", "either --until or --all"},
		{"spool purge --config {FILE} --type pops --all --until 1h", "either --until or --all"},
		{"replay --config {FILE}", "--sink is missing"},
		{"replay --sink events", "--config is missing"},
		{"replay --dir {EMPTY} --sink events", "--config is missing"},
		{"dlq ls --config {FILE} --reason bad", "--reason is \"bad\""},
		{"dlq show --config {FILE}", "one dead letter's id"},
		{"dlq show --config {FILE} a b", "one dead letter's id"},
		{"dlq retry --config {FILE}", "expected ids"},
		{"dlq retry --config {FILE} --all some-id", "either ids, or --all"},
		{"dlq retry --config {FILE} --all --reason refused", "either ids, or --all"},
		{"dlq retry --dir {EMPTY} --all", "--config is missing"},
	} {
		args := strings.Fields(strings.NewReplacer("{FILE}", file, "{EMPTY}", empty).Replace(c.args))
		r := connector(t, "", args...)
		if r.code != exitUsage || !strings.Contains(r.stderr, c.want) || !strings.Contains(r.stderr, "--help") || r.stdout != "" {
			t.Errorf("%s: code %d, stdout %q, stderr %q, want %q", c.args, r.code, r.stdout, r.stderr, c.want)
		}
	}
	put := toolPop(1, 1)
	fill(t, file, put)
	if r := connector(t, "", "replay", "--config", file, "--sink", "none", "--yes"); r.code != exitUsage || !strings.Contains(r.stderr, `sink "none" is not in the configuration`) {
		t.Errorf("a sink that does not exist: code %d: %s", r.code, r.stderr)
	}
	for _, args := range []string{"spool", "spool stat", "spool ls", "spool verify", "spool export", "spool purge", "replay", "dlq", "dlq ls", "dlq show", "dlq retry"} {
		r := connector(t, "", append(strings.Fields(args), "--help")...)
		if r.code != exitGood || !strings.Contains(r.stdout, "Example") {
			t.Errorf("%s --help: code %d: %s", args, r.code, r.stdout)
		}
	}
	if files, err := os.ReadDir(empty); err != nil || len(files) > 0 {
		t.Errorf("a directory without a spool was written to: %v, %v", files, err)
	}
}
