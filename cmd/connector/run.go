package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// world is everything a command takes from outside, so that a test can be the
// outside.
type world struct {
	args    []string
	environ []string
	stdin   io.Reader
	// stdout takes data, stderr what people read meanwhile.
	stdout, stderr io.Writer
	// stop is closed when the command should finish in order; the context is
	// cancelled when it should not even do that.
	stop <-chan struct{}
	// hangup has a value each time a daemon is to read its configuration again; nil:
	// never.
	hangup <-chan os.Signal
	// upgrade has a value each time a daemon is to start a successor; nil: never.
	upgrade <-chan os.Signal
	// program is the path of this program, as a successor is started with it.
	program string
	// takeover is what a predecessor hands over; nil without one.
	takeover *takeover
	// observer is for measuring; the zero value sees nothing and costs nothing.
	observer observer
}

// tell writes to people. Where nobody listens any more, nothing is to be done.
func (w *world) tell(format string, args ...any) { _, _ = fmt.Fprintf(w.stderr, format, args...) }

// env looks up an environment variable.
func (w *world) env(name string) (string, bool) {
	for i := len(w.environ) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(w.environ[i], name+"="); ok {
			return value, true
		}
	}
	return "", false
}

// stopping returns a context that is done as soon as the command should finish.
func (w *world) stopping(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-w.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// Exit codes.
const (
	exitGood   = 0
	exitFailed = 1
	exitUsage  = 2
)

// usageError is a wrong use of the command line.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// errReported is a failure of which all that is to say has been said.
var errReported = errors.New("failed")

// run is the whole program: it returns the exit code.
func run(ctx context.Context, w world) int {
	root := rootCommand(&w)
	root.SetArgs(w.args)
	root.SetIn(w.stdin)
	root.SetOut(w.stdout)
	root.SetErr(w.stderr)
	command, err := root.ExecuteContextC(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitGood
	case errors.Is(err, errReported):
		return exitFailed
	case errors.As(err, &usage) || isCobraUsage(err):
		w.tell("connector: %v\nsee '%s --help'\n", err, command.CommandPath())
		return exitUsage
	default:
		w.tell("connector: %v\n", err)
		return exitFailed
	}
}

// isCobraUsage knows the errors that cobra itself makes of a wrong use; it has no
// type for them, but gives them before any of our code runs.
func isCobraUsage(err error) bool {
	for _, start := range []string{"unknown command", "required flag", "if any flags in the group", "at least one of the flags"} {
		if strings.HasPrefix(err.Error(), start) {
			return true
		}
	}
	return false
}

func rootCommand(w *world) *cobra.Command {
	root := &cobra.Command{
		Use:   "connector",
		Short: "Screen-pops of LQ-Connect call centres, as events on NATS and Kafka",
		Long: `connector takes the screen-pops (来电弹屏) of LQ-Connect call-centre servers and
publishes each as a versioned CallPop event to NATS subjects and Kafka topics.

Try it with nothing set up:   connector demo`,
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.AddCommand(
		runCommand(w), demoCommand(w), simulateCommand(w), captureCommand(w), decodeCommand(w),
		checkCommand(w), tailCommand(w), spoolCommand(w), replayCommand(w), dlqCommand(w), feedCommand(w),
		benchCommand(w), benchProcessCommand(w), reloadCommand(w), upgradeCommand(w), drainCommand(w), logLevelCommand(w), schemaCommand(w), versionCommand(w),
	)
	// Help that was asked for is data; a sub-command that does not exist is not.
	root.CompletionOptions.HiddenDefaultCmd = true
	return root
}

// noArguments refuses arguments, as cobra.NoArgs does, with a usage error.
func noArguments(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("%s takes no arguments, but got %q", c.CommandPath(), args[0])}
	}
	return nil
}

// outputFlag adds -o.
func outputFlag(c *cobra.Command, output *string) {
	c.Flags().StringVarP(output, "output", "o", "text", "text for people, json for machines")
}

// checkOutput returns a usage error for an output that does not exist.
func checkOutput(output string) error {
	if output != "text" && output != "json" {
		return usageError{fmt.Errorf("--output is %q: expected text or json", output)}
	}
	return nil
}
