package python_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/callpop/connector/examples/internal/exampletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestThePythonConsumerPrintsEachPopOnce(t *testing.T) {
	exampletest.Prints(t, "python", python(t), "consumer.py")
}

// python is one with the consumer's requirements: that of .ci/consumers, else the
// machine's own.
func python(t *testing.T) string {
	for _, name := range []string{filepath.Join("..", "..", ".cache", "python", "bin", "python"), "python3"} {
		if exec.CommandContext(t.Context(), name, "-c", "import nats.js").Run() == nil {
			return name
		}
	}
	exampletest.Missing(t, "python3 with nats-py is missing: .ci/consumers installs it")
	return ""
}
