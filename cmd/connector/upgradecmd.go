package main

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/internal/control"
)

func upgradeCommand(w *world) *cobra.Command {
	var flags spoolFlags
	var request control.UpgradeRequest
	var output string
	c := &cobra.Command{
		Use:   "upgrade",
		Short: "Replace the running connector by this program, and sign nobody out",
		Long: `Have the connector that runs on the spool start this very program (or --binary) as
its successor and pass everything to it: the agents' sockets, relayed desktops, the
listeners, and the spool. No connection is closed, no pop is lost, and the old
process ends. Where the successor fails in any way before it has all of it, the old
process goes on as if nothing had been, and the exit code is 1.

The configuration is loaded here first; with a mistake in it nothing is begun. The
successor gets the old process's environment and its standard error.

Process 1 of a container cannot be replaced in this way. SIGUSR2 does the same, with
the program and the file that the connector was started with.`,
		Example: `  connector upgrade --config connector.yaml
  connector upgrade --config connector.yaml --binary /opt/connector-2.0/connector`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if request.Binary == "" {
				request.Binary = ownProgram()
			}
			for _, path := range []*string{&request.Binary, &flags.config} {
				if *path != "" {
					absolute, err := filepath.Abs(*path)
					if err != nil {
						return err
					}
					*path = absolute
				}
			}
			request.Config = flags.config
			return flags.ask(command.Context(), w, func(ctx context.Context, c control.Client) error {
				done, err := control.CallOne(ctx, c, control.Upgrade, request)
				if err != nil {
					return err
				}
				return showUpgraded(w, output, done)
			})
		},
	}
	flags.on(c)
	c.Flags().StringVar(&request.Binary, "binary", "", "the successor's program, in place of this one")
	outputFlag(c, &output)
	return c
}

func showUpgraded(w *world, output string, done control.Upgraded) error {
	if output == "json" {
		return json.NewEncoder(w.stdout).Encode(done)
	}
	_, err := fmt.Fprintf(w.stdout, "upgraded to %s, process %d: %s and %s taken over; nothing was read from them for %v\n",
		done.Version, done.Process, plural(done.Sessions, "session"), plural(done.Desktops, "desktop"), done.Paused.Round(time.Millisecond))
	return err
}
