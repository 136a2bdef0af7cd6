// Package charts tests the Helm chart: with Helm itself, with the connector's own
// loader, against Kubernetes' schemas, and, as the slow half, in a real API server.
package charts

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	chart = "connector"
	// kubernetes is the version that charts are rendered for where a test does not
	// say another; the API server's module has the same.
	kubernetes = "1.37.2"
	// oldest is the first version that Chart.yaml takes.
	oldest = "1.28.0"
)

// object is a Kubernetes object, or a part of one.
type object = map[string]any

// tool gives the path of a program that .ci/chart-tools has built.
func tool(t testing.TB, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("-short: it takes other programs")
	}
	path, err := filepath.Abs(filepath.Join("..", ".cache", "charts", name))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		missing(t, name+" is not built: .ci/chart-tools builds it")
	}
	return path
}

// missing ends a test for which the machine lacks something.
func missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(what)
	}
	t.Skip(what)
}

// patience bounds a command.
const patience = 2 * time.Minute

// command runs a program to its end, with home as the place for whatever it keeps.
func command(t testing.TB, program string, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c := exec.CommandContext(ctx, program, args...)
	c.Env = append(os.Environ(), "HOME="+t.TempDir())
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	err = c.Run()
	return out.String(), errs.String(), err
}

// run is command for one that must succeed; it returns its standard output.
func run(t testing.TB, program string, args ...string) string {
	t.Helper()
	stdout, stderr, err := command(t, program, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", filepath.Base(program), strings.Join(args, " "), err, stdout, stderr)
	}
	return stdout
}

// valuesFile writes values where Helm can read them.
func valuesFile(t testing.TB, values string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(file, []byte(values), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// template renders a chart with values files, one over the other, and further
// arguments for helm template.
func template(t testing.TB, dir string, files []string, args ...string) (string, error) {
	t.Helper()
	all := []string{"template", "callpop", dir, "--namespace", "calls"}
	if !slices.Contains(args, "--kube-version") {
		all = append(all, "--kube-version", kubernetes)
	}
	for _, file := range files {
		all = append(all, "--values", file)
	}
	stdout, stderr, err := command(t, tool(t, "helm"), append(all, args...)...)
	if err != nil {
		return "", errors.New(stderr)
	}
	return stdout, nil
}

// render renders the chart into its objects.
func render(t testing.TB, files []string, args ...string) []object {
	t.Helper()
	text, err := template(t, chart, files, args...)
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, text)
}

// objects takes a stream of YAML documents apart.
func objects(t testing.TB, text string) (all []object) {
	t.Helper()
	for decoder := yaml.NewDecoder(strings.NewReader(text)); ; {
		var one object
		if err := decoder.Decode(&one); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if one != nil {
			all = append(all, one)
		}
	}
}

// find returns the object of a kind and name.
func find(t testing.TB, all []object, kind, name string) object {
	t.Helper()
	for _, o := range all {
		if o["kind"] == kind && at(o, "metadata", "name") == name {
			return o
		}
	}
	t.Fatalf("there is no %s %s", kind, name)
	return nil
}

// one returns the only object of a kind.
func one(t testing.TB, all []object, kind string) object {
	t.Helper()
	var found []object
	for _, o := range all {
		if o["kind"] == kind {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		t.Fatalf("there are %d objects of kind %s, want 1", len(found), kind)
	}
	return found[0]
}

// at follows keys, and indexes of lists, into an object; nil where they lead nowhere.
func at(value any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := value.(object)
			value = m[step]
		case int:
			list, _ := value.([]any)
			if step >= len(list) {
				return nil
			}
			value = list[step]
		}
	}
	return value
}

// examples are the values files of the chart's examples.
func examples(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chart, "examples", "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 5 {
		t.Fatalf("there are only %d examples", len(files))
	}
	return files
}

// plain is the least that installs.
const plain = `
config:
  sources:
    - {name: hq, type: session, address: "10.0.0.5:7628", agents: ["801"], registration: 'op={{.Agent}};'}
`
