package charts

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/config"
)

func TestEveryExampleIsWithoutFaultToHelm(t *testing.T) {
	for _, file := range examples(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			lint := []string{"lint", "--strict", "--kube-version", kubernetes, "--values", file, chart}
			run(t, tool(t, "helm"), lint...)
			if os.Getenv("CONNECTOR_CHART") != "slow" {
				return
			}
			helm4 := tool(t, "helm4")
			run(t, helm4, lint...)
			got := run(t, helm4, "template", "callpop", chart, "--namespace", "calls", "--kube-version", kubernetes, "--values", file)
			if want := render(t, []string{file}); !reflect.DeepEqual(sorted(objects(t, got)), sorted(want)) {
				t.Error("Helm 4 renders something else than Helm 3")
			}
		})
	}
}

// TestTheConnectorTakesTheConfigurationOfEveryExample has the connector's own
// loader read what the pod would read: chart and binary cannot drift apart.
func TestTheConnectorTakesTheConfigurationOfEveryExample(t *testing.T) {
	for _, file := range examples(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			all := render(t, []string{file})
			set := one(t, all, "StatefulSet")
			c := load(t, all)

			grace := at(set, "spec", "template", "spec", "terminationGracePeriodSeconds").(int)
			if time.Duration(grace)*time.Second <= c.ShutdownTimeout {
				t.Errorf("the grace is %d s: want more than the %v that stopping may take", grace, c.ShutdownTimeout)
			}
			needs := 3*int64(c.Spool.MaxBytes) + int64(c.Spool.MinFree)
			if size := volumeBytes(t, set); size < needs {
				t.Errorf("the volume has %d bytes, the spool may need %d", size, needs)
			}
		})
	}
}

// load reads the configuration of rendered objects as the pod does, from a tree in
// which there are the files that its volumes would bring.
func load(t *testing.T, all []object) *config.Config {
	t.Helper()
	set := one(t, all, "StatefulSet")
	container := at(set, "spec", "template", "spec", "containers", 0)
	name := at(set, "metadata", "name").(string)
	text := at(find(t, all, "ConfigMap", name), "data", "connector.yaml").(string)

	root := t.TempDir()
	var mounts []string
	for _, mount := range at(container, "volumeMounts").([]any) {
		mounts = append(mounts, at(mount, "mountPath").(string))
	}
	text = regexp.MustCompile(`(_file: )(/\S+)`).ReplaceAllStringFunc(text, func(entry string) string {
		key, path, _ := strings.Cut(entry, ": ")
		if !below(path, mounts) {
			t.Errorf("%s: nothing of %v is mounted there", path, mounts)
		}
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(path)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, path), []byte("a secret that is long enough\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return key + ": " + filepath.Join(root, path)
	})
	var environ []string
	for _, variable := range at(container, "env").([]any) {
		value, ok := at(variable, "value").(string)
		if !ok {
			value = "0" // the pod's index, from its label
		}
		environ = append(environ, at(variable, "name").(string)+"="+value)
	}
	file := filepath.Join(root, "connector.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load(config.Input{File: file, Environ: environ})
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if !below(c.Spool.Dir, mounts) {
		t.Errorf("the spool is in %s: nothing of %v is mounted there", c.Spool.Dir, mounts)
	}
	return c
}

func below(path string, directories []string) bool {
	for _, directory := range directories {
		if strings.HasPrefix(path, directory+"/") {
			return true
		}
	}
	return false
}

// volumeBytes is the size of the spool's volume.
func volumeBytes(t *testing.T, set object) int64 {
	t.Helper()
	size, _ := at(set, "spec", "volumeClaimTemplates", 0, "spec", "resources", "requests", "storage").(string)
	if size == "" {
		for _, volume := range at(set, "spec", "template", "spec", "volumes").([]any) {
			if at(volume, "name") == "spool" {
				size = at(volume, "emptyDir", "sizeLimit").(string)
			}
		}
	}
	gibibytes, ok := strings.CutSuffix(size, "Gi")
	if !ok {
		t.Fatalf("the volume's size is %q: expected Gi", size)
	}
	var n int64
	for _, digit := range gibibytes {
		n = n*10 + int64(digit-'0')
	}
	return n << 30
}

// TestWhatTheChartDoesNotKnowReachesTheConnectorUnchanged is what config: is for.
func TestWhatTheChartDoesNotKnowReachesTheConnectorUnchanged(t *testing.T) {
	all := render(t, []string{valuesFile(t, plain+`
  sinks:
    - {name: lake, type: kafka, brokers: ["kafka:9092"], batch_records: 100000, create_topics: {config: {retention.ms: "259200000"}}}
  spool: {sync: always, max_bytes: 5000000000}
  log: {numbers: true}
  source: {buffer_bytes: 128MiB}
`)})
	c := load(t, all)
	if got := c.Spool.Sync.String(); got != "always" {
		t.Errorf("spool.sync is %s, want always", got)
	}
	if c.Spool.Dir != "/var/lib/connector/spool" || c.HTTP.Health != ":8080" {
		t.Errorf("the chart's own defaults are gone: %q, %q", c.Spool.Dir, c.HTTP.Health)
	}
	text := at(find(t, all, "ConfigMap", "callpop-connector"), "data", "connector.yaml").(string)
	for _, want := range []string{"batch_records: 100000\n", `retention.ms: "259200000"`, "numbers: true", "max_bytes: 5000000000\n", "registration: op={{.Agent}};", `- "801"`} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
}

// sorted is the objects by kind and name: Helm 4 has another order.
func sorted(all []object) map[string]object {
	byName := map[string]object{}
	for _, o := range all {
		byName[fmt.Sprint(o["kind"], at(o, "metadata", "name"))] = o
	}
	return byName
}
