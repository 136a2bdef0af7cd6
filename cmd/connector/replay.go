package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/callpop/connector/internal/control"
)

func replayCommand(w *world) *cobra.Command {
	var from spoolFlags
	var filter filterFlags
	var to, output string
	var after uint64
	var yes bool
	c := &cobra.Command{
		Use:   "replay",
		Short: "Send events of the spool to a sink once more",
		Long: `Send events that the spool holds to a sink once more, after showing how many they
are and asking. They keep their ids (ce-id, ce_id), their bodies and the order of
each call, and carry a header callpop-replay with the replay's name; on NATS their
Nats-Msg-Id is <id>.replay.<name>, so that the stream does not take them for
duplicates. The sink's own place in the spool does not change.

What fails is tried again until the sink takes it. An interrupt ends it; it then
says after which sequence to go on.
` + reachHelp,
		Example: `  connector replay --config connector.yaml --sink lake --since 2026-03-04T08:00 --until 2026-03-04T12:00
  connector replay --config connector.yaml --sink events --key hq/1234 --yes`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if to == "" {
				return usageError{errors.New("--sink is missing: expected the name of a sink in the configuration")}
			}
			if from.config == "" {
				return usageError{errors.New("--config is missing: expected the configuration file that has the sink")}
			}
			request := control.ReplayRequest{Sink: to}
			var err error
			if request.Filter, err = filter.filter(time.Now()); err != nil {
				return err
			}
			request.Filter.After = after
			return from.with(command.Context(), w, func(ctx context.Context, client control.Client) error {
				return replay(ctx, w, client, request, yes, output)
			})
		},
	}
	from.on(c)
	filter.on(c)
	filter.typeOn(c, "pops")
	outputFlag(c, &output)
	c.Flags().StringVar(&to, "sink", "", "name of the sink to send to (required)")
	c.Flags().Uint64Var(&after, "after", 0, "only what comes after this sequence, as an interrupted replay said it")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

// replayResult is what the command says with -o json.
type replayResult struct {
	control.Total
	Sink string `json:"sink"`
	// Replay is nil where there was nothing to send.
	Replay *control.ReplayProgress `json:"replay,omitempty"`
}

func replay(ctx context.Context, w *world, client control.Client, request control.ReplayRequest, yes bool, output string) error {
	total, err := countEvents(ctx, w, client, request.Filter)
	if err != nil {
		return err
	}
	result := replayResult{Total: total, Sink: request.Sink}
	if total.Events > 0 {
		what := fmt.Sprintf("%s of type %s", plural(total.Events, "event"), typeName(request.Filter.Types[0]))
		w.tell("%s, %s, received from %s to %s\n", what, humanize.IBytes(total.Bytes), stamp(total.Oldest), stamp(total.Newest))
		if err := confirm(ctx, w, yes, fmt.Sprintf("send %s to sink %s once more", what, request.Sink)); err != nil {
			return err
		}
		// What was counted, and nothing that came since.
		request.Filter.After, request.Filter.Through = max(request.Filter.After, total.First-1), total.Last
		p, err := sendAgain(ctx, w, client, request, total.Events)
		result.Replay = &p
		if err != nil {
			return errors.Join(showReplay(w, output, &result), interrupted(&p, total.Events, err))
		}
	}
	return showReplay(w, output, &result)
}

// countEvents says how many events a filter means.
func countEvents(ctx context.Context, w *world, client control.Client, f control.Filter) (total control.Total, err error) {
	bar := newProgress(w, "count")
	defer bar.end()
	err = control.Call(ctx, client, control.Count, f, func(t control.Total) error {
		total = t
		bar.set(t.Scanned, t.ToScan)
		return nil
	})
	return total, err
}

// sendAgain replays, and says when the sink is in trouble.
func sendAgain(ctx context.Context, w *world, client control.Client, request control.ReplayRequest, events uint64) (last control.ReplayProgress, err error) {
	bar := newProgress(w, "replay")
	defer bar.end()
	trouble := ""
	err = control.Call(ctx, client, control.Replay, request, func(p control.ReplayProgress) error {
		if p.Trouble != "" && trouble == "" {
			bar.end()
			w.tell("connector: sink %s is in trouble: %s; trying again\n", request.Sink, printable(p.Trouble))
		}
		last, trouble = p, p.Trouble
		bar.set(p.Sent+p.Refused, events)
		return nil
	})
	return last, err
}

// interrupted is the error of a replay that did not send everything.
func interrupted(p *control.ReplayProgress, events uint64, err error) error {
	if p.Done { // all was tried, and some of it refused
		return err
	}
	if p.Run == "" { // it did not begin
		return err
	}
	return fmt.Errorf("%d of %d events were sent; go on with the same command and --after %d: %w", p.Sent, events, p.Sequence, err)
}

func showReplay(w *world, output string, r *replayResult) (err error) {
	switch {
	case output == "json":
		err = json.NewEncoder(w.stdout).Encode(r)
	case r.Replay == nil:
		_, err = fmt.Fprintln(w.stdout, "no event of the spool fits: nothing to send")
	case r.Replay.Done:
		_, err = fmt.Fprintf(w.stdout, "sent %s to sink %s as replay %s\n", plural(r.Replay.Sent, "event"), r.Sink, r.Replay.Run)
	}
	return err
}
