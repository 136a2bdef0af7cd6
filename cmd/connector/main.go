// Command connector takes screen-pops from LQ-Connect servers and publishes them
// as CallPop events to NATS and Kafka.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	// A zone name in the configuration must mean the same on a machine without a
	// zone database, such as a container made from scratch.
	_ "time/tzdata"

	// And a broker's certificate must be checked there too: Mozilla's authorities,
	// for where the machine has none.
	_ "golang.org/x/crypto/x509roots/fallback"
)

func main() {
	os.Exit(mainWithSignals())
}

// mainWithSignals maps signals to the two ways to stop: the first one drains, the
// second cuts short.
func mainWithSignals() int {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	ctx, cut := context.WithCancelCause(context.Background())
	defer cut(nil)
	stop := make(chan struct{})
	go func() {
		s := <-signals
		close(stop)
		fmt.Fprintf(os.Stderr, "%v: stopping; once more to cut short\n", s)
		cut(fmt.Errorf("second signal: %v", <-signals))
	}()
	return run(ctx, world{
		args: os.Args[1:], environ: os.Environ(), stop: stop,
		stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
	})
}
