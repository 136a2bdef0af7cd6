package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/spool"
)

func logLevelCommand(w *world) *cobra.Command {
	var from spoolFlags
	var output string
	c := &cobra.Command{
		Use:   "log-level [debug|info|warn|error]",
		Short: "Show or change the level of a running connector's log",
		Long: `Show the level of a running connector's log, or change it until the connector
stops; log.level in the configuration is the one it starts with. Customers'
numbers are masked at every level, unless log.numbers is on.

The command reaches the connector by a socket in the spool's directory, which
only its owner can use.`,
		Example: `  connector log-level debug --config connector.yaml
  connector log-level --dir /var/lib/connector`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 1 {
				return usageError{fmt.Errorf("connector log-level takes one level, but got %q", args)}
			}
			return nil
		},
		ValidArgs: []string{"debug", "info", "warn", "error"},
		RunE: func(command *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			var request control.LogLevelRequest
			if len(args) == 1 {
				request.Level = args[0]
			}
			dir, err := from.directory(w)
			if err != nil {
				return err
			}
			level, err := askLevel(command.Context(), w, dir, request)
			switch {
			case control.IsWrong(err):
				return usageError{err}
			case err != nil:
				return err
			case output == "json":
				return json.NewEncoder(w.stdout).Encode(level)
			default:
				_, err = fmt.Fprintln(w.stdout, level.Level)
				return err
			}
		},
	}
	from.on(c)
	outputFlag(c, &output)
	return c
}

// askLevel asks the connector that holds the spool; none is started for it, and
// the spool is not opened.
func askLevel(ctx context.Context, w *world, dir string, request control.LogLevelRequest) (control.Level, error) {
	ctx, cancel := w.stopping(ctx)
	defer cancel()
	holder, err := spool.CheckDir(dir)
	if err != nil {
		return control.Level{}, err
	}
	if holder == "" {
		return control.Level{}, fmt.Errorf("%w: %s", control.ErrNotRunning, dir)
	}
	client := control.NewRemote(dir, holder)
	level, err := control.CallOne(ctx, client, control.LogLevel, request)
	_ = client.Close(ctx) // it lets go of idle connections
	return level, err
}
