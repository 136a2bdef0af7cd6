package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/lqsim"
)

const embeddedConfig = `
sources:
  - {name: hq, type: session, address: "{LQ}", agents: ["801-820"], registration: 'op={{.Agent}},ch={{.Channel}};', area_code: "025", dial_rate: 1000, reconnect_interval: 200ms}
spool: {dir: "{DIR}", min_free: 0}
embedded: {listen: "127.0.0.1:0"}
http: {health: "127.0.0.1:0"}
`

func externalConfig(url string) string {
	return embeddedConfig + fmt.Sprintf("sinks: [{name: events, type: nats, url: %q, create: true}]\n", url)
}

var everyAgent = func() (agents []string) {
	for i := range 20 {
		agents = append(agents, fmt.Sprint(801+i))
	}
	return agents
}()

// call sends so many pops of made-up calls over all agents.
func call(t testing.TB, lq *lqsim.Server, count int, rate float64) {
	t.Helper()
	if err := lq.WaitSessions(patient(t), len(everyAgent)); err != nil {
		t.Fatal(err)
	}
	traffic, err := lqsim.NewTraffic(lqsim.TrafficOptions{Agents: everyAgent, Rate: rate, Count: count, Format: lqsim.Mixed, FirstSN: uint64(10_000 * (1 + len(lq.Sent())))})
	if err != nil {
		t.Fatal(err)
	}
	tally, err := traffic.Run(patient(t), lq.Send)
	if err != nil || tally.Missed > 0 {
		t.Fatalf("%+v, %v", tally, err)
	}
}

func TestEveryPopReachesTheEmbeddedBrokerOnceAndInOrder(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond})
	d := start(t, writeConfig(t, embeddedConfig, lq))
	const pops = 3000
	call(t, lq, pops, 0)
	sameAsSent(t, lq.Sent(), received(t, "nats://"+d.spool.Addr().String(), "CALLPOP", pops))
	if err := d.end(); err != nil {
		t.Error(err)
	}
}

func TestEveryPopReachesAnExternalNATSThroughItsRestart(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{})
	broker := startNATS(t)
	d := start(t, writeConfig(t, externalConfig(broker.url()), lq))
	call(t, lq, 500, 0)
	sameAsSent(t, lq.Sent(), received(t, broker.url(), "CALLPOP", 500))
	broker.stop()
	call(t, lq, 500, 0)
	broker.start()
	call(t, lq, 500, 0)
	sameAsSent(t, lq.Sent(), received(t, broker.url(), "CALLPOP", 1500))
	sessions := received(t, broker.url(), "CALLPOP_SESSION", 2*len(everyAgent))
	for _, e := range sessions {
		if e.Type != schema.TypeSessionChanged || e.Agent == "" {
			t.Errorf("got %+v", e)
		}
	}
	if err := d.end(); err != nil {
		t.Error(err)
	}
}

func TestADaemonStartsWithEverythingAwayAndCatchesUp(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{})
	broker := startNATS(t)
	broker.stop()
	if err := lq.Refuse(true); err != nil {
		t.Fatal(err)
	}
	d := start(t, writeConfig(t, externalConfig(broker.url()), lq))
	if status, body := d.ready(t, ""); status != http.StatusOK || len(body.Problems) == 0 {
		t.Errorf("readyz %d, %+v", status, body)
	}
	if status, _ := d.ready(t, "?full"); status != http.StatusServiceUnavailable {
		t.Errorf("readyz?full %d", status)
	}
	if err := lq.Refuse(false); err != nil {
		t.Fatal(err)
	}
	call(t, lq, 200, 0)
	broker.start()
	sameAsSent(t, lq.Sent(), received(t, broker.url(), "CALLPOP", 200))
	for deadline := time.Now().Add(patience); ; {
		status, body := d.ready(t, "?full")
		if status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("readyz?full %d, %+v", status, body)
		}
	}
}

// ready asks /readyz.
func (r *running) ready(t testing.TB, query string) (int, web.Readiness) {
	t.Helper()
	status, body := r.get(t, "/readyz"+query)
	var answer web.Readiness
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%q: %v", body, err)
	}
	return status, answer
}

func (r *running) get(t testing.TB, path string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(patient(t), http.MethodGet, "http://"+r.health.Addr().String()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
	return response.StatusCode, string(body)
}

func TestHealthAndMetricsShowWhatIs(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, embeddedConfig, lq))
	call(t, lq, 100, 0)
	received(t, "nats://"+d.spool.Addr().String(), "CALLPOP", 100)
	if status, _ := d.get(t, "/livez"); status != http.StatusOK {
		t.Errorf("livez %d", status)
	}
	status, body := d.ready(t, "")
	if status != http.StatusOK || !body.Ready || len(body.Servers) != 1 || *body.Servers[0].SessionsUp != 20 {
		t.Errorf("readyz %d, %+v", status, body)
	}
	_, metrics := d.get(t, "/metrics")
	for _, want := range []string{"callpop_pops_total", "callpop_spool_events", "callpop_session_dials", "callpop_spooled_duration_seconds_bucket", "go_goroutines"} {
		if !strings.Contains(metrics, want) {
			t.Errorf("no %s in the metrics", want)
		}
	}
	for _, s := range lq.Sent() {
		var p struct{ ph string }
		if _, rest, ok := strings.Cut(string(s.Raw), "ph="); ok {
			p.ph, _, _ = strings.Cut(rest, ",")
		}
		if len(p.ph) >= 7 && (strings.Contains(metrics, p.ph) || strings.Contains(d.stderr.String(), p.ph)) {
			t.Fatalf("a customer's number is in the metrics or the log")
		}
	}
}

func TestAStopDrainsAndASecondOneCutsShort(t *testing.T) {
	t.Run("what cannot be delivered stays in the spool", func(t *testing.T) {
		lq := startSimulator(t, lqsim.Options{})
		broker := startNATS(t)
		file := writeConfig(t, externalConfig(broker.url())+"shutdown_timeout: 2s\n", lq)
		first := start(t, file)
		call(t, lq, 100, 0)
		received(t, broker.url(), "CALLPOP", 100)
		broker.stop()
		call(t, lq, 100, 0)
		if err := first.end(); err != nil {
			t.Fatal(err)
		}
		broker.start()
		second := start(t, file)
		sameAsSent(t, lq.Sent(), received(t, broker.url(), "CALLPOP", 200))
		if err := second.end(); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("a second signal does not wait", func(t *testing.T) {
		lq := startSimulator(t, lqsim.Options{})
		broker := startNATS(t)
		d := start(t, writeConfig(t, externalConfig(broker.url())+"shutdown_timeout: 10m\n", lq))
		broker.stop()
		call(t, lq, 100, 0)
		close(d.stop)
		d.cut()
		d.once.Do(func() {})
		select {
		case err := <-d.ended:
			if err == nil || !strings.Contains(err.Error(), "cut short") {
				t.Errorf("got %v", err)
			}
		case <-time.After(patience):
			t.Fatal("the daemon drains on")
		}
	})
}

func TestSIGTERMEndsTheRunCommandWithCodeZero(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{})
	file := writeConfig(t, embeddedConfig, lq)
	stop := make(chan struct{})
	code := make(chan int, 1)
	var stdout, stderr outputtest.Output
	go func() {
		code <- run(context.Background(), world{args: []string{"run", "--config", file}, stop: stop, stdout: &stdout, stderr: &stderr})
	}()
	if err := lq.WaitSessions(patient(t), 20); err != nil {
		t.Fatal(err, stderr.String())
	}
	close(stop)
	select {
	case got := <-code:
		if got != exitGood || stdout.String() != "" {
			t.Errorf("code %d, stdout %q, stderr %s", got, stdout.String(), stderr.String())
		}
	case <-time.After(patience):
		t.Fatal("the command does not end")
	}
}

func TestTheGapAfterARestartBeginsWhereTheLastRunEnded(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{})
	file := writeConfig(t, embeddedConfig, lq)
	first := start(t, file)
	if err := lq.WaitSessions(patient(t), len(everyAgent)); err != nil {
		t.Fatal(err)
	}
	if err := first.end(); err != nil {
		t.Fatal(err)
	}
	ended := time.Now()
	second := start(t, file)
	var connected []schema.SessionChanged
	for _, e := range received(t, "nats://"+second.spool.Addr().String(), "CALLPOP_SESSION", 5*len(everyAgent)) {
		var c schema.SessionChanged
		if err := json.Unmarshal(e.Body, &c); err != nil {
			t.Fatal(err)
		}
		if c.State == schema.Connected {
			connected = append(connected, c)
		}
	}
	if len(connected) != 2*len(everyAgent) {
		t.Fatalf("%d sessions came up", len(connected))
	}
	for _, c := range connected[len(everyAgent):] {
		// The time is kept once a second.
		if c.Gap == nil || c.Gap.From.After(ended) || c.Gap.From.Before(ended.Add(-patience)) || !c.Gap.To.Equal(c.At) {
			t.Errorf("agent %s: gap %+v, the first run ended at %v", c.Agent, c.Gap, ended)
		}
	}
}
