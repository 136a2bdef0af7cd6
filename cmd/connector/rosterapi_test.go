package main

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/internal/admin"
	"github.com/callpop/connector/source/lqsim"
)

const adminToken = "0123456789abcdef"

const adminConfig = `
sources:
  - {name: hq, type: session, address: "{LQ}", agents: ["801-803"], registration: 'op={{.Agent}},ch={{.Channel}};', dial_rate: 1000, reconnect_interval: 200ms}
spool: {dir: "{DIR}", min_free: 0}
http: {health: "127.0.0.1:0", admin: "127.0.0.1:0", admin_token: "` + adminToken + `"}
watch: false
`

func statusOf(t testing.TB, url string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(patient(t), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	return response.StatusCode
}

// admin asks the admin API.
func (r *running) adminAsk(t testing.TB, method, path, body string, into any) int {
	t.Helper()
	request, err := http.NewRequestWithContext(patient(t), method, r.admin.URL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+adminToken)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("%s %s: %d %q: %v", method, path, response.StatusCode, text, err)
		}
	}
	return response.StatusCode
}

func TestACRMSignsAgentsInAndOutAndARestartRemembers(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond})
	file := writeConfig(t, adminConfig, lq)
	d := start(t, file)
	holds(t, lq, "801", "802", "803")
	before := sockets(lq)
	const agents = "/v1/servers/hq/agents"
	var a admin.Agent
	if got := d.adminAsk(t, "PUT", agents+"/900", `{"channel": 12}`, &a); got != http.StatusCreated || a.ID != "900" || a.Channel != "12" || a.Source != "hq" {
		t.Errorf("PUT 900: %d, %+v", got, a)
	}
	if got := d.adminAsk(t, "PUT", agents+"/900", `{"channel": "12"}`, &a); got != http.StatusOK {
		t.Errorf("PUT 900 again: %d", got)
	}
	if got := d.adminAsk(t, "DELETE", agents+"/802", "", nil); got != http.StatusNoContent {
		t.Errorf("DELETE 802: %d", got)
	}
	holds(t, lq, "801", "803", "900")
	sameSockets(t, lq, before, "801", "803")
	await(t, "900 is up", func() bool {
		d.adminAsk(t, "GET", agents+"/900", "", &a)
		return a.State == "connected" && !a.Since.IsZero()
	})
	if err := d.end(); err != nil {
		t.Fatal(err)
	}

	d = start(t, file)
	holds(t, lq, "801", "803", "900")
	before = sockets(lq)
	var roster admin.Roster
	if got := d.adminAsk(t, "GET", agents, "", &roster); got != http.StatusOK || len(roster.Agents) != 3 || roster.Agents[2].ID != "900" {
		t.Errorf("GET: %d, %+v", got, roster)
	}
	// A reload keeps what was set by HTTP on top of what is configured.
	change(t, file, `"801-803"`, `"801-804"`)
	var reloaded struct{ Outcome string }
	if got := d.adminAsk(t, "POST", "/v1/reload", "", &reloaded); got != http.StatusOK || reloaded.Outcome != "applied" {
		t.Errorf("POST reload: %d, %+v", got, reloaded)
	}
	holds(t, lq, "801", "803", "804", "900")
	var changed admin.Changed
	if got := d.adminAsk(t, "PUT", agents, `["801", "810-811"]`, &changed); got != http.StatusOK || changed != (admin.Changed{Opened: 2, Closed: 3, Agents: 3}) {
		t.Errorf("PUT all: %d, %+v", got, changed)
	}
	holds(t, lq, "801", "810", "811")
	var servers struct{ Servers []admin.Server }
	if d.adminAsk(t, "GET", "/v1/servers", "", &servers); len(servers.Servers) != 1 || !servers.Servers[0].Sources[0].Edit.Replaced || servers.Servers[0].Sources[0].Wanted != 3 {
		t.Errorf("GET servers: %+v", servers)
	}
	if got := d.adminAsk(t, "DELETE", agents, "", &changed); got != http.StatusOK || changed.Agents != 4 {
		t.Errorf("DELETE all: %d, %+v", got, changed)
	}
	holds(t, lq, "801", "802", "803", "804")
	sameSockets(t, lq, before, "801")
}

func TestTheRosterAPISaysWhatIsWrong(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond})
	d := start(t, writeConfig(t, strings.Replace(adminConfig, "spool:", `  - {name: hq2, server: hq, type: session, address: "{LQ}", allow_overlap: true, agents: ["850"], registration: 'op={{.Agent}},ch={{.Channel}};'}
spool:`, 1), lq))
	holds(t, lq, "801", "802", "803", "850")
	before := sockets(lq)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/nothing", "", 404, "nothing is at /v1/nothing"},
		{"POST", "/v1/servers", "", 405, "expected GET"},
		{"PATCH", "/v1/servers/hq/agents/801", "", 405, "expected GET, PUT, DELETE"},
		{"GET", "/v1/servers/mars/agents", "", 404, `server "mars" has no source of type session`},
		{"GET", "/v1/servers/hq/agents/999", "", 404, `agent "999" is not in the roster`},
		{"DELETE", "/v1/servers/hq/agents/999", "", 400, "expected ?source= with one of hq, hq2"},
		{"DELETE", "/v1/servers/hq/agents/999?source=hq", "", 404, `agent "999" is not in the roster`},
		{"PUT", "/v1/servers/hq/agents/999", "", 400, "expected ?source= with one of hq, hq2"},
		{"PUT", "/v1/servers/hq/agents/999?source=x", "", 404, `no session source "x"`},
		{"PUT", "/v1/servers/hq/agents/850?source=hq", "", 409, "agent 850 is in the roster of source hq2"},
		{"PUT", "/v1/servers/hq/agents/9%2C9?source=hq", "", 400, `',' cannot be part`},
		{"PUT", "/v1/servers/hq/agents/900?source=hq", `{"chanel": "1"}`, 400, `unknown field "chanel"`},
		{"PUT", "/v1/servers/hq/agents/900?source=hq", `{"channel": []}`, 400, "channel: expected text"},
		{"PUT", "/v1/servers/hq/agents/900?source=hq", `{}{}`, 400, "more than one JSON value"},
		{"PUT", "/v1/servers/hq/agents/900?source=hq", strings.Repeat(" ", 5000), 413, "larger than 4096 bytes"},
		{"PUT", "/v1/servers/hq/agents?source=hq", "", 400, "the body is empty"},
		{"PUT", "/v1/servers/hq/agents?source=hq", `["801", "801"]`, 400, "entry 2: agent 801 is in the list already"},
		{"PUT", "/v1/servers/hq/agents?source=hq", `["850"]`, 409, "agent 850 is in the roster of source hq2"},
		{"PUT", "/v1/servers/hq/agents?source=hq", `{"agents": []}`, 400, "expected a list of agents"},
	} {
		var answer struct{ Error string }
		if got := d.adminAsk(t, c.method, c.path, c.body, &answer); got != c.status || !strings.Contains(answer.Error, c.want) {
			t.Errorf("%s %s %.20q: %d %q, want %d %q", c.method, c.path, c.body, got, answer.Error, c.status, c.want)
		}
	}
	holds(t, lq, "801", "802", "803", "850")
	sameSockets(t, lq, before, "801", "802", "803", "850")
}

func TestADrainClosesTheIdleFirstAndCanBeUndone(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond})
	file := writeConfig(t, adminConfig, lq)
	d := start(t, file)
	holds(t, lq, "801", "802", "803")
	for _, id := range []string{"801", "803"} { // 802 has had no pop
		if err := lq.Send(id, []byte("H=t1v3,ch=2,ph=10086,op="+id+",sn=7;")); err != nil {
			t.Fatal(err)
		}
		await(t, "the pop", func() bool { s, _ := d.held()["hq"].Fleet().Agent(id); return !s.LastPop.IsZero() })
	}
	got := connector(t, "", "drain", "--config", file, "--pace", "20/s")
	if got.code != exitGood || !strings.Contains(got.stdout, "drained: 3 sessions closed") {
		t.Fatalf("%+v", got)
	}
	holds(t, lq)
	var order []string
	for _, s := range lq.Ended() {
		order = append(order, s.Agent)
	}
	if want := []string{"802", "801", "803"}; !slices.Equal(order, want) {
		t.Errorf("closed in the order %v, want %v", order, want)
	}
	if _, ready := d.ready(t, ""); ready.Roster == nil || ready.Roster.DrainedSince.IsZero() || len(ready.Problems) == 0 {
		t.Errorf("readyz: %+v", ready)
	}
	var a admin.Agent
	if d.adminAsk(t, "PUT", "/v1/servers/hq/agents/900", "", &a); a.State != admin.Drained {
		t.Errorf("added while drained: %+v", a)
	}
	if got := connector(t, "", "drain", "--config", file, "--undo"); got.code != exitGood || !strings.Contains(got.stdout, "4 sessions to open") {
		t.Fatalf("%+v", got)
	}
	holds(t, lq, "801", "802", "803", "900")
	if got := connector(t, "", "drain", "--config", file, "--undo"); got.code != exitUsage || !strings.Contains(got.stderr, "not drained") {
		t.Errorf("%+v", got)
	}
	if got := connector(t, "", "drain", "--config", file, "--pace", "0", "--exit"); got.code != exitGood {
		t.Errorf("%+v", got)
	}
	select {
	case err := <-d.ended:
		d.once.Do(func() {})
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("the connector does not stop")
	}
	if got := connector(t, "", "reload", "--config", file); got.code != exitFailed || !strings.Contains(got.stderr, "no connector runs") {
		t.Errorf("%+v", got)
	}
}

func TestAStopClosesTheSessionsAtTheDrainPaceButInTime(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond})
	d := start(t, writeConfig(t, adminConfig+"drain_pace: 1/h\nshutdown_timeout: 4s\n", lq))
	holds(t, lq, "801", "802", "803")
	await(t, "the sessions to be heard", func() bool { return d.held()["hq"].Fleet().Up() == 3 })
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	ended := lq.Ended()
	if len(ended) != 3 || ended[2].EndedAt.Sub(ended[0].EndedAt) < 500*time.Millisecond {
		t.Errorf("closed at once: %+v", ended)
	}
	if !strings.Contains(d.stderr.String(), "they are closed faster") {
		t.Error("the log does not say that the pace was too slow")
	}
}

func TestReloadAndDiffSayWhatHappens(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond})
	file := writeConfig(t, adminConfig, lq)
	d := start(t, file)
	holds(t, lq, "801", "802", "803")
	if got := d.adminAsk(t, "PUT", "/v1/servers/hq/agents/900", "", nil); got != http.StatusCreated {
		t.Fatal(got)
	}
	next := strings.TrimSuffix(file, ".yaml") + "-next.yaml"
	text := readText(t, file)
	overwrite(t, next, strings.NewReplacer(`"801-803"`, `"802-804"`, "200ms", "300ms", "min_free: 0", "min_free: 0, sync: always").Replace(text))
	want := []string{"closes     hq: 1 session: 801", "opens      hq: 1 session: 804", "live       sources[hq].reconnect_interval: 200ms -> 300ms",
		"restart    spool.sync: 100ms -> always (stays as it is until then)"}
	for _, args := range [][]string{{"check", "--config", next, "--diff"}, {"check", "--config", next, "--diff", file}} {
		got := connector(t, "", args...)
		for _, line := range want {
			if got.code != exitGood || !strings.Contains(got.stdout, line+"\n") {
				t.Errorf("%v: %d\n%s%s\nwant %s", args, got.code, got.stdout, got.stderr, line)
			}
		}
	}
	holds(t, lq, "801", "802", "803", "900")
	overwrite(t, file, readText(t, next))
	got := connector(t, "", "reload", "--config", file)
	if got.code != exitGood || !strings.Contains(got.stdout, "applied: sessions closed 1, opened 1, reopened 0") {
		t.Errorf("%+v", got)
	}
	holds(t, lq, "802", "803", "804", "900")
	overwrite(t, file, strings.Replace(text, "{LQ}", "", 1)+"nonsense: 1\n")
	if got := connector(t, "", "reload", "--dir", d.config.Spool.Dir); got.code != exitFailed || !strings.Contains(got.stderr, "nonsense is not a known key") {
		t.Errorf("%+v", got)
	}
	if got := connector(t, "", "reload", "--dir", d.config.Spool.Dir, "-o", "json"); got.code != exitFailed || !strings.Contains(got.stdout, `"outcome":"refused"`) {
		t.Errorf("%+v", got)
	}
}
