//go:build linux

package faults

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

var (
	long      = flag.Bool("faults.long", false, "run the long half: more events, longer outages")
	tableFile = flag.String("faults.table", "", "write the table to this file as Markdown")
)

// modeVariable makes this test binary another program: a peer of the connector
// with descriptors of its own, or a process that can be killed.
const modeVariable = "FAULTS_MODE"

// workDir holds the binary.
var workDir string

func TestMain(m *testing.M) {
	switch mode := os.Getenv(modeVariable); mode {
	case "":
	case "lq":
		os.Exit(lqMain())
	case "emit":
		os.Exit(emitMain())
	default:
		fmt.Fprintf(os.Stderr, "%s=%s: expected lq or emit\n", modeVariable, mode)
		os.Exit(2)
	}
	flag.Parse()
	switch asked := os.Getenv("CONNECTOR_FAULTS"); asked {
	case "long":
		*long = true
	case "quick":
	default:
		if !*long {
			// Minutes of load on every core: not beside other packages' tests.
			fmt.Println("the fault suite runs with CONNECTOR_FAULTS=quick or long (make faults)")
			os.Exit(0)
		}
	}
	os.Exit(suite(m))
}

func suite(m *testing.M) int {
	var err error
	if workDir, err = os.MkdirTemp("", "faults"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(workDir) }()
	// The faults that take their time do so together: they wait, mostly.
	if err := flag.Set("test.parallel", "10"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if code == 0 {
		// The proxies' links end with their connections, whenever that is; and what a
		// toxic hands on to a link that was reset, nobody takes any more.
		if err := goleak.Find(goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).read"),
			goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2.(*ToxicLink).write"),
			goleak.IgnoreAnyFunction("github.com/Shopify/toxiproxy/v2/toxics.(*ToxicStub).Run")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	if err := rows.print(os.Stdout, *tableFile); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return cmp.Or(code, 1)
	}
	return code
}

// binary builds the connector, once.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(workDir, "connector")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/connector").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build the connector: %w\n%s", err, out)
	}
	return path, nil
})

// scale chooses by how much time there is.
func scale[T any](short, normal, longer T) T {
	switch {
	case *long:
		return longer
	case testing.Short():
		return short
	default:
		return normal
	}
}

// notInShort leaves a fault to the longer runs.
func notInShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("not with -short")
	}
}

// missing skips a fault that this machine cannot make, but not in CI.
func missing(t *testing.T, what string, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s: %v", what, err)
	}
	t.Skipf("%s: %v", what, err)
}
