package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/source"
)

// live reaches the connector that runs on the spool which the flags name.
func (f *spoolFlags) live(w *world) (*control.Remote, error) {
	dir := f.dir
	switch {
	case f.config != "":
		loaded, err := loadConfig(w, f.config)
		if err != nil {
			return nil, err
		}
		dir = loaded.Spool.Dir
	case dir == "":
		return nil, usageError{errors.New("--config and --dir are missing: expected one of them")}
	}
	return runningConnector(dir)
}

// runningConnector reaches the connector that has the spool in dir open.
func runningConnector(dir string) (*control.Remote, error) {
	holder, err := spool.CheckDir(dir)
	if err != nil {
		return nil, err
	}
	if holder == "" {
		return nil, fmt.Errorf("no connector runs on the spool in %s", dir)
	}
	return control.NewRemote(dir, holder), nil
}

// ask calls use with the connector that the flags name.
func (f *spoolFlags) ask(ctx context.Context, w *world, use func(ctx context.Context, c control.Client) error) error {
	ctx, cancel := w.stopping(ctx)
	defer cancel()
	c, err := f.live(w)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close(ctx) }() // it holds nothing
	if err = use(ctx, c); control.IsWrong(err) {
		err = usageError{err}
	}
	return err
}

func reloadCommand(w *world) *cobra.Command {
	var flags spoolFlags
	var output string
	c := &cobra.Command{
		Use:   "reload",
		Short: "Have the running connector read its configuration again",
		Long: `Ask the connector that runs on the spool to read its configuration file again.
What can change while it runs does, without closing a session that is not
concerned; what needs a restart is named and stays as it was. A configuration with
a mistake changes nothing, and the exit code is 1. See first what it would do:
connector check --config F --diff.

The file is the one that the connector was started with; --config only says where
its spool is, as --dir does.`,
		Example: `  connector reload --config connector.yaml
  connector reload --dir /var/lib/connector`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return flags.ask(command.Context(), w, func(ctx context.Context, c control.Client) error {
				done, err := control.CallOne(ctx, c, control.Reload, control.ReloadRequest{})
				if err != nil {
					return err
				}
				return showReloaded(w, output, done)
			})
		},
	}
	flags.on(c)
	outputFlag(c, &output)
	return c
}

func showReloaded(w *world, output string, done control.Reloaded) error {
	switch {
	case output == "json":
		if err := json.NewEncoder(w.stdout).Encode(done); err != nil {
			return err
		}
	case done.Outcome == control.Refused:
		w.tell("refused, nothing changed:\n%s\n", done.Message)
	default:
		if _, err := fmt.Fprintf(w.stdout, "%s: %s\n%s", done.Outcome, done.Message, planText(done.Changes)); err != nil {
			return err
		}
	}
	if done.Outcome == control.Refused {
		return errReported
	}
	return nil
}

func drainCommand(w *world) *cobra.Command {
	var flags spoolFlags
	var pace, output string
	var request control.DrainRequest
	c := &cobra.Command{
		Use:   "drain",
		Short: "Close the running connector's sessions one after another",
		Long: `Have the running connector close its agents' sessions at a pace, those without a
recent pop first, and open none any more. It goes on delivering what the spool
has, and reports the agents as closed; a reload or an edit of the roster opens
nothing. --exit has it stop once it is drained, --undo opens the sessions again.
Interrupted, the drain ends where it is. Relayed desktops and callbacks go on.`,
		Example: `  connector drain --config connector.yaml --pace 5/s
  connector drain --config connector.yaml --pace 5/s --exit
  connector drain --config connector.yaml --undo`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			parsed, err := source.ParsePace(pace)
			if err != nil {
				return usageError{fmt.Errorf("--pace is %w", err)}
			}
			request.Pace = float64(parsed)
			if request.Undo && (request.Exit || command.Flags().Changed("pace")) {
				return usageError{errors.New("--undo goes with neither --pace nor --exit")}
			}
			return flags.ask(command.Context(), w, func(ctx context.Context, c control.Client) error {
				return drainLive(ctx, w, c, request, output)
			})
		},
	}
	flags.on(c)
	c.Flags().StringVar(&pace, "pace", "5/s", "how many sessions are closed in a time; 0 closes all at once")
	c.Flags().BoolVar(&request.Exit, "exit", false, "stop the connector once it is drained")
	c.Flags().BoolVar(&request.Undo, "undo", false, "open the sessions again")
	outputFlag(c, &output)
	return c
}

// drainLive drains and shows how far that is.
func drainLive(ctx context.Context, w *world, c control.Client, request control.DrainRequest, output string) error {
	if request.Undo {
		request.Pace = 0
	}
	bar := newProgress(w, "draining")
	var last control.Drained
	err := control.Call(ctx, c, control.Drain, request, func(part control.Drained) error {
		last = part
		bar.set(uint64(max(0, part.Total-part.Left)), uint64(max(0, part.Total))) //nolint:gosec // not negative
		return nil
	})
	bar.end()
	if err != nil {
		if last.Total > 0 {
			w.tell("%d of %d sessions are closed and stay so: --undo opens them again\n", last.Total-last.Left, last.Total)
		}
		return err
	}
	if output == "json" {
		return json.NewEncoder(w.stdout).Encode(last)
	}
	switch {
	case request.Undo:
		_, err = fmt.Fprintf(w.stdout, "no longer drained: %s to open\n", plural(last.Opened, "session"))
	case request.Exit:
		_, err = fmt.Fprintf(w.stdout, "drained: %s closed; the connector stops\n", plural(last.Total, "session"))
	default:
		_, err = fmt.Fprintf(w.stdout, "drained: %s closed; the connector goes on delivering\n", plural(last.Total, "session"))
	}
	return err
}
