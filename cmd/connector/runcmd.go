package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/config"
)

func runCommand(w *world) *cobra.Command {
	var file string
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the connector",
		Long: `Hold the agents' sessions and publish what they get, until SIGTERM or an
interrupt: then the sessions are closed and the sinks drained for three quarters
of shutdown_timeout. What is left stays in the spool. A second signal cuts short.

SIGHUP, and a change of the file, have the configuration read again: what can
change while it runs does, without closing a session that is not concerned;
'connector check --diff' says beforehand what that means.`,
		Example: `  connector run --config connector.yaml
  CONNECTOR_SPOOL__SYNC=always connector run --config connector.yaml`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			loaded, err := loadConfig(w, file)
			if err != nil {
				return err
			}
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			defer signal.Stop(hangup)
			w.hangup = hangup
			d, err := newDaemon(command.Context(), w, loaded)
			if err != nil {
				return err
			}
			bounded, release := context.WithCancel(command.Context())
			var memory sync.WaitGroup
			memory.Go(func() { boundMemory(bounded) })
			defer memory.Wait()
			defer release()
			return d.run(command.Context(), w.stop, func(*daemon) {})
		},
	}
	configFlag(c, &file)
	return c
}

// configFlag adds --config.
func configFlag(c *cobra.Command, file *string) {
	c.Flags().StringVar(file, "config", "", "the configuration file (required)")
}

func loadConfig(w *world, file string) (*config.Config, error) {
	if file == "" {
		return nil, usageError{errors.New("--config is missing: expected a configuration file")}
	}
	c, err := config.Load(config.Input{File: file, Environ: w.environ})
	if errors.Is(err, fs.ErrNotExist) {
		return nil, usageError{err}
	}
	return c, err
}
