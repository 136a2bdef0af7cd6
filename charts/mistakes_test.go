package charts

import (
	"strings"
	"testing"
)

// TestEveryMistakeIsNamed: a values file that cannot work is refused before
// anything is installed, with the value's name.
func TestEveryMistakeIsNamed(t *testing.T) {
	relay := func(rest string) string {
		return "config:\n  sources:\n    - {name: d, type: relay, address: '10.0.0.6:7628'" + rest + "}\n"
	}
	for _, c := range []struct{ name, values, want string }{
		{"nothing at all", "", "config.sources is empty: expected at least one source"},
		{"a value that does not exist", "replicas: 2", "additional properties 'replicas' not allowed"},
		{"a slip inside a section", "persistence: {sise: 1Gi}", "additional properties 'sise' not allowed"},
		{"a number as text", "replicaCount: two", "at '/replicaCount': got string, want integer"},
		{"a size that is none", "persistence: {size: 16 GB}", "at '/persistence/size'"},
		{"a strategy that does not exist", "updateStrategy: {type: Recreate}", "at '/updateStrategy/type'"},
		{"an environment that is a map", "extraEnv: {A: b}", "at '/extraEnv'"},
		{"an environment variable that is a number", "extraEnv: [{name: A, value: 5}]", "at '/extraEnv/0/value'"},
		{"a digest that is a tag", "image: {digest: latest}", "at '/image/digest'"},
		{"a retention that does not exist", "persistence: {retention: {whenScaled: Keep}}", "at '/persistence/retention/whenScaled'"},
		{"a label that is a number", "podLabels: {tier: 1}", "at '/podLabels/tier'"},
		{"a service type that does not exist", "services: {relay: {type: ExternalName}}", "at '/services/relay/type'"},

		{"probes on loopback", plain + "  http: {health: '127.0.0.1:8080'}", `config.http.health is "127.0.0.1:8080": expected an address such as ":8080"`},
		{"no probes", plain + "  http: {health: ''}", `config.http.health is ""`},
		{"a port that is a name", plain + "  http: {health: ':http'}", `config.http.health is ":http": expected host:port with a number`},
		{"a relay on loopback", relay(", listen: '127.0.0.1:7628'"), `config.sources[0].listen is "127.0.0.1:7628"`},
		{"two listeners on a port", relay(", listen: ':8080'"), "health and relay-8080 both listen on port 8080"},
		{"a callback without an address", "config: {sources: [{name: p, type: callback}]}", `config.sources[0].listen is ""`},
		{"an LQ server without a port", "config: {sources: [{name: hq, type: session, address: 10.0.0.5}]}", `config.sources[0].address is "10.0.0.5": expected host:port`},
		{"a spool beside the volume", plain + "  spool: {dir: /data}", `config.spool.dir is "/data": expected a directory below persistence.mountPath, /var/lib/connector`},
		{"a drain that would be killed", plain + "  shutdown_timeout: 1m30s\nterminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds is 60: expected more than config.shutdown_timeout, 90 seconds"},
		{"a duration without a unit", plain + "  shutdown_timeout: 20", `config.shutdown_timeout is "20": expected a duration such as 20s`},
		{"a count in config", plain + "  replicas: {count: 2}", "config.replicas.count is 2: expected rosterCount or replicaCount"},
		{"an index in config", plain + "  replicas: {index: 0}", "config.replicas.index is 0"},
		{"a roster that is larger than the pods", plain + "rosterCount: 3", "rosterCount is 3 and replicaCount 1"},
		{"a secret that is not mounted", plain + "  sinks: [{name: e, type: nats, url: 'nats://n', token_file: /etc/connector/files/natz/token}]\nfiles: {nats: {secret: s}}",
			`config.sinks[0].token_file is "/etc/connector/files/natz/token": nothing is mounted there: expected /etc/connector/files/<name>/<key> with a name of files (nats)`},
		{"a file deep inside", plain + "  sinks: [{name: e, type: kafka, brokers: ['k:1'], tls: {ca_file: /ca.pem}}]", `config.sinks[0].tls.ca_file is "/ca.pem"`},
		{"files of nowhere", plain + "files: {nats: {}}", "files.nats: expected either secret or configMap"},
		{"files of two places", plain + "files: {nats: {secret: a, configMap: b}}", "files.nats: expected either secret or configMap"},
		{"a variable that the chart sets", plain + "extraEnv: [{name: GOMEMLIMIT, value: 1GiB}]", `extraEnv[0].name is "GOMEMLIMIT"`},
		{"a variable twice", plain + "extraEnv: [{name: A, value: a}, {name: A, value: b}]", `extraEnv[1].name is "A"`},
		{"two monitors", plain + "metrics: {podMonitor: {enabled: true}, serviceMonitor: {enabled: true}}", "metrics.podMonitor.enabled and metrics.serviceMonitor.enabled are both true"},
		{"an Ingress to nothing", plain + "ingress: {enabled: true, hosts: [pops.example]}", `ingress.enabled is true and config.http.public is ""`},
		{"an Ingress for every host", plain + "  http: {public: ':8090'}\ningress: {enabled: true}", "ingress.hosts is empty"},
		{"a peer that nobody calls", plain + "networkPolicy: {peers: {natz: []}}", "networkPolicy.peers.natz: config connects to no such host: expected one of 10.0.0.5"},
		{"a broker without an address", plain + "  sinks: [{name: e, type: nats, url: '${NATS}'}]", "config.sinks[0].url: expected a URL"},
		{"memory that is no size", plain + "resources: {limits: {memory: lots}}", `resources.limits.memory is "lots"`},
		{"an old Kubernetes", plain, "chart requires kubeVersion"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var args []string
			if strings.HasPrefix(c.want, "chart requires") {
				args = []string{"--kube-version", "1.27.0"}
			}
			_, err := template(t, chart, []string{valuesFile(t, c.values)}, args...)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
}

func TestAMessageShowsNoPassword(t *testing.T) {
	_, err := template(t, chart, []string{valuesFile(t, plain+"  sinks: [{name: e, type: nats, url: 'nats://user:hunter2@'}]")})
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v, want a mistake without the password", err)
	}
}
