package charts

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Kinds of objects beyond Kubernetes' own are those of the Prometheus operator.
const prometheusOperator = "github.com/prometheus-operator/prometheus-operator@v0.85.0"

// module gives the directory of a Go module's source.
func module(t testing.TB, name string) string {
	t.Helper()
	stdout, stderr, err := command(t, "go", "env", "GOMODCACHE")
	if err != nil {
		t.Fatal(stderr)
	}
	t.Setenv("GOMODCACHE", strings.TrimSpace(stdout)) // HOME is another one
	stdout, stderr, err = command(t, "go", "mod", "download", "-json", name)
	if err != nil {
		missing(t, "the module "+name+" cannot be had: "+stdout+stderr)
	}
	var found struct{ Dir string }
	if err := json.Unmarshal([]byte(stdout), &found); err != nil {
		t.Fatal(err)
	}
	return found.Dir
}

// ourKinds are those of Kubernetes that the chart makes.
var ourKinds = []string{
	"ConfigMap", "Deployment", "Ingress", "NetworkPolicy", "Pod", "PodDisruptionBudget", "Service", "ServiceAccount", "StatefulSet",
}

const objectMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"

// reachable are the definitions that one leads to, itself included.
func reachable(all map[string]object, name string) map[string]object {
	found := map[string]object{}
	var follow func(value any)
	follow = func(value any) {
		switch value := value.(type) {
		case object:
			if reference, ok := value["$ref"].(string); ok {
				name := strings.TrimPrefix(reference, "#/definitions/")
				if _, seen := found[name]; !seen {
					found[name] = all[name]
					follow(all[name])
				}
			}
			for _, below := range value {
				follow(below)
			}
		case []any:
			for _, below := range value {
				follow(below)
			}
		}
	}
	follow(object{"$ref": name})
	return found
}

// schemas makes the directory of JSON Schemas that kubeconform reads from the
// OpenAPI document of a Kubernetes version: strict, so that an unknown field fails.
func schemas(t testing.TB, version string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(module(t, "k8s.io/kubernetes@v"+version), "api", "openapi-spec", "swagger.json"))
	if err != nil {
		t.Fatal(err)
	}
	var document struct{ Definitions map[string]object }
	if err := json.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, definition := range document.Definitions {
		switch {
		case strings.HasSuffix(name, ".IntOrString"):
			document.Definitions[name] = object{"type": []string{"string", "integer"}}
		case strings.HasSuffix(name, ".Quantity"):
			document.Definitions[name] = object{"type": []string{"string", "number"}}
		case definition["properties"] != nil && definition["additionalProperties"] == nil:
			definition["additionalProperties"] = false
		}
	}
	for name, definition := range document.Definitions {
		kinds, _ := definition["x-kubernetes-group-version-kind"].([]any)
		for _, kind := range kinds {
			k := at(kind, "kind").(string)
			if !slices.Contains(ourKinds, k) {
				continue
			}
			writeSchema(t, dir, at(kind, "group").(string), at(kind, "version").(string), k, object{
				"$ref": "#/definitions/" + name, "definitions": reachable(document.Definitions, name),
			})
		}
	}
	writeJSON(t, filepath.Join(dir, "metadata.json"), object{"definitions": reachable(document.Definitions, objectMeta)})
	return dir
}

// addOperator adds the schemas of the Prometheus operator's kinds.
func addOperator(t testing.TB, dir string) {
	t.Helper()
	for _, crd := range operatorCRDs(t) {
		group := at(crd, "spec", "group").(string)
		kind := at(crd, "spec", "names", "kind").(string)
		for _, version := range at(crd, "spec", "versions").([]any) {
			schema := at(version, "schema", "openAPIV3Schema").(object)
			at(schema, "properties").(object)["metadata"] = object{"$ref": "metadata.json#/definitions/" + objectMeta}
			writeSchema(t, dir, group, at(version, "name").(string), kind, closed(schema).(object))
		}
	}
}

// operatorCRDs are the definitions of the kinds that the chart makes.
func operatorCRDs(t testing.TB) (all []object) {
	t.Helper()
	dir := filepath.Join(module(t, prometheusOperator), "example", "prometheus-operator-crd")
	for _, kind := range []string{"podmonitors", "servicemonitors", "prometheusrules"} {
		text, err := os.ReadFile(filepath.Join(dir, "monitoring.coreos.com_"+kind+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		var crd object
		if err := yaml.Unmarshal(text, &crd); err != nil {
			t.Fatal(err)
		}
		all = append(all, crd)
	}
	return all
}

// closed forbids unknown fields in a schema and all below it.
func closed(schema any) any {
	switch schema := schema.(type) {
	case object:
		_, more := schema["additionalProperties"]
		if schema["properties"] != nil && !more && schema["x-kubernetes-preserve-unknown-fields"] == nil {
			schema["additionalProperties"] = false
		}
		if schema["x-kubernetes-int-or-string"] == true {
			schema["type"] = []string{"integer", "string"}
		}
		for _, value := range schema {
			closed(value)
		}
	case []any:
		for _, value := range schema {
			closed(value)
		}
	}
	return schema
}

func writeSchema(t testing.TB, dir, group, version, kind string, schema object) {
	t.Helper()
	// As kubeconform's own template names it.
	suffix := "-" + version
	if group != "" {
		suffix = "-" + strings.Split(group, ".")[0] + suffix
	}
	writeJSON(t, filepath.Join(dir, strings.ToLower(kind)+suffix+".json"), schema)
}

func writeJSON(t testing.TB, file string, value any) {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}
