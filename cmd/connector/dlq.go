package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/schema"
)

func dlqCommand(w *world) *cobra.Command {
	c := &cobra.Command{
		Use:   "dlq",
		Short: "Look at dead letters, and put them back into the line",
		Long: `Look at dead letters: bytes that could not become an event, and events that a sink
refused for good. After a fix, put them back into the line.
` + reachHelp,
		Example: `  connector dlq ls --config connector.yaml
  connector dlq show --config connector.yaml 019f0d3c-5f1b-7a5e-8f0e-0a1b2c3d4e5f`,
		Args: subCommand, RunE: noSubCommand,
	}
	c.AddCommand(dlqListCommand(w), dlqShowCommand(w), dlqRetryCommand(w))
	return c
}

// letterFlags narrow down dead letters.
type letterFlags struct {
	filterFlags
	reason, sink string
}

func (f *letterFlags) on(c *cobra.Command) {
	f.filterFlags.on(c)
	c.Flags().StringVar(&f.reason, "reason", "", "only with this reason: "+strings.Join(letterReasons[:], ", "))
	c.Flags().StringVar(&f.sink, "sink", "", "only what this sink refused")
}

var letterReasons = [...]string{schema.ReasonUndecodable, schema.ReasonLostFraming, schema.ReasonCutFrame, schema.ReasonRefused}

func (f *letterFlags) filter(now time.Time) (control.Filter, error) {
	if f.reason != "" && !slices.Contains(letterReasons[:], f.reason) {
		return control.Filter{}, usageError{fmt.Errorf("--reason is %q: expected one of %s", f.reason, strings.Join(letterReasons[:], ", "))}
	}
	filter, err := f.filterFlags.filter(now)
	filter.Types, filter.Reason, filter.Sink = []schema.Type{schema.TypeDeadLetter}, f.reason, f.sink
	return filter, err
}

func dlqListCommand(w *world) *cobra.Command {
	var from spoolFlags
	var filter letterFlags
	var output string
	var limit int
	c := &cobra.Command{
		Use:   "ls",
		Short: "List dead letters",
		Long: `List dead letters with reason, sink and detail, in the order in which they were
stored. -o json gives their bodies, one a line.
` + reachHelp,
		Example: "  connector dlq ls --config connector.yaml --reason refused --sink lake",
		Args:    noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if limit < 0 {
				return usageError{fmt.Errorf("--limit is %d: expected 0 or more", limit)}
			}
			f, err := filter.filter(time.Now())
			if err != nil {
				return err
			}
			return from.with(command.Context(), w, func(ctx context.Context, client control.Client) error {
				l := newListing(w, output, false)
				return errors.Join(control.Call(ctx, client, control.Read, control.ReadRequest{Filter: f, Limit: limit}, l.showLetter), l.out.Flush())
			})
		},
	}
	from.on(c)
	filter.on(c)
	outputFlag(c, &output)
	c.Flags().IntVar(&limit, "limit", 0, "end after so many; 0 = all")
	return c
}

const letterColumns = "%-23s  %10v  %-36s  %-12s  %-10s  %-8s  %-8s  %s\n"

// showLetter is show for dead letters.
func (l *listing) showLetter(e control.Entry) error {
	var d schema.DeadLetter
	if l.json || json.Unmarshal(e.Event.Body, &d) != nil {
		return l.show(e)
	}
	if !l.header {
		l.header = true
		if _, err := fmt.Fprintf(l.out, letterColumns, "TIME", "SEQUENCE", "ID", "REASON", "SINK", "SERVER", "AGENT", "DETAIL"); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(l.out, letterColumns, stamp(e.Event.Time), e.Sequence, printable(e.Event.ID),
		orDash(d.Reason), orDash(d.Sink), orDash(d.Server), orDash(d.Agent), printable(d.Detail))
	return err
}

func dlqRetryCommand(w *world) *cobra.Command {
	var from spoolFlags
	var filter letterFlags
	var output string
	var all bool
	c := &cobra.Command{
		Use:   "retry [ID...]",
		Short: "Put dead letters back into the line",
		Long: `Put dead letters back into the line, those with the given ids or those that the
flags mean.

An event that a sink refused is sent to that sink again, once, as a replay: with
its id, and the header callpop-replay. A pop that could not be decoded is decoded
again with the configuration's source of that name, whose charset may have been
set right; its event goes to every sink, under the dead letter's id. A running
connector uses the configuration that it was started with.

The dead letters stay in the spool, and nothing notes that they were retried:
a second retry gives events with the same ids. 'connector spool purge --type
dead-letters' removes them. The exit code is 1 where a retry fails.
` + reachHelp,
		Example: `  connector dlq retry --config connector.yaml 019f0d3c-5f1b-7a5e-8f0e-0a1b2c3d4e5f
  connector dlq retry --config connector.yaml --reason refused --sink lake --since 2h`,
		RunE: func(command *cobra.Command, ids []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			narrowed := filter != letterFlags{}
			switch {
			case len(ids) > 0 && (all || narrowed), all && narrowed:
				return usageError{errors.New("expected either ids, or --all, or flags that narrow down")}
			case len(ids) == 0 && !all && !narrowed:
				return usageError{errors.New("expected ids of dead letters, --reason or another flag that narrows down, or --all")}
			case from.config == "":
				return usageError{errors.New("--config is missing: expected the configuration file that has the sinks and sources")}
			}
			f, err := filter.filter(time.Now())
			if err != nil {
				return err
			}
			f.IDs = ids
			return from.with(command.Context(), w, func(ctx context.Context, client control.Client) error {
				return retry(ctx, w, client, f, output)
			})
		},
	}
	from.on(c)
	filter.on(c)
	outputFlag(c, &output)
	c.Flags().BoolVar(&all, "all", false, "all dead letters")
	return c
}

func retry(ctx context.Context, w *world, client control.Client, f control.Filter, output string) error {
	good, bad := 0, 0
	err := control.Call(ctx, client, control.Retry, control.RetryRequest{Filter: f}, func(r control.Retried) error {
		if r.Outcome.Good() {
			good++
		} else {
			bad++
		}
		if output == "json" {
			return json.NewEncoder(w.stdout).Encode(r)
		}
		text := fmt.Sprintf("%-36s  %-10s", printable(r.ID), r.Outcome)
		switch r.Outcome {
		case control.Sent:
			text += fmt.Sprintf("  event %s to sink %s", r.Event, r.Sink)
		case control.Emitted:
			text += fmt.Sprintf("  event %s to every sink", r.Event)
		default:
			text += "  " + r.Detail
		}
		_, err := fmt.Fprintln(w.stdout, printable(text))
		return err
	})
	w.tell("%s retried, %d failed\n", plural(good, "dead letter"), bad)
	if err == nil && bad > 0 {
		return errReported
	}
	return err
}
