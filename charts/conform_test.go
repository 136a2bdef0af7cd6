package charts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// everything switches on what the examples leave off.
const everything = plain + `
  http: {health: ":8080", public: ":8090"}
  embedded: {listen: "0.0.0.0:4222", user: u, password_file: /etc/connector/files/login/password}
files: {login: {secret: s, items: [{key: password, path: password}]}, ca: {configMap: c, optional: true}}
ingress: {enabled: true, className: nginx, hosts: [pops.example], tls: [{hosts: [pops.example], secretName: t}]}
metrics:
  serviceMonitor: {enabled: true, labels: {release: p}, relabelings: [{sourceLabels: [a], targetLabel: b}]}
  prometheusRule: {enabled: true}
  dashboard: {enabled: true, namespace: grafana}
services:
  public: {type: LoadBalancer, loadBalancerClass: example.com/lb, loadBalancerSourceRanges: [10.0.0.0/8]}
  nats: {type: NodePort, nodePorts: {"4222": 30422}}
otlp: {endpoint: "http://collector:4317", metrics: true}
ipFamilyPolicy: PreferDualStack
imagePullSecrets: [{name: pull}]
hostAliases: [{ip: 10.0.0.5, hostnames: [lq.example]}]
dnsConfig: {options: [{name: ndots, value: "2"}]}
nodeSelector: {kubernetes.io/os: linux}
tolerations: [{key: a, operator: Exists}]
affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: a, operator: Exists}]}]}}}
priorityClassName: high
runtimeClassName: gvisor
simulator: {enabled: true}
tests: {publish: true}
extraEnv: [{name: TZ, value: Asia/Shanghai}]
extraEnvFrom: [{secretRef: {name: more}}]
extraVolumes: [{name: x, emptyDir: {}}]
extraVolumeMounts: [{name: x, mountPath: /x}]
extraInitContainers: [{name: i, image: i, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]
extraContainers: [{name: c, image: c, securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}}]
extraObjects:
  - {apiVersion: v1, kind: ConfigMap, metadata: {name: "{{ .Release.Name }}-map"}}
  - |
    apiVersion: v1
    kind: ConfigMap
    metadata:
      name: {{ include "connector.fullname" . }}-text
`

// allValues are values files that together use every template: the examples, and
// one that switches all else on.
func allValues(t testing.TB) map[string]string {
	t.Helper()
	all := map[string]string{"everything": valuesFile(t, everything)}
	for _, file := range examples(t) {
		all[filepath.Base(file)] = file
	}
	return all
}

// TestEveryObjectIsOneOfKubernetes checks every field of every object against the
// oldest and the newest version of Kubernetes that the chart is for.
func TestEveryObjectIsOneOfKubernetes(t *testing.T) {
	kubeconform := tool(t, "kubeconform")
	for _, version := range []string{oldest, kubernetes} {
		t.Run(version, func(t *testing.T) {
			dir := schemas(t, version)
			addOperator(t, dir)
			location := filepath.Join(dir, "{{ .ResourceKind }}{{ .KindSuffix }}.json")
			args := []string{"-strict", "-summary", "-schema-location", location}
			for name, values := range allValues(t) {
				text, err := template(t, chart, []string{values}, "--kube-version", version)
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				args = append(args, manifest(t, text))
			}
			stdout, stderr, err := command(t, kubeconform, args...)
			if err != nil || !strings.Contains(stdout, "Invalid: 0, Errors: 0, Skipped: 0") {
				t.Errorf("%v\n%s%s", err, stdout, stderr)
			}
			stdout, _, err = command(t, kubeconform, "-strict", "-schema-location", location,
				manifest(t, "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {prots: []}\n"))
			if err == nil {
				t.Errorf("a field that does not exist passes: %s", stdout)
			}
		})
	}
}

// manifest writes rendered objects into a file.
func manifest(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// notScored is what kube-score is not asked for, with the reason. Nor is a CPU
// limit: throttling would delay pops.
var notScored = map[string]string{
	"container-image-pull-policy":                   "a tag is a version, which is never pushed twice; Always would make a start depend on the registry",
	"container-ephemeral-storage-request-and-limit": "what is written is on volumes, which have their own sizes",
	"pod-probes":                           "the simulator's only port is the LQ port, which is never probed; TestProbes looks at the connector's",
	"statefulset-has-host-podantiaffinity": "topologySpreadConstraints spread the pods, by zone in one example",
	"deployment-replicas":                  "the simulator is one pod",
}

func TestKubeScoreFindsNothingToImprove(t *testing.T) {
	args := []string{"score", "--kubernetes-version", "v1.35", "--ignore-container-cpu-limit"}
	for check := range notScored {
		args = append(args, "--ignore-test", check)
	}
	for name, values := range allValues(t) {
		if name == "everything" {
			continue // containers and objects that are not the chart's own
		}
		text, err := template(t, chart, []string{values}, "--skip-tests")
		if err != nil {
			t.Fatal(err)
		}
		stdout, stderr, err := command(t, tool(t, "kube-score"), append(args, manifest(t, text))...)
		if err != nil {
			t.Errorf("%s: %v\n%s%s", name, err, stdout, stderr)
		}
	}
}

// TestProbes: over HTTP, on the health port, and never on the LQ port.
func TestProbes(t *testing.T) {
	set := one(t, render(t, []string{filepath.Join(chart, "examples", "relay.yaml")}), "StatefulSet")
	container := at(set, "spec", "template", "spec", "containers", 0)
	for probe, path := range map[string]string{"startupProbe": "/readyz", "livenessProbe": "/livez", "readinessProbe": "/readyz"} {
		if got := at(container, probe, "httpGet"); at(got, "path") != path || at(got, "port") != "health" {
			t.Errorf("%s asks %v, want %s on port health", probe, got, path)
		}
	}
	if port := at(container, "ports", 0); at(port, "name") != "health" || at(port, "containerPort") != 8080 {
		t.Errorf("the first port is %v, want health on 8080", port)
	}
}

func TestTheSuitesOfHelmUnittest(t *testing.T) {
	stdout, stderr, err := command(t, tool(t, "helm-unittest"), chart)
	if err != nil {
		t.Errorf("%v\n%s%s", err, stdout, stderr)
	}
}
