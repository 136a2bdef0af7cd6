package charts

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// TestEveryValueIsExplained: by a comment of its own, or by that of what it is in.
func TestEveryValueIsExplained(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	values := 0
	var look func(prefix string, node *yaml.Node)
	look = func(prefix string, node *yaml.Node) {
		for i := 0; i+1 < len(node.Content); i += 2 {
			key, value := node.Content[i], node.Content[i+1]
			values++
			switch {
			case strings.Contains(key.HeadComment, "# -- "):
			case value.Kind == yaml.MappingNode && len(value.Content) > 0:
				look(prefix+key.Value+".", value)
			default:
				t.Errorf("%s%s has no comment", prefix, key.Value)
			}
		}
	}
	look("", document.Content[0])
	if values < 50 {
		t.Errorf("only %d values were looked at", values)
	}
}

func TestTheReadmeIsFresh(t *testing.T) {
	got, err := os.ReadFile(filepath.Join(chart, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	want := run(t, tool(t, "helm-docs"), "--chart-search-root", chart, "--sort-values-order", "file", "--dry-run")
	if string(got) != want {
		t.Error("charts/connector/README.md is not what values.yaml and README.md.gotmpl make of it: make chart-docs")
	}
}

func TestTheChartHasItsReadmeAndSchemaInside(t *testing.T) {
	if text := run(t, tool(t, "helm"), "show", "readme", chart); len(text) < 1000 {
		t.Errorf("helm show readme gives %q", text)
	}
	dir := t.TempDir()
	run(t, tool(t, "helm"), "package", chart, "--destination", dir)
	packages, err := filepath.Glob(filepath.Join(dir, "connector-*.tgz"))
	if err != nil || len(packages) != 1 {
		t.Fatalf("helm package made %v, %v", packages, err)
	}
	// What was packed refuses what the chart does: the schema and the checks are in it.
	if _, err := template(t, packages[0], []string{valuesFile(t, "replicas: 2")}); err == nil {
		t.Error("the package takes a value that does not exist")
	}
	if text, err := template(t, packages[0], []string{filepath.Join(chart, "examples", "kafka.yaml")}); err != nil || len(text) == 0 {
		t.Errorf("the package renders nothing: %v", err)
	}
}
