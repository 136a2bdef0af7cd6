package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/source/lqsim"
)

// rulesFile is what the chart installs and what anyone may give to Prometheus as it
// is.
var rulesFile = filepath.Join("..", "..", "charts", "connector", "files", "prometheus-rules.yaml")

// needCommand gives a command's path, or skips the test where there is none.
func needCommand(t testing.TB, name, from string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s is missing (%s)", name, from)
		}
		t.Skipf("%s is missing (%s)", name, from)
	}
	return path
}

// prometheus is a real one that scrapes the target and has the rules.
type prometheus struct{ address string }

func startPrometheus(t testing.TB, target string) *prometheus {
	t.Helper()
	binary := needCommand(t, "prometheus", "Debian: prometheus")
	dir := t.TempDir()
	rules, err := filepath.Abs(rulesFile)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, `
global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 500ms}
rule_files: [%q]
scrape_configs: [{job_name: connector, static_configs: [{targets: [%q]}]}]
`, rules, target), 0o600); err != nil {
		t.Fatal(err)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &prometheus{free.Addr().String()}
	_ = free.Close() // it does not say which port it got for 0
	var log bytes.Buffer
	command := exec.Command(binary, "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+p.address, "--log.level=warn")
	command.Stdout, command.Stderr = &log, &log
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt)
		if err := command.Wait(); err != nil || t.Failed() {
			t.Logf("prometheus: %v: %s", err, log.Bytes())
		}
	})
	eventually(t, "prometheus scrapes", func() bool {
		values, err := p.query("callpop_build_info")
		return err == nil && len(values) == 1
	})
	return p
}

// get asks Prometheus's API (v1) and decodes data.
func (p *prometheus) get(path string, query url.Values, data any) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+"/api/v1/"+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	defer http.DefaultClient.CloseIdleConnections()
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	answer := struct {
		Error string
		Data  any
	}{Data: data}
	if err := json.Unmarshal(body, &answer); err != nil {
		return fmt.Errorf("%s: %w", body, err)
	}
	if answer.Error != "" {
		return errors.New(answer.Error)
	}
	return nil
}

// query gives the values of an expression now, but for those that are no number.
func (p *prometheus) query(expression string) ([]float64, error) {
	var data struct{ Result []struct{ Value [2]any } }
	if err := p.get("query", url.Values{"query": {expression}}, &data); err != nil {
		return nil, err
	}
	var values []float64
	for _, r := range data.Result {
		text, _ := r.Value[1].(string)
		if v, err := strconv.ParseFloat(text, 64); err == nil && !math.IsNaN(v) {
			values = append(values, v)
		}
	}
	return values, nil
}

// variables are what Grafana puts in for its own, and for All of ours.
var variables = strings.NewReplacer("$__rate_interval", "1m", "$__range", "5m",
	"$job", ".+", "$instance", ".*", "$server", ".*", "$sink", ".*")

func TestEveryPanelAndEveryRuleHasItsDataInARealPrometheus(t *testing.T) {
	needCommand(t, "prometheus", "Debian: prometheus")
	d, hq := troubled(t)
	p := startPrometheus(t, d.health.Addr().String())
	traffic, err := lqsim.NewTraffic(lqsim.TrafficOptions{Agents: everyAgent, Rate: 50, FirstSN: 1_000_000})
	if err != nil {
		t.Fatal(err)
	}
	calls, hangUp := context.WithCancel(context.Background())
	called := make(chan struct{})
	go func() {
		defer close(called)
		_, _ = traffic.Run(calls, hq.Send) // ends with its context alone
	}()
	defer func() { hangUp(); <-called }()

	board := readDashboard(t)
	expressions := map[string]string{}
	for _, panel := range board.Panels {
		for _, target := range panel.Targets {
			expressions[fmt.Sprintf("panel %d %q, query %s", panel.ID, panel.Title, target.RefID)] = target.Expr
		}
	}
	for _, v := range board.Templating.List {
		if metric, ok := strings.CutPrefix(v.Definition, "label_values("); ok {
			metric = metric[:strings.LastIndex(metric, ",")]
			expressions["variable "+v.Name] = fmt.Sprintf("count by (%s) (%s)", v.Name, metric)
		}
	}
	if len(expressions) < 50 {
		t.Errorf("only %d queries are in %s", len(expressions), dashboardFile)
	}
	for name, expression := range expressions {
		var values []float64
		eventually(t, name+" returns data", func() bool {
			if values, err = p.query(variables.Replace(expression)); err != nil {
				t.Fatalf("%s: %v: %s", name, err, expression)
			}
			return len(values) > 0
		})
	}
	for _, a := range board.Annotations.List {
		if _, err := p.query(variables.Replace(a.Expr)); a.Expr != "" && err != nil {
			t.Errorf("annotation %s: %v", a.Name, err)
		}
	}
	t.Logf("%d queries of the dashboard returned data", len(expressions))
	checkRules(t, p)
}

// metricNames finds the names of metrics in an expression.
var metricNames = regexp.MustCompile(`\b(?:callpop|messaging|process)_[a-z_]+`)

// checkRules checks that each rule is evaluated without an error, and over series
// that are there: one that is misspelled would be silent for ever.
func checkRules(t *testing.T, p *prometheus) {
	t.Helper()
	type rule struct {
		Name, Query, Health, LastError string
		Alerts                         []struct{ Annotations map[string]string }
	}
	var data struct{ Groups []struct{ Rules []rule } }
	eventually(t, "the rules are evaluated", func() bool {
		if err := p.get("rules", nil, &data); err != nil || len(data.Groups) == 0 {
			return false
		}
		return !slices.ContainsFunc(data.Groups[0].Rules, func(r rule) bool { return r.Health == "unknown" })
	})
	for _, r := range data.Groups[0].Rules {
		if r.Health != "ok" || r.LastError != "" {
			t.Errorf("rule %s is %s: %s", r.Name, r.Health, r.LastError)
		}
		names := metricNames.FindAllString(r.Query, -1)
		for _, name := range names {
			if values, err := p.query(name); err != nil || len(values) == 0 {
				t.Errorf("rule %s: nothing is there of %s: %v", r.Name, name, err)
			}
		}
		if len(names) == 0 {
			t.Errorf("rule %s is over no metric: %s", r.Name, r.Query)
		}
	}
	t.Logf("%d rules are evaluated", len(data.Groups[0].Rules))
}

func TestADeadLetterFiresItsAlertInARealPrometheusWithWordsThatSayWhatToDo(t *testing.T) {
	needCommand(t, "prometheus", "Debian: prometheus")
	hq := startSimulator(t, lqsim.Options{})
	branch := startSimulator(t, lqsim.Options{})
	d := start(t, everySource(t, hq, branch, startNATS(t).url(), "801-820"))
	if err := hq.WaitSessions(patient(t), 20); err != nil {
		t.Fatal(err)
	}
	p := startPrometheus(t, d.health.Addr().String())
	type alert struct {
		State               string
		Labels, Annotations map[string]string
	}
	firing := func() []alert {
		var data struct{ Alerts []alert }
		if err := p.get("alerts", nil, &data); err != nil {
			t.Fatal(err)
		}
		return slices.DeleteFunc(data.Alerts, func(a alert) bool { return a.State != "firing" })
	}
	// Two scrapes before it and one after: an increase.
	eventually(t, "two scrapes", func() bool {
		values, err := p.query(`count_over_time(callpop_spool_stored_total{type="callpop.dlq.v1"}[5m])`)
		return err == nil && len(values) == 1 && values[0] >= 2
	})
	if all := firing(); len(all) > 0 {
		t.Errorf("before anything happened: %v", all)
	}
	if err := hq.Send("801", []byte("H=t1v4,,;")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the alert fires", func() bool { return len(firing()) > 0 })
	all := firing()
	if len(all) != 1 || all[0].Labels["alertname"] != "CallpopDeadLetters" || all[0].Labels["severity"] != "warning" ||
		!strings.HasSuffix(all[0].Annotations["summary"], " dead letters in 15 minutes.") ||
		!strings.Contains(all[0].Annotations["description"], "connector dlq ls") {
		t.Errorf("got %v", all)
	}
}
