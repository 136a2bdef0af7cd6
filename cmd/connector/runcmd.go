package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/config"
)

func runCommand(w *world) *cobra.Command {
	var file string
	var takeOver bool
	c := &cobra.Command{
		Use:   "run",
		Short: "Run the connector",
		Long: `Hold the agents' sessions and publish what they get, until SIGTERM or an
interrupt: then the sessions are closed and the sinks drained for three quarters
of shutdown_timeout. What is left stays in the spool. A second signal cuts short.

SIGHUP, and a change of the file, have the configuration read again: what can
change while it runs does, without closing a session that is not concerned;
'connector check --diff' says beforehand what that means.

SIGUSR2, or 'connector upgrade', has a successor take over every socket and the
spool, so that a new version signs nobody out.`,
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
			upgrade := make(chan os.Signal, 1)
			notifyUpgrade(upgrade)
			defer signal.Stop(upgrade)
			w.upgrade, w.program = upgrade, ownProgram()
			if takeOver {
				return succeed(command.Context(), w, loaded)
			}
			d, err := newDaemon(command.Context(), w, loaded)
			if err != nil {
				return err
			}
			defer keepMemorySmall(command.Context())()
			return d.run(command.Context(), w.stop, func(*daemon) {})
		},
	}
	configFlag(c, &file)
	c.Flags().BoolVar(&takeOver, "takeover", false, "take everything over from the connector that runs on the spool, which then ends")
	return c
}

// succeed runs a connector that takes over from the one that runs.
func succeed(ctx context.Context, w *world, c *config.Config) error {
	taking, cancel := w.stopping(ctx)
	defer cancel()
	t, err := beginTakeover(taking, w, c)
	if err != nil {
		return err
	}
	w.takeover = t
	d, err := newDaemon(taking, w, c)
	if err != nil {
		t.fail(err)
		return errors.Join(err, t.close())
	}
	if t != nil {
		if err := t.finish(taking, d); err != nil {
			t.fail(err)
			err = errors.Join(err, t.close())
			d.release(context.WithoutCancel(ctx))
			return err
		}
	}
	defer keepMemorySmall(ctx)()
	return d.run(ctx, w.stop, func(*daemon) {})
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
