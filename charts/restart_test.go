package charts

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

// TestWhatNeedsNoRestartCausesNone: a pod restarts when its template changes, and
// its agents' sessions are closed.
func TestWhatNeedsNoRestartCausesNone(t *testing.T) {
	base := one(t, render(t, []string{valuesFile(t, plain)}), "StatefulSet")
	for _, c := range []struct {
		name, values string
		restarts     bool
	}{
		{"another roster", strings.Replace(plain, `"801"`, `"801-899"`, 1), false},
		{"another server", strings.Replace(plain, "10.0.0.5", "10.0.0.9", 1), false},
		{"a sink", plain + "  sinks: [{name: e, type: nats, url: 'nats://nats'}]", false},
		{"more pods", plain + "replicaCount: 3", false},
		{"a smaller roster", plain + "replicaCount: 2\nrosterCount: 1", false},
		{"labels for all objects", plain + "commonLabels: {team: voice}", false},
		{"monitoring", plain + "metrics: {podMonitor: {enabled: true}, prometheusRule: {enabled: true}, dashboard: {enabled: true}}", false},
		{"no network policy", plain + "networkPolicy: {enabled: false}", false},
		{"another strategy", plain + "updateStrategy: {type: OnDelete}", false},
		{"another retention", plain + "persistence: {retention: {whenDeleted: Delete}}", false},
		{"a load balancer", plain + "services: {relay: {type: LoadBalancer}}", false},

		{"another image", plain + "image: {tag: 9.9.9}", true},
		{"more memory", plain + "resources: {limits: {memory: 1Gi}}", true},
		{"a longer drain", plain + "  shutdown_timeout: 1m", true},
		{"another port", plain + "  http: {health: ':9090'}", true},
		{"a restart that was asked for", plain + "restartOnConfigChange: true", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := one(t, render(t, []string{valuesFile(t, c.values)}), "StatefulSet")
			same := reflect.DeepEqual(at(base, "spec", "template"), at(set, "spec", "template"))
			if got := !same; got != c.restarts {
				t.Errorf("restarts: %v, want %v", got, c.restarts)
			}
			unchangeable(t, base, set)
		})
	}
	t.Run("a new version of the chart", func(t *testing.T) {
		next := nextChart(t)
		text, err := template(t, next, []string{valuesFile(t, plain)}, "--set", "image.tag=0.1.0")
		if err != nil {
			t.Fatal(err)
		}
		set := one(t, objects(t, text), "StatefulSet")
		if !reflect.DeepEqual(at(base, "spec", "template"), at(set, "spec", "template")) {
			t.Error("it restarts the pods")
		}
		if reflect.DeepEqual(at(base, "metadata", "labels"), at(set, "metadata", "labels")) {
			t.Error("it is not another version: the test shows nothing")
		}
		unchangeable(t, base, set)
	})
}

// unchangeable checks what Kubernetes refuses to change in a StatefulSet.
func unchangeable(t *testing.T, base, set object) {
	t.Helper()
	for _, field := range []string{"selector", "serviceName", "podManagementPolicy", "volumeClaimTemplates"} {
		if got, want := at(set, "spec", field), at(base, "spec", field); !reflect.DeepEqual(got, want) {
			t.Errorf("spec.%s changes from %v to %v", field, want, got)
		}
	}
}

// nextChart is the chart with a new version of itself and of the connector.
func nextChart(t testing.TB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), chart)
	if err := os.CopyFS(dir, os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "Chart.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.NewReplacer("\nversion: ", "\nversion: 9", "\nappVersion: ", "\nappVersion: 9").Replace(string(text))
	if err := os.WriteFile(file, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestARestartThatWasAskedForFollowsTheConfiguration: the annotation changes with
// config, and with nothing else.
func TestARestartThatWasAskedForFollowsTheConfiguration(t *testing.T) {
	sum := func(values string) any {
		set := one(t, render(t, []string{valuesFile(t, values+"\nrestartOnConfigChange: true")}), "StatefulSet")
		return at(set, "spec", "template", "metadata", "annotations", "checksum/config")
	}
	first := sum(plain)
	if again := sum(plain + "commonLabels: {team: voice}"); first == nil || again != first {
		t.Errorf("the sums are %v and %v, want one", first, again)
	}
	if other := sum(strings.Replace(plain, `"801"`, `"802"`, 1)); other == first {
		t.Errorf("the sum stays %v", other)
	}
}
