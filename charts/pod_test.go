package charts

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// runPods runs a script that stands for a node: a network of its own, in which
// everything is on loopback, and the image as a read-only root with /tmp and the
// spool's volume in memory. In it, `container NAME` runs a container of the pods.
func runPods(t *testing.T, containers map[string]string, root, script string) (string, error) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		missing(t, "no root of a Linux: a pod cannot be put into a namespace of its own")
	}
	var text strings.Builder
	fmt.Fprintf(&text, `set -eu
root=%q
ip link set lo up
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o uid=65532,gid=65532 tmpfs "$root/var/lib/connector"
container() {
	case $1 in
`, root)
	for name, line := range containers {
		fmt.Fprintf(&text, "\t%s) exec %s ;;\n", name, line)
	}
	text.WriteString("\tesac\n}\n" + script)
	file := filepath.Join(t.TempDir(), "pods.sh")
	if err := os.WriteFile(file, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	// All of it ends with its first process.
	stdout, stderr, err := command(t, "unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "bash", file)
	if err != nil {
		return stdout, fmt.Errorf("%w\n%s%s", err, stdout, stderr)
	}
	return stdout, nil
}

// containerLine is the command line of a container of a pod, as the user that the
// pod says, with its variables and no others.
func containerLine(t *testing.T, root string, spec any) string {
	t.Helper()
	container := at(spec, "containers", 0)
	line := `env -i PATH="$PATH"`
	variables, _ := at(container, "env").([]any)
	for _, variable := range variables {
		value, ok := at(variable, "value").(string)
		if !ok {
			value = "0" // the pod's index
		}
		line += fmt.Sprintf(" %s=%s", at(variable, "name"), quote(value))
	}
	user := fmt.Sprintf("%v:%v", at(spec, "securityContext", "runAsUser"), at(spec, "securityContext", "runAsGroup"))
	line += " chroot --userspec=" + user + " " + quote(root) + " /connector"
	arguments, _ := at(container, "args").([]any)
	for _, argument := range arguments {
		line += " " + quote(fmt.Sprint(argument))
	}
	return line
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

func TestTheImageRunsTheDemo(t *testing.T) {
	root := t.TempDir()
	image(t, runtime.GOARCH).unpack(t, root)
	pod := object{"securityContext": object{"runAsUser": 65532, "runAsGroup": 65532}, "containers": []any{object{"args": []any{"demo", "--count", 3, "-o", "json"}}}}
	version := object{"securityContext": pod["securityContext"], "containers": []any{object{"args": []any{"version"}}}}
	stdout, err := runPods(t, map[string]string{"demo": containerLine(t, root, pod), "version": containerLine(t, root, version)},
		root, "(container demo)\n(container version)\n")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(stdout, `"server":"demo"`); got != 3 {
		t.Errorf("there are %d pops: %s", got, stdout)
	}
	labels := image(t, runtime.GOARCH).config.Config.Labels
	for _, label := range []string{"version", "revision", "created"} {
		if want := labels["org.opencontainers.image."+label]; !strings.Contains(stdout, want) {
			t.Errorf("connector version does not say %s", want)
		}
	}
}

// TestTheTrialWorks runs the containers of the trial as rendered: the simulator's
// pops go through the connector and come back from its broker, to a client that
// logs in, and the pods of helm test are content.
func TestTheTrialWorks(t *testing.T) {
	all := render(t, []string{filepath.Join(chart, "examples", "trial.yaml")})
	root := t.TempDir()
	image(t, runtime.GOARCH).unpack(t, root)
	put := func(path, text string) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // the pod's user reads it
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // the pod's user reads it
			t.Fatal(err)
		}
	}
	put("etc/connector/config/connector.yaml", at(find(t, all, "ConfigMap", "connector"), "data", "connector.yaml").(string))
	put("etc/connector/files/readers/password", "secret")
	put("etc/connector/files/readers/login", "reader:secret")
	put("etc/hosts", "127.0.0.1 localhost connector-simulator\n")

	set := one(t, all, "StatefulSet")
	tail := object{"securityContext": at(set, "spec", "template", "spec", "securityContext"), "containers": []any{object{"args": []any{
		"tail", "--nats", "nats://127.0.0.1:4222", "--user-file", "/etc/connector/files/readers/login", "--count", 2, "-o", "json",
	}}}}
	containers := map[string]string{
		"connector": containerLine(t, root, at(set, "spec", "template", "spec")),
		"simulator": containerLine(t, root, at(one(t, all, "Deployment"), "spec", "template", "spec")),
		"check":     containerLine(t, root, at(find(t, all, "Pod", "connector-test-config"), "spec")),
		"pops":      containerLine(t, root, at(find(t, all, "Pod", "connector-test-pops"), "spec")),
		"tail":      containerLine(t, root, tail),
	}
	stdout, err := runPods(t, containers, root, `
(container simulator) 2>/dev/null &
(container connector) &
connector=$!
until (container tail) 2>/dev/null; do
	kill -0 $connector
	sleep 0.2
done
(container check) >&2
(container pops)
kill -TERM $connector
wait $connector
echo drained
`)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(stdout, `"server":"trial"`); got != 2 {
		t.Errorf("%d pops of the simulator came back: %s", got, stdout)
	}
	if got := strings.Count(stdout, `"server":"demo"`); got != 3 {
		t.Errorf("%d pops of helm test came back: %s", got, stdout)
	}
	if !strings.HasSuffix(stdout, "drained\n") {
		t.Errorf("the connector did not end in order: %s", stdout)
	}
}
