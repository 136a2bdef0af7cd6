package node_test

import (
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"github.com/callpop/connector/examples/internal/exampletest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheNodeConsumerPrintsEachPopOnce(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		exampletest.Missing(t, "node is missing")
	}
	if _, err := os.Stat("node_modules/@nats-io/jetstream"); err != nil {
		exampletest.Missing(t, "the consumer's packages are missing: .ci/consumers installs them")
	}
	exampletest.Prints(t, "node", "node", "consumer.mjs")
}
