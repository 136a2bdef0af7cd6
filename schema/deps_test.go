package schema_test

import (
	"os/exec"
	"strings"
	"testing"
)

// Consumers import this package: it must bring nothing along.
func TestThePackageNeedsTheStandardLibraryOnly(t *testing.T) {
	const self = "github.com/callpop/connector/schema"
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Fields(string(out)); len(got) != 1 || got[0] != self {
		t.Errorf("got %v outside the standard library, want %s alone", got, self)
	}
}
