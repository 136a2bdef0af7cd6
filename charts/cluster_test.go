package charts

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestTheChartLivesInARealCluster is the slow half: CONNECTOR_CHART=slow, or make
// chart-slow, which builds what it needs.
func TestTheChartLivesInARealCluster(t *testing.T) {
	if os.Getenv("CONNECTOR_CHART") != "slow" {
		t.Skip("CONNECTOR_CHART is not slow: make chart-slow builds an API server and sets it")
	}
	s := startAPIServer(t)
	for _, crd := range operatorCRDs(t) {
		s.create(t, "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
	}
	// Pods that are not restricted are refused, and what would make such pods
	// brings a warning.
	for _, name := range []string{"calls", "grafana"} {
		s.create(t, "/api/v1/namespaces", object{
			"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": name, "labels": object{
				"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted",
			}},
		})
	}
	for _, name := range []string{"high", "business-critical"} {
		s.create(t, "/apis/scheduling.k8s.io/v1/priorityclasses", object{
			"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": object{"name": name}, "value": 1000,
		})
	}
	s.create(t, "/apis/node.k8s.io/v1/runtimeclasses", object{
		"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": object{"name": "gvisor"}, "handler": "runsc",
	})
	s.await(t, "/apis/monitoring.coreos.com/v1/namespaces/calls/podmonitors")

	t.Run("every object is stored as it is written, without a warning", func(t *testing.T) { applyAll(t, s) })
	t.Run("a pod that is not restricted brings a warning", func(t *testing.T) { warns(t, s) })
	for _, helm := range []string{"helm", "helm4"} {
		t.Run(helm, func(t *testing.T) { lives(t, s, helm) })
	}
}

// await waits until the API server serves a kind that was just defined.
func (s *apiServer) await(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		status, answer, _, err := s.call(t, http.MethodGet, path, "", nil)
		if err == nil && status == http.StatusOK {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d, %v\n%s", path, status, err, answer)
		}
	}
}

// apply sends an object as kubectl apply --server-side --validate=strict does.
func (s *apiServer) apply(t *testing.T, o object, query string) (status int, answer string, warnings []string) {
	t.Helper()
	body, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	path := resource(t, o) + "/" + at(o, "metadata", "name").(string) + "?fieldManager=test&fieldValidation=Strict" + query
	status, answer, warnings, err = s.call(t, http.MethodPatch, path, "application/apply-patch+yaml", body)
	if err != nil {
		t.Fatal(err)
	}
	return status, answer, warnings
}

func applyAll(t *testing.T, s *apiServer) {
	for name, values := range allValues(t) {
		for _, o := range render(t, []string{values}) {
			if status, answer, warnings := s.apply(t, o, "&dryRun=All"); status >= 300 || len(warnings) > 0 {
				t.Errorf("%s: %v %v: %d %q\n%s", name, o["kind"], at(o, "metadata", "name"), status, warnings, answer)
			}
			// A controller makes pods of templates; here it is done by hand, and
			// Pod Security looks at the pod itself.
			template, ok := at(o, "spec", "template").(object)
			if !ok {
				continue
			}
			pod := object{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": "p", "labels": at(template, "metadata", "labels")}, "spec": template["spec"]}
			volumes, _ := at(pod, "spec", "volumes").([]any)
			if o["kind"] == "StatefulSet" && !slices.ContainsFunc(volumes, func(v any) bool { return at(v, "name") == "spool" }) {
				pod["spec"].(object)["volumes"] = append(volumes, object{"name": "spool", "persistentVolumeClaim": object{"claimName": "spool-p"}})
			}
			if status, answer, warnings := s.apply(t, pod, "&dryRun=All"); status >= 300 || len(warnings) > 0 {
				t.Errorf("%s: the pod of %v: %d %q\n%s", name, at(o, "metadata", "name"), status, warnings, answer)
			}
		}
	}
}

// warns shows that the silence above means something.
func warns(t *testing.T, s *apiServer) {
	set := one(t, render(t, []string{valuesFile(t, plain+"podSecurityContext: {runAsNonRoot: false}")}), "StatefulSet")
	_, _, warnings := s.apply(t, set, "&dryRun=All")
	if len(warnings) != 1 || !strings.Contains(warnings[0], `would violate PodSecurity \"restricted`) {
		t.Errorf("got %q, want a warning", warnings)
	}
	set["spec"].(object)["podManagment"] = "Parallel"
	if status, answer, _ := s.apply(t, set, "&dryRun=All"); status < 400 || !strings.Contains(answer, "podManagment") {
		t.Errorf("a field that does not exist: %d %s", status, answer)
	}
}

// lives goes through the life of a release.
func lives(t *testing.T, s *apiServer, helm string) {
	program := tool(t, helm)
	do := func(args ...string) string {
		t.Helper()
		args = append(args, "--namespace", "calls", "--kubeconfig", s.kubeconfig)
		stdout, stderr, err := command(t, program, args...)
		if err != nil {
			t.Fatalf("%s %s: %v\n%s%s", helm, strings.Join(args, " "), err, stdout, stderr)
		}
		if strings.Contains(strings.ToLower(stderr), "warning") || strings.Contains(stderr, "violate") {
			t.Errorf("%s %s warns: %s", helm, args[0], stderr)
		}
		return stdout
	}
	set := func() object {
		var o object
		text := s.must(t, http.MethodGet, "/apis/apps/v1/namespaces/calls/statefulsets/callpop-connector", "", nil)
		if err := json.Unmarshal([]byte(text), &o); err != nil {
			t.Fatal(err)
		}
		return o
	}
	config := func() string {
		return s.must(t, http.MethodGet, "/api/v1/namespaces/calls/configmaps/callpop-connector", "", nil)
	}
	// Defaults of the server count: what it fills in must not differ either.
	template := func(o object) string {
		text, err := json.Marshal(at(o, "spec", "template"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}

	notes := do("install", "callpop", chart, "--values", valuesFile(t, plain))
	for _, want := range []string{"A change of config restarts nothing", "callpop_sink_backlog", "no autoscaler", "helm -n calls test callpop"} {
		if !strings.Contains(notes, want) {
			t.Errorf("the notes lack %q:\n%s", want, notes)
		}
	}
	first := set()
	do("upgrade", "callpop", chart, "--values", valuesFile(t, strings.Replace(plain, `"801"`, `"801-850"`, 1)+"replicaCount: 3"))
	second := set()
	if template(first) != template(second) || !strings.Contains(config(), "801-850") {
		t.Errorf("a larger roster and more pods change the pods' template from\n%s to\n%s", template(first), template(second))
	}
	if replicas := at(second, "spec", "replicas"); replicas != 3.0 {
		t.Errorf("spec.replicas is %v, want 3", replicas)
	}
	do("upgrade", "callpop", nextChart(t), "--values", valuesFile(t, plain))
	if third := set(); template(first) == template(third) || at(third, "metadata", "labels", "helm.sh/chart") == at(first, "metadata", "labels", "helm.sh/chart") {
		t.Error("a new version brings no new image")
	}
	do("rollback", "callpop", "2")
	if fourth := set(); template(fourth) != template(second) || !strings.Contains(config(), "801-850") {
		t.Errorf("the rollback leads to\n%s, not to\n%s", template(fourth), template(second))
	}
	do("uninstall", "callpop")
	status, answer, _, err := s.call(t, http.MethodGet, "/apis/apps/v1/namespaces/calls/statefulsets/callpop-connector", "", nil)
	if err != nil || status != http.StatusNotFound {
		t.Errorf("after uninstall the StatefulSet answers %d, %v\n%s", status, err, answer)
	}
}
