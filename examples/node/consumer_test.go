package node_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/callpop/connector/examples/internal/exampletest"
)

func TestTheNodeConsumerPrintsEachPopOnce(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		exampletest.Missing(t, "node is missing")
	}
	if _, err := os.Stat("node_modules/@nats-io/jetstream"); err != nil {
		exampletest.Missing(t, "the consumer's packages are missing: .ci/consumers installs them")
	}
	exampletest.Prints(t, "node", "node", "consumer.mjs")
}
