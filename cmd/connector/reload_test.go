package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/lqsim"
)

// change replaces parts of a configuration file, at once.
func change(t testing.TB, file string, oldnew ...string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(string(text), oldnew[i]) {
			t.Fatalf("%q is not in\n%s", oldnew[i], text)
		}
	}
	overwrite(t, file, strings.NewReplacer(oldnew...).Replace(string(text)))
}

func overwrite(t testing.TB, file, text string) {
	t.Helper()
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
}

// sockets are the numbers of the sessions that a server has, by agent.
func sockets(lq *lqsim.Server) map[string]int64 {
	all := map[string]int64{}
	for _, s := range lq.Sessions() {
		all[s.Agent] = s.Number
	}
	return all
}

// sameSockets fails where an agent has another socket than before.
func sameSockets(t testing.TB, lq *lqsim.Server, before map[string]int64, agents ...string) {
	t.Helper()
	after := sockets(lq)
	for _, id := range agents {
		if after[id] != before[id] || after[id] == 0 {
			t.Errorf("agent %s has socket %d, had %d", id, after[id], before[id])
		}
	}
}

// await polls until ok.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

// holds waits until a server has sessions of just these agents.
func holds(t testing.TB, lq *lqsim.Server, agents ...string) {
	t.Helper()
	slices.Sort(agents)
	await(t, fmt.Sprintf("sessions of %v", agents), func() bool {
		var got []string
		for _, s := range lq.Sessions() {
			got = append(got, s.Agent)
		}
		slices.Sort(got)
		return slices.Equal(got, agents)
	})
}

func TestAReloadPutsInForceWhatItCanAndTouchesOnlyWhatChanged(t *testing.T) {
	lq, broker := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond}), startNATS(t)
	file := writeConfig(t, embeddedConfig+"log: {level: info}\nwatch: false\n", lq)
	d := start(t, file)
	call(t, lq, 100, 0)
	before := sockets(lq)
	change(t, file,
		`agents: ["801-820"]`, `agents: ["801-819", "830"], expire_after: 40s, timezone: UTC`,
		"{level: info}", "{level: debug, format: json}",
		"min_free: 0}", "min_free: 0, max_age: 48h, sync: always}",
		"watch: false", fmt.Sprintf("watch: false\nshutdown_timeout: 9s\nsource: {buffer_bytes: 8MiB}\nsinks: [{name: events, type: nats, url: %q, create: true, start: all}]", broker.url()))
	done := d.reload(t.Context(), "test")
	if done.Outcome != control.Applied {
		t.Fatalf("%+v", done)
	}
	if want := []string{"spool.sync", "log.format"}; !slices.Equal(done.Pending, want) {
		t.Errorf("pending: %v, want %v", done.Pending, want)
	}
	if s := done.Sessions; len(s) != 1 || s[0].Closed.Count != 1 || s[0].Opened.Count != 1 || s[0].Reopened.Count != 0 || s[0].Kept != 19 {
		t.Errorf("sessions: %+v", s)
	}
	holds(t, lq, append(slices.Clone(everyAgent[:19]), "830")...)
	sameSockets(t, lq, before, everyAgent[:19]...)
	running := d.running.Load()
	if running.ShutdownTimeout != 9*time.Second || running.Spool.Sync.String() == "always" || running.Log.Format != "auto" || !d.log.Enabled(t.Context(), -4) {
		t.Errorf("in force: %+v, %+v", running.Spool, running.Log)
	}
	// The new sink starts with all that the spool has.
	received(t, broker.url(), "CALLPOP", 100)
	_, ready := d.ready(t, "")
	if ready.Reload == nil || ready.Reload.Outcome != control.Applied || !slices.Equal(ready.Reload.Pending, done.Pending) || ready.ConfigSHA256 != running.Digest || len(ready.ConfigSHA256) != 64 {
		t.Errorf("readyz: %+v, %s", ready.Reload, ready.ConfigSHA256)
	}
	if _, metrics := d.get(t, "/metrics"); !strings.Contains(metrics, `callpop_config_reloads_total{outcome="applied"`) {
		t.Errorf("no reload in the metrics")
	}

	// A sink with other settings goes on where it was; one that goes, goes.
	change(t, file, "start: all}", "start: all, max_in_flight: 16}")
	if done = d.reload(t.Context(), "test"); done.Outcome != control.Applied || len(done.Sessions) != 0 {
		t.Fatalf("%+v", done)
	}
	sendTo19(t, lq, 50)
	received(t, broker.url(), "CALLPOP", 150)
	change(t, file, "sinks: [", "#sinks: [")
	if done = d.reload(t.Context(), "test"); done.Outcome != control.Applied || len(d.openSinks()) != 0 {
		t.Fatalf("%+v", done)
	}
	if done = d.reload(t.Context(), "test"); done.Outcome != control.Unchanged || len(done.Pending) != 2 {
		t.Fatalf("%+v", done)
	}
	sameSockets(t, lq, before, everyAgent[:19]...)
	if err := d.end(); err != nil {
		t.Error(err)
	}
}

// sendTo19 sends pops to the agents that a reload left alone.
func sendTo19(t testing.TB, lq *lqsim.Server, count int) {
	t.Helper()
	traffic, err := lqsim.NewTraffic(lqsim.TrafficOptions{Agents: everyAgent[:19], Count: count, FirstSN: 1_000_000})
	if err != nil {
		t.Fatal(err)
	}
	if tally, err := traffic.Run(patient(t), lq.Send); err != nil || tally.Missed > 0 {
		t.Fatalf("%+v, %v", tally, err)
	}
}

func TestAReloadWithAMistakeChangesNothingAndSaysWhy(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond})
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	roster := filepath.Join(t.TempDir(), "roster")
	file := writeConfig(t, embeddedConfig+"watch: false\n", lq)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	d := start(t, file)
	holds(t, lq, slices.Clone(everyAgent)...)
	before, running := sockets(lq), d.running.Load()
	for name, c := range map[string]struct {
		change func()
		want   []string
	}{
		"not YAML":       {func() { overwrite(t, file, "sources: [\n") }, []string{file + ":", "not YAML"}},
		"an unknown key": {func() { change(t, file, "watch:", "wach:") }, []string{file + ":7: wach is not a known key: did you mean watch?"}},
		"a wrong value": {func() { change(t, file, "min_free: 0", "min_free: 0, max_age: 5") },
			[]string{file + ":4: spool.max_age is 5: expected a duration"}},
		"a value that a package refuses": {func() { change(t, file, "min_free: 0", "min_free: 0, max_age: 5s") },
			[]string{file + ":4: spool.max_age is 5s: expected 1m0s or more"}},
		"an agent twice": {func() { change(t, file, `["801-820"]`, `["801-820", "805"]`) },
			[]string{file + ":3: sources[0].agents: entry 2: agent 805 is in the list already"}},
		"no source": {func() { overwrite(t, file, "sinks: []\n") }, []string{"sources is empty"}},
		"an unset variable": {func() { change(t, file, `area_code: "025"`, "area_code: \"${NOWHERE}\"") },
			[]string{file + ":3: sources[0].area_code: the variable NOWHERE is not set"}},
		"a secret's file that is missing": {func() {
			overwrite(t, file, string(good)+"sinks: [{name: e, type: nats, url: \"nats://x:4222\", token_file: /does/not/exist}]\n")
		},
			[]string{file + ":8: sinks[0].token_file"}},
		"a roster file that is missing": {func() { _ = os.Remove(roster); change(t, file, "area_code:", "agents_file: "+roster+", area_code:") },
			[]string{file + ":3: sources[0].agents_file: " + roster + ": no such file"}},
		"a roster file that is wrong": {func() {
			overwrite(t, roster, "830\n83,1\n")
			change(t, file, "area_code:", "agents_file: "+roster+", area_code:")
		}, []string{file + ":3: sources[0].agents_file: " + roster + ":2: agent \"83,1\""}},
		"a port in use": {func() {
			overwrite(t, file, strings.Replace(string(good), "sources:\n", "sources:\n  - {name: pages, type: callback, listen: \""+taken.Addr().String()+"\"}\n", 1))
		}, []string{"source pages: listen on " + taken.Addr().String(), "address already in use"}},
		"a sink that leads back to the spool": {func() {
			overwrite(t, file, string(good)+fmt.Sprintf("sinks: [{name: loop, type: nats, url: \"nats://%s\"}]\n", d.spool.Addr()))
		}, []string{"sink loop", "embedded server"}},
		"gone": {func() { _ = os.Remove(file) }, []string{file, "no such file"}},
	} {
		t.Run(name, func(t *testing.T) {
			overwrite(t, file, string(good))
			c.change()
			done := d.reload(t.Context(), "test")
			if done.Outcome != control.Refused {
				t.Fatalf("%+v", done)
			}
			for _, want := range c.want {
				if !strings.Contains(done.Message, want) {
					t.Errorf("got\n%s\nwant %s", done.Message, want)
				}
			}
			if d.running.Load() != running || len(d.openSinks()) != 0 || len(d.openSources()) != 1 {
				t.Error("something changed")
			}
			if _, ready := d.ready(t, ""); !ready.Ready || ready.Reload.Outcome != control.Refused || ready.Reload.Message != done.Message ||
				!slices.ContainsFunc(ready.Problems, func(p string) bool { return strings.Contains(p, "the last reload was refused") }) {
				t.Errorf("readyz: %+v", ready)
			}
		})
	}
	sameSockets(t, lq, before, everyAgent...)
	overwrite(t, file, strings.Replace(string(good), "801-820", "801-821", 1))
	if done := d.reload(t.Context(), "test"); done.Outcome != control.Applied {
		t.Errorf("after the mistakes were mended: %+v", done)
	}
	holds(t, lq, append(slices.Clone(everyAgent), "821")...)
	sameSockets(t, lq, before, everyAgent...)
}

func TestSourcesComeAndGoAndAnAgentThatMovesIsNeverRegisteredTwice(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond})
	const two = `
sources:
  - {name: a, type: session, server: hq, address: "{LQ}", agents: ["801-810"], registration: 'op={{.Agent}},ch={{.Channel}};', dial_rate: 1000}
  - {name: b, type: session, server: hq, address: "{LQ}", allow_overlap: true, agents: ["811-820"], registration: 'op={{.Agent}},ch={{.Channel}};', dial_rate: 1000}
  - {name: pages, type: callback, listen: "127.0.0.1:0", allow: ["192.0.2.1"]}
spool: {dir: "{DIR}", min_free: 0}
http: {health: "127.0.0.1:0"}
watch: false
`
	file := writeConfig(t, two, lq)
	d := start(t, file)
	holds(t, lq, slices.Clone(everyAgent)...)
	before := sockets(lq)
	pages := d.sources[2].source.(interface{ Addr() net.Addr }).Addr().String()

	// 810 moves to b, 811 to a; the page may be called from anywhere.
	change(t, file, `"801-810"`, `"801-809", "811"`, `"811-820"`, `"810", "812-820"`, `, allow: ["192.0.2.1"]`, "")
	if done := d.reload(t.Context(), "test"); done.Outcome != control.Applied {
		t.Fatalf("%+v", done)
	}
	holds(t, lq, slices.Clone(everyAgent)...)
	sameSockets(t, lq, before, append(slices.Clone(everyAgent[:9]), everyAgent[11:]...)...)
	if status := statusOf(t, "http://"+pages+"/pop?phone=10086&oper=801&id=1"); status != 204 {
		t.Errorf("a callback from here is answered %d", status)
	}
	// Source b is renamed: its sessions end before they are opened anew.
	change(t, file, "name: b,", "name: c,")
	if done := d.reload(t.Context(), "test"); done.Outcome != control.Applied || len(done.Sessions) != 2 {
		t.Fatalf("%+v", done)
	}
	await(t, "renamed", func() bool { a, _ := lq.Agent("820"); return a.Connects == 2 && a.Live == 1 })
	holds(t, lq, slices.Clone(everyAgent)...)
	for _, a := range lq.Agents() {
		if a.MostLive > 1 {
			t.Errorf("agent %s was registered %d times at once", a.ID, a.MostLive)
		}
	}
	// Source c goes, and a takes its agents; the line of one is dead, so that it takes
	// its time to end.
	gone := d.held()["c"].Fleet()
	if err := lq.HalfOpen("820"); err != nil {
		t.Fatal(err)
	}
	text := readText(t, file)
	start := strings.Index(text, "  - {name: c,")
	end := start + strings.Index(text[start:], "\n") + 1
	overwrite(t, file, strings.Replace(text[:start]+text[end:], `"801-809", "811"`, `"801-820"`, 1))
	if done := d.reload(t.Context(), "test"); done.Outcome != control.Applied || len(d.held()) != 1 {
		t.Fatalf("%+v", done)
	}
	if _, there := gone.Agent("820"); there {
		t.Error("820 was given to source a while c had the session")
	}
	await(t, "moved", func() bool { return d.held()["a"].Fleet().Up() == len(everyAgent) })
	for _, a := range lq.Agents() {
		if a.MostLive > 1 && a.ID != "820" {
			t.Errorf("agent %s was registered %d times at once", a.ID, a.MostLive)
		}
	}
	sameSockets(t, lq, before, everyAgent[:9]...)
}

func TestChangesOfTheFilesAreSeenAndSIGHUPReloadsAtOnce(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond})
	roster := filepath.Join(t.TempDir(), "roster.txt")
	overwrite(t, roster, "830\n")
	file := writeConfig(t, strings.Replace(embeddedConfig, `agents: ["801-820"]`, `agents: ["801"], agents_file: "`+roster+`"`, 1), lq)
	stop, code := make(chan struct{}), make(chan int, 1)
	var stdout, stderr outputtest.Output
	go func() {
		code <- run(context.Background(), world{args: []string{"run", "--config", file}, stop: stop, stdout: &stdout, stderr: &stderr})
	}()
	defer func() {
		close(stop)
		<-code
		if t.Failed() {
			t.Log(stderr.String())
		}
	}()
	holds(t, lq, "801", "830")
	before := sockets(lq)
	overwrite(t, roster, "- 830\n- 831\n")
	holds(t, lq, "801", "830", "831")
	overwrite(t, roster, "") // nobody: a slip
	await(t, "a complaint about the empty roster", func() bool { return strings.Contains(stderr.String(), "1: no agent") })
	if err := os.Remove(roster); err != nil {
		t.Fatal(err)
	}
	await(t, "a complaint about the missing roster", func() bool { return strings.Contains(stderr.String(), "no such file") })
	overwrite(t, roster, "830\n832\n")
	holds(t, lq, "801", "830", "832")
	change(t, file, `agents: ["801"]`, `agents: ["801-802"]`)
	holds(t, lq, "801", "802", "830", "832")
	change(t, file, `agents: ["801-802"]`, `agents: ["801-803"], expire_after: 1`)
	await(t, "a complaint about the configuration", func() bool { return strings.Contains(stderr.String(), "expire_after") })
	change(t, file, `, expire_after: 1`, "", "801-803", "801-802") // as it was
	await(t, "word that the mistake is gone", func() bool { return strings.Contains(stderr.String(), "nothing to put in force") })
	change(t, file, "801-802", "801-803", "http:", "watch: false\nhttp:")
	holds(t, lq, "801", "802", "803", "830", "832")
	change(t, file, "801-803", "801-804") // nobody watches any more
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	holds(t, lq, "801", "802", "803", "804", "830", "832")
	sameSockets(t, lq, before, "801", "830")
}

// TestReplicasShareTheAgentsAndHandThemOver scales from one replica to two and back,
// as docs/agents.md says.
func TestReplicasShareTheAgentsAndHandThemOver(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond})
	const split = embeddedConfig + "watch: false\nreplicas: {count: 1, index: 0, gain_delay: 1s}\n"
	files := []string{writeConfig(t, split, lq), writeConfig(t, strings.Replace(split, "count: 1, index: 0", "count: 2, index: 1", 1), lq)}
	first := start(t, files[0])
	holds(t, lq, slices.Clone(everyAgent)...)
	before := sockets(lq)
	// The new one waits: the first may hold its agents still.
	second := start(t, files[1])
	if _, ready := second.ready(t, ""); ready.Roster == nil || ready.Roster.GainsAt.IsZero() || *ready.Roster.Replica != 1 {
		t.Errorf("readyz of the new replica: %+v", ready.Roster)
	}
	change(t, files[0], "count: 1", "count: 2")
	done := first.reload(t.Context(), "test")
	if done.Outcome != control.Applied || done.Sessions[0].Closed.Count == 0 || done.Sessions[0].Opened.Count != 0 {
		t.Fatalf("%+v", done)
	}
	await(t, "the new replica's share", func() bool { return second.held()["hq"].Fleet().Up() == done.Sessions[0].Closed.Count })
	holds(t, lq, slices.Clone(everyAgent)...)
	var stayed []string
	for _, id := range everyAgent {
		if _, here := first.held()["hq"].Fleet().Agent(id); here {
			stayed = append(stayed, id)
		}
	}
	if len(stayed) == 0 || len(stayed) == len(everyAgent) {
		t.Fatalf("%d of %d stayed", len(stayed), len(everyAgent))
	}
	sameSockets(t, lq, before, stayed...)
	// Whoever gained an agent does not know when the other let go: at the earliest a
	// gain_delay before it saw the change itself, and it waited for another one.
	for _, e := range received(t, "nats://"+second.spool.Addr().String(), "CALLPOP_SESSION", 2*(len(everyAgent)-len(stayed))) {
		var changed schema.SessionChanged
		if err := json.Unmarshal(e.Body, &changed); err != nil {
			t.Fatal(err)
		}
		if changed.State == schema.Connected && changed.Gap.To.Sub(changed.Gap.From) < 2*time.Second {
			t.Errorf("agent %s: a gap of %v, want at least 2s", changed.Agent, changed.Gap.To.Sub(changed.Gap.From))
		}
	}

	// Back to one: the second holds nothing, and still serves.
	change(t, files[1], "count: 2", "count: 1")
	if done := second.reload(t.Context(), "test"); done.Outcome != control.Applied {
		t.Fatalf("%+v", done)
	}
	holds(t, lq, stayed...)
	if status, ready := second.ready(t, ""); status != 200 || !ready.Roster.Surplus || ready.Servers[0].State != web.ServerIdle {
		t.Errorf("readyz of the surplus replica: %d, %+v", status, ready)
	}
	change(t, files[0], "count: 2", "count: 1")
	if done := first.reload(t.Context(), "test"); done.Outcome != control.Applied {
		t.Fatalf("%+v", done)
	}
	holds(t, lq, slices.Clone(everyAgent)...)
	sameSockets(t, lq, before, stayed...)
	for _, a := range lq.Agents() {
		if a.MostLive > 1 && slices.Contains(stayed, a.ID) {
			t.Errorf("agent %s was registered %d times at once", a.ID, a.MostLive)
		}
	}
}

func readText(t testing.TB, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
