package archtest

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestNoPackageGoesAgainstTheArrows(t *testing.T) {
	packages := list(t)
	ours := 0
	for _, p := range packages {
		if _, mine := relative(p.ImportPath); mine {
			ours++
		}
	}
	if ours < 2 {
		t.Fatalf("go list found %d packages of ours among %d", ours, len(packages))
	}
	for _, line := range violations(packages) {
		t.Error(line)
	}
}

const root = "../.."

// list asks the go command for every package of ours and all that they need.
func list(t *testing.T) []goPackage {
	t.Helper()
	look(t)
	command := exec.CommandContext(t.Context(), "go", "list", "-e", "-deps", "-json=ImportPath,Standard,Imports", "./...")
	command.Dir = root
	output, err := command.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("%v: %s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var all []goPackage
	for decoder := json.NewDecoder(strings.NewReader(string(output))); ; {
		var p goPackage
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("read what go list says: %v", err)
		}
		all = append(all, p)
	}
}

// look opens every directory that may hold Go files. What a test opens decides
// whether its last result still holds; what the go command reads for it does not.
func look(t *testing.T) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() {
			return err
		}
		if name := entry.Name(); path != root && (strings.HasPrefix(name, ".") || name == "testdata") {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEachArrowIsKept(t *testing.T) {
	for _, c := range []struct {
		from, to string
		want     bool
	}{
		{"schema", "encoding/json", true},
		{"schema", "github.com/google/uuid", false},
		{"schema", module + "/internal/secret", false},
		{"schema", module + "/source", false},
		{"source/frame", "golang.org/x/text/encoding", true},
		{"source/frame", module + "/schema", false},
		{"source/pop", module + "/source/frame", false},
		{"source/lqsim", module + "/source/pop", true},
		{"source/lqsim", module + "/source", false},
		{"source/lqsim", module + "/schema", false},
		{"source", module + "/schema", true},
		{"source", module + "/internal/bytesize", true},
		{"source", module + "/source/session", false},
		{"source", module + "/internal/spool", false},
		{"source", module + "/internal/telemetry", false},
		{"source/session", module + "/source", true},
		{"source/session", module + "/source/frame", true},
		{"source/session", module + "/source/relay", false},
		{"source/session", module + "/source/lqsim", false},
		{"source/session", module + "/sink", false},
		{"internal/spool", module + "/schema", true},
		{"internal/spool", module + "/sink", false},
		{"internal/spool", module + "/source", false},
		{"sink", module + "/internal/spool", true},
		{"sink", module + "/sink/natssink", false},
		{"sink", module + "/source", false},
		{"sink/natssink", module + "/sink", true},
		{"sink/natssink", module + "/internal/spool", false},
		{"sink/natssink", module + "/sink/kafkasink", false},
		{"sink/kafkasink", module + "/source", false},
		{"sink/kafkasink", module + "/internal/secret", true},
		{"internal/secret", module + "/internal/bytesize", false},
		{"internal/web", module + "/internal/telemetry", true},
		{"internal/web", module + "/sink", false},
		{"internal/control", module + "/sink", true},
		{"internal/control", module + "/sink/natssink", false},
		{"internal/control", module + "/source", false},
		{"internal/web", module + "/config", false},
		{"config", module + "/source/session", true},
		{"config", module + "/cmd/connector", false},
		{"cmd/connector", module + "/config", true},
		{"config", "github.com/knadh/koanf/v2", true},
		{"cmd/connector", "github.com/knadh/koanf/v2", true},
		{"source/session", "github.com/knadh/koanf/v2", false},
		{"sink", "github.com/knadh/koanf/providers/env/v2", false},
		{"cmd/connector", "github.com/spf13/cobra", true},
		{"config", "github.com/spf13/cobra", false},
		{"config", "github.com/spf13/pflag", true},
		{"examples/consumer", module + "/schema", true},
		{"examples/consumer", module + "/sink", false},
		{"elsewhere", "fmt", false},
	} {
		packages := []goPackage{
			{ImportPath: module + "/" + c.from, Imports: []string{c.to}},
			{ImportPath: "encoding/json", Standard: true},
			{ImportPath: "fmt", Standard: true},
		}
		found := violations(packages)
		if got := len(found) == 0; got != c.want {
			t.Errorf("%s imports %s: allowed is %t, want %t: %q", c.from, c.to, got, c.want, found)
		}
	}
}

func TestAViolationNamesBothEndsAndWhatIsAllowed(t *testing.T) {
	got := violations([]goPackage{
		{ImportPath: module + "/sink/natssink", Imports: []string{module + "/source/session", "github.com/spf13/cobra"}},
		{ImportPath: "github.com/spf13/cobra", Imports: []string{"github.com/knadh/koanf/v2"}}, // not ours to judge
	})
	want := []string{
		"sink/natssink imports github.com/callpop/connector/source/session: of ours it may import schema, sink, internal/bytesize, internal/certfile, internal/httpstop, internal/secret, internal/tracing",
		"sink/natssink imports github.com/spf13/cobra: only cmd/... may",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
}
