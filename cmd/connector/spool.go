package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/spool"
)

func spoolCommand(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:   "spool",
		Short: "Look at the durable log, check it, take events out, purge it",
		Long: `Look at the spool, the log between sources and sinks: pops, session events and
dead letters, each in a stream of its own, and how far each sink has come.
` + reachHelp,
		Example: `  connector spool stat --config connector.yaml
  connector spool ls --dir ./data --since 2h --agent 801`,
		Args: subCommand, RunE: noSubCommand,
	}
	c.AddCommand(spoolStatCommand(w), spoolListCommand(w), spoolVerifyCommand(w), spoolExportCommand(w), spoolPurgeCommand(w))
	return c
}

// subCommand refuses the name of a sub-command that does not exist.
func subCommand(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError{fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())}
	}
	return nil
}

// noSubCommand is for a command that is nothing by itself.
func noSubCommand(c *cobra.Command, _ []string) error {
	return usageError{fmt.Errorf("%s: a sub-command is missing", c.CommandPath())}
}

func spoolStatCommand(w *world) *cobra.Command {
	var from spoolFlags
	var output string
	c := &cobra.Command{
		Use:   "stat",
		Short: "Say what the spool holds and how far each sink has come",
		Long: `Say what each stream of the spool holds, and for each sink how far it has come,
how much it has not had, and whether a cursor is left of a sink that is no longer
configured.
` + reachHelp,
		Example: "  connector spool stat --config connector.yaml -o json",
		Args:    noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return from.with(command.Context(), w, func(ctx context.Context, client control.Client) error {
				overview, err := control.CallOne(ctx, client, control.Stat, control.StatRequest{})
				if err != nil {
					return err
				}
				if output == "json" {
					return json.NewEncoder(w.stdout).Encode(overview)
				}
				return showOverview(w, client.Place(), &overview, time.Now())
			})
		},
	}
	from.on(c)
	outputFlag(c, &output)
	return c
}

func showOverview(w *world, place string, o *control.Overview, now time.Time) error {
	table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	// Errors stay with the table until Flush.
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(table, format+"\n", args...) }
	line("spool %s in %s", o.SpoolID, printable(place))
	state := string(o.State)
	if o.Detail != "" {
		state += ": " + printable(o.Detail)
	}
	line("%s, %s free\n", state, humanize.IBytes(o.FreeBytes))
	line("TYPE\tFIRST\tLAST\tEVENTS\tSIZE\tOLDEST\tNEWEST\tDAMAGED")
	for _, s := range o.Streams {
		oldest, newest := stamp(s.Oldest), stamp(s.Newest)
		if s.Events == 0 {
			oldest, newest = "-", "-"
		}
		line("%s\t%d\t%d\t%d\t%s\t%s\t%s\t%d", typeName(s.Type), s.First, s.Last, s.Events, humanize.IBytes(s.Bytes), oldest, newest, max(s.Missing, s.Lost))
	}
	for _, s := range o.Streams {
		for i := range s.Gaps {
			if s.Gaps[i].Lost > 0 {
				line("\n%s: %s", typeName(s.Type), gapText(&s.Gaps[i]))
			}
		}
	}
	if len(o.Cursors) == 0 {
		line("\nno sink has a cursor")
		return table.Flush()
	}
	line("\nSINK\tTYPE\tCURSOR\tBACKLOG\tMOVED")
	for _, c := range o.Cursors {
		moved := "-"
		if !c.Moved.IsZero() {
			moved = max(now.Sub(c.Moved), 0).Round(time.Second).String() + " ago"
		}
		if c.Orphan {
			moved += "; no such sink is configured"
		}
		line("%s\t%s\t%d\t%d\t%s", c.Sink, typeName(c.Type), c.Sequence, c.Backlog, moved)
	}
	return table.Flush()
}

// gapText is one line about events that damage took.
func gapText(g *spool.Gap) string {
	text := fmt.Sprintf("%s lost to damage, sequences %d to %d, found %s", plural(g.Lost, "event"), g.From, g.From+g.Lost-1, stamp(g.Found))
	for _, sink := range slices.Sorted(maps.Keys(g.Undelivered)) {
		text += fmt.Sprintf("; sink %s had not had %d", printable(sink), g.Undelivered[sink])
	}
	return text
}

func spoolPurgeCommand(w *world) *cobra.Command {
	var from spoolFlags
	var typ, until, output string
	var all, yes, undelivered bool
	c := &cobra.Command{
		Use:   "purge",
		Short: "Remove the oldest events of a type, or all of them",
		Long: `Remove from the spool the events of a type that were received before a time, or
all of them, after showing how many they are and asking. What a sink has not had is
not removed without --undelivered.
` + reachHelp,
		Example: `  connector spool purge --config connector.yaml --type pops --until 48h
  connector spool purge --config connector.yaml --type dead-letters --all --yes`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			request := control.PurgeRequest{All: all, Preview: true, Undelivered: undelivered}
			var err error
			if request.Type, err = parseType(typ); err != nil {
				return err
			}
			if request.Until, err = parseTime("--until", until, time.Now()); err != nil {
				return err
			}
			if all == !request.Until.IsZero() {
				return usageError{errors.New("expected either --until or --all")}
			}
			return from.with(command.Context(), w, func(ctx context.Context, client control.Client) error {
				return purge(ctx, w, client, request, yes, output)
			})
		},
	}
	from.on(c)
	outputFlag(c, &output)
	c.Flags().StringVar(&typ, "type", "", "pops, sessions or dead-letters (required)")
	c.Flags().StringVar(&until, "until", "", "received before this time: 48h (ago), 2026-03-04, 2026-03-04T15:04:05, or with a zone (RFC 3339)")
	c.Flags().BoolVar(&all, "all", false, "all of them")
	c.Flags().BoolVar(&undelivered, "undelivered", false, "also what a sink has not had")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func purge(ctx context.Context, w *world, client control.Client, request control.PurgeRequest, yes bool, output string) error {
	result, err := control.CallOne(ctx, client, control.Purge, request)
	if err != nil {
		return err
	}
	what := fmt.Sprintf("%s of type %s", plural(result.Events, "event"), typeName(request.Type))
	for _, u := range result.Undelivered {
		if u.Orphan {
			w.tell("sink %s, which is not configured, has not had %d of them\n", u.Sink, u.Events)
		} else {
			w.tell("sink %s has not had %d of them\n", u.Sink, u.Events)
		}
	}
	if result.Events > 0 {
		for _, u := range result.Undelivered {
			if !u.Orphan && !request.Undelivered {
				w.tell("connector: %s stay: sink %s has not had all of them; --undelivered removes them all the same\n", what, u.Sink)
				return errReported
			}
		}
		if err := confirm(ctx, w, yes, "remove "+what+" from "+client.Place()); err != nil {
			return err
		}
		result, err = control.CallOne(ctx, client, control.Purge, control.PurgeRequest{
			Type: request.Type, Through: result.Through, Undelivered: request.Undelivered,
		})
		if err != nil {
			return err
		}
	}
	if output == "json" {
		return json.NewEncoder(w.stdout).Encode(result)
	}
	_, err = fmt.Fprintf(w.stdout, "removed %s of type %s\n", plural(result.Events, "event"), typeName(request.Type))
	return err
}
