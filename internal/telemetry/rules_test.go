package telemetry

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	rulesFile     = "../../charts/connector/files/prometheus-rules.yaml"
	ruleTestsFile = "testdata/rules_test.yaml"
	runbook       = "../../docs/operations.md"
)

type alertRule struct {
	Alert, Expr         string
	Labels, Annotations map[string]string
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func alertRules(t *testing.T) []alertRule {
	t.Helper()
	var file struct{ Groups []struct{ Rules []alertRule } }
	readYAML(t, rulesFile, &file)
	var rules []alertRule
	for _, group := range file.Groups {
		rules = append(rules, group.Rules...)
	}
	return rules
}

func TestEachAlertSaysWhatItMeansAndHasItsPlaceInTheRunbook(t *testing.T) {
	text, err := os.ReadFile(runbook)
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]bool{}
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(line, "### Callpop"); ok {
			documented["Callpop"+strings.TrimSpace(name)] = true
		}
	}
	for _, r := range alertRules(t) {
		if !slices.Contains([]string{"critical", "warning"}, r.Labels["severity"]) ||
			r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s: %v, %v", r.Alert, r.Labels, r.Annotations)
		}
		// GitHub's anchor of a heading of one word is that word in lower case.
		if want := "/docs/operations.md#" + strings.ToLower(r.Alert); !strings.HasSuffix(r.Annotations["runbook_url"], want) {
			t.Errorf("%s: runbook %q, want one that ends in %s", r.Alert, r.Annotations["runbook_url"], want)
		}
		if !documented[r.Alert] {
			t.Errorf("%s has no section in %s", r.Alert, runbook)
		}
		delete(documented, r.Alert)
	}
	for name := range documented {
		t.Errorf("%s has a section on %s, which is no alert", runbook, name)
	}
}

func TestEachAlertFiresInATestOfIt(t *testing.T) {
	var file struct {
		Tests []struct {
			Expressions []struct {
				Samples []struct{ Labels string } `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		}
	}
	readYAML(t, ruleTestsFile, &file)
	fires := map[string]bool{}
	for _, test := range file.Tests {
		for _, e := range test.Expressions {
			for _, s := range e.Samples {
				fires[s.Labels] = true
			}
		}
	}
	for _, r := range alertRules(t) {
		if !fires[`{alertname="`+r.Alert+`"}`] {
			t.Errorf("%s fires in no test of %s", r.Alert, ruleTestsFile)
		}
	}
}

// TestAlertsFireWhenTheyShouldAndNotElse has promtool check the rules and run
// testdata/rules_test.yaml.
func TestAlertsFireWhenTheyShouldAndNotElse(t *testing.T) {
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("promtool is missing (Debian: prometheus)")
		}
		t.Skip("promtool is missing (Debian: prometheus)")
	}
	dir := t.TempDir()
	for _, file := range []string{rulesFile, ruleTestsFile} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(file)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, arguments := range [][]string{
		{"check", "rules", filepath.Base(rulesFile)}, {"test", "rules", filepath.Base(ruleTestsFile)},
	} {
		command := exec.CommandContext(t.Context(), promtool, arguments...)
		command.Dir = dir
		if output, err := command.CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v: %s", arguments, err, output)
		}
	}
}
