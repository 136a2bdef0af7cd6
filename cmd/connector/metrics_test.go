package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/lqsim"
)

// everySource has a source of each type and a sink, so that every metric is there.
// Its server hq has a session for each agent, branch is relayed to desktops.
func everySource(t testing.TB, hq, branch *lqsim.Server, natsURL, agents string) string {
	t.Helper()
	return writeConfig(t, fmt.Sprintf(`
sources:
  - {name: hq, type: session, address: "{LQ}", agents: [%q], registration: 'op={{.Agent}},ch={{.Channel}};', area_code: "025", dial_rate: 2000, reconnect_interval: 200ms}
  - {name: desktops, type: relay, server: branch, listen: "127.0.0.1:0", address: %q}
  - {name: pages, type: callback, server: hq, listen: "127.0.0.1:0"}
sinks: [{name: events, type: nats, url: %q, create: true, publish_timeout: 1s}]
spool: {dir: "{DIR}", min_free: 1MiB}
http: {health: "127.0.0.1:0"}
`, agents, branch.Addr().String(), natsURL), hq)
}

// scrape reads the metrics as Prometheus does.
func (r *running) scrape(t testing.TB) map[string]*dto.MetricFamily {
	t.Helper()
	status, body := r.get(t, "/metrics")
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil || status != 200 {
		t.Fatalf("status %d, %v: %s", status, err, body)
	}
	return families
}

// ours are the families that are the connector's own work.
func ours(families map[string]*dto.MetricFamily) []*dto.MetricFamily {
	var all []*dto.MetricFamily
	for _, name := range slices.Sorted(maps.Keys(families)) {
		if strings.HasPrefix(name, "callpop_") || strings.HasPrefix(name, "messaging_") {
			all = append(all, families[name])
		}
	}
	return all
}

func labelsOf(m *dto.Metric) map[string]string {
	all := map[string]string{}
	for _, l := range m.GetLabel() {
		all[l.GetName()] = l.GetValue()
	}
	return all
}

// value is that of the only series of a family with these labels, name=value each.
func value(t testing.TB, families map[string]*dto.MetricFamily, name string, labels ...string) float64 {
	t.Helper()
	sum, found := 0.0, 0
series:
	for _, m := range families[name].GetMetric() {
		has := labelsOf(m)
		for _, l := range labels {
			if key, want, _ := strings.Cut(l, "="); has[key] != want {
				continue series
			}
		}
		found++
		sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	if found == 0 {
		t.Errorf("%s%v is missing", name, labels)
	}
	return sum
}

// troubled runs a connector that has started again, and seen pops, bytes that are none, the end of a
// session and an outage of its broker, and recovered.
func troubled(t testing.TB) (*running, *lqsim.Server) {
	t.Helper()
	hq := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond})
	branch := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond})
	broker := startNATS(t)
	config := everySource(t, hq, branch, broker.url(), "801-820")
	// Some metrics are there for each sink that has a cursor when the spool is opened.
	before := start(t, config)
	eventually(t, "each line of the sink has a cursor", func() bool {
		cursors, err := before.spool.Cursors(patient(t))
		return err == nil && len(cursors) == len(schema.Types)
	})
	if err := before.end(); err != nil {
		t.Fatal(err)
	}
	d := start(t, config)
	call(t, hq, 200, 0)
	if err := hq.Send("801", []byte("H=t1v4,,;")); err != nil {
		t.Fatal(err)
	}
	if err := hq.Close("802"); err != nil {
		t.Fatal(err)
	}
	received(t, broker.url(), "CALLPOP", 200)
	broker.stop()
	call(t, hq, 20, 0)
	eventually(t, "the sink retries", func() bool {
		families := d.scrape(t)
		return value(t, families, "callpop_sink_state", "type=callpop.v1", "state=retrying") == 1 &&
			value(t, families, "callpop_sink_retries_total", "type=callpop.v1") > 0
	})
	broker.start()
	received(t, broker.url(), "CALLPOP", 220)
	eventually(t, "the sink has everything", func() bool {
		return value(t, d.scrape(t), "callpop_sink_backlog") == 0
	})
	return d, hq
}

func TestReadinessAndMetricsShowTheSame(t *testing.T) {
	hq := startSimulator(t, lqsim.Options{})
	branch := startSimulator(t, lqsim.Options{})
	broker := startNATS(t)
	d := start(t, everySource(t, hq, branch, broker.url(), "801-820"))
	call(t, hq, 50, 0)
	received(t, broker.url(), "CALLPOP", 50)
	broker.stop()
	if err := hq.Refuse(true); err != nil {
		t.Fatal(err)
	}
	for _, agent := range []string{"801", "802", "803"} {
		if err := hq.Send(agent, []byte("H=t1v2,ph=86307627,id=12157703713752;")); err != nil {
			t.Fatal(err)
		}
		if err := hq.Close(agent); err != nil {
			t.Fatal(err)
		}
	}
	// Both are asked until they are asked about the same moment.
	eventually(t, "17 of 20 sessions, 3 events undelivered, in both", func() bool {
		_, ready := d.ready(t, "")
		families := d.scrape(t)
		server, line := ready.Servers[0], ready.Sinks[0].Lines[0]
		if server.Name != "hq" || line.Type != "callpop.v1" || line.Backlog == nil || line.OldestUndeliveredSeconds == nil {
			return false
		}
		up := value(t, families, "callpop_sessions", "server=hq", "state=connected")
		wanted := value(t, families, "callpop_sessions", "server=hq")
		backlog := value(t, families, "callpop_sink_backlog", "type=callpop.v1")
		state := value(t, families, "callpop_sink_state", "type=callpop.v1", "state="+string(line.State))
		age := value(t, families, "callpop_sink_undelivered_age_seconds", "type=callpop.v1") - *line.OldestUndeliveredSeconds
		spool := value(t, families, "callpop_spool_state", "state="+string(ready.Spool.State))
		got := [...]float64{
			up, float64(*server.SessionsUp), wanted, float64(*server.SessionsWanted), backlog, float64(*line.Backlog), state, spool,
		}
		return got == [...]float64{17, 17, 20, 20, 3, 3, 1, 1} && age >= 0 && age < 5
	})
	if err := hq.Refuse(false); err != nil {
		t.Fatal(err)
	}
	broker.start()
}

// words are all values that a label of ours may have in the run below, but for
// those that the configuration names.
func words() map[string]bool {
	known := map[string]bool{
		"hq": true, "branch": true, "desktops": true, "pages": true, "events": true, "session": true, "relay": true,
		"nats": true, "publish": true, "send": true, "stored": true,
		"none": true, "other": true, "callback": true, "t1v1": true, "t1v2": true, "t1v3": true, "t1v4": true, "t1v5": true,
		"empty": true, "too_long": true, "unrecognised": true, "no_call": true, "lost_framing": true, "cut_frame": true,
		"idle": true, "publishing": true, "retrying": true, "serving": true, "low_space": true, "restarting": true, "failed": true,
		"connecting": true, "connected": true, "expired": true, "reconnecting": true,
		"allow": true, "max_clients": true, "max_clients_per_address": true,
		"closed_by_server": true, "reset": true, "timeout": true, "_OTHER": true, "unreachable": true, "missing_stream": true, "no_leader": true, "refused": true,
	}
	for _, typ := range schema.Types {
		known[string(typ)] = true
	}
	for code := range 100 {
		mode, _ := schema.ModeOf(code)
		known[string(mode)] = true
	}
	return known
}

func TestThousandsOfAgentsAndHostilePopsMakeNoSeries(t *testing.T) {
	hq := startSimulator(t, lqsim.Options{})
	branch := startSimulator(t, lqsim.Options{})
	broker := startNATS(t)
	agents, pops := 3000, 4000
	if testing.Short() {
		agents, pops = 500, 1000 // with the race detector, on a small machine
	}
	d := start(t, everySource(t, hq, branch, broker.url(), fmt.Sprintf("10000-%d", 10000+agents-1)))
	if err := hq.WaitSessions(patient(t), agents); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range pops {
		raw := fmt.Appendf(nil, "H=x%d,ch=%d,ph=%d,ty=%d,op=a%d,sn=%d,da=k%d:v;", i, i, 13800000000+i, i, i, i, i)
		switch i % 4 {
		case 1:
			raw = fmt.Appendf(nil, "H=t1v%d,ty=%d,ph=x%d\"{}\\", i, i*i, i)
		case 2:
			raw = fmt.Appendf(nil, "%d garbage", i) // a frame, since it begins with a digit
		case 3:
			raw = fmt.Appendf(nil, "%d,%d,%d,%d,NA", i, i, i, i)
		}
		if err := hq.Send(fmt.Sprint(10000+r.IntN(agents)), raw); err != nil {
			t.Fatal(err)
		}
	}
	counted := func(families map[string]*dto.MetricFamily) float64 {
		return value(t, families, "callpop_pops_total") + value(t, families, "callpop_decode_errors_total")
	}
	eventually(t, "every pop is counted", func() bool {
		families := map[string]*dto.MetricFamily{"callpop_pops_total": {}, "callpop_decode_errors_total": {}}
		maps.Copy(families, d.scrape(t))
		return len(families["callpop_pops_total"].GetMetric()) > 0 && counted(families) == float64(pops)
	})
	known, series := words(), 0
	for _, family := range ours(d.scrape(t)) {
		if family.GetName() == "callpop_build_info" {
			continue
		}
		series += len(family.GetMetric())
		for _, m := range family.GetMetric() {
			for name, value := range labelsOf(m) {
				if !known[value] {
					t.Errorf("%s has the label %s=%q", family.GetName(), name, value)
				}
			}
		}
	}
	if series > 250 {
		t.Errorf("%d series", series)
	}
	t.Logf("%d agents, %d pops, %d series of the connector's own", agents, pops, series)
}
