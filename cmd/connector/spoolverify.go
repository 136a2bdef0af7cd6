package main

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"github.com/callpop/connector/internal/control"
)

func spoolVerifyCommand(w *world) *cobra.Command {
	var from spoolFlags
	var output, typ string
	c := &cobra.Command{
		Use:   "verify",
		Short: "Read the whole spool and say what is wrong with it",
		Long: `Read every event of the spool: whether it can be read, whether its body is one of
its type, whether its id is there once, and whether sequences are missing between
the oldest and the newest. The limits take the oldest events only, so what is
missing in between is damage. It repairs nothing. The exit code is 1 on any
trouble.
` + reachHelp,
		Example: "  connector spool verify --config connector.yaml",
		Args:    noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			types := eventTypes[:]
			if typ != "" {
				t, err := parseType(typ)
				if err != nil {
					return err
				}
				for i, known := range eventTypes {
					if known.typ == t {
						types = eventTypes[i : i+1]
					}
				}
			}
			return from.with(command.Context(), w, func(ctx context.Context, client control.Client) error {
				verdicts := []control.Verdict{}
				for _, t := range types {
					bar := newProgress(w, "verify "+t.name)
					v, err := control.Verify(ctx, client, t.typ, bar.set)
					bar.end()
					if err != nil {
						return err
					}
					verdicts = append(verdicts, v)
				}
				return showVerdicts(w, output, verdicts)
			})
		},
	}
	from.on(c)
	outputFlag(c, &output)
	c.Flags().StringVar(&typ, "type", "", "pops, sessions or dead-letters; none = all of them")
	return c
}

func showVerdicts(w *world, output string, verdicts []control.Verdict) error {
	good := true
	for i := range verdicts {
		good = good && verdicts[i].Good()
	}
	var err error
	if output == "json" {
		err = json.NewEncoder(w.stdout).Encode(verdicts)
	} else {
		for i := range verdicts {
			if err = showVerdict(w, &verdicts[i]); err != nil {
				break
			}
		}
	}
	if err == nil && !good {
		return errReported
	}
	return err
}

func showVerdict(w *world, v *control.Verdict) error {
	word := "good"
	if !v.Good() {
		word = "DAMAGED"
	}
	text := fmt.Sprintf("%-12s  %-7s  %s, %s, sequences %d to %d", typeName(v.Type), word,
		plural(v.Events, "event"), humanize.IBytes(v.Bytes), v.First, v.Last)
	if v.Events == 0 && v.Good() {
		text = fmt.Sprintf("%-12s  %-7s  empty", typeName(v.Type), word)
	}
	if v.Expired > 0 {
		text += fmt.Sprintf("; %d before them went by the limits or a purge", v.Expired)
	}
	text += "\n"
	for _, count := range []struct {
		n    uint64
		what string
	}{
		{v.Missing, "missing"},
		{v.Unreadable, "unreadable"},
		{v.Lost, "found damaged when the log was opened"},
		{v.Invalid, "invalid"},
		{v.Repeated, "with an id that was there before"},
	} {
		if count.n > 0 {
			text += fmt.Sprintf("  %d %s\n", count.n, count.what)
		}
	}
	for _, f := range v.Findings {
		if f.From == f.To {
			text += fmt.Sprintf("  %d: %s\n", f.From, printable(f.What))
		} else {
			text += fmt.Sprintf("  %d to %d: %s\n", f.From, f.To, printable(f.What))
		}
	}
	_, err := fmt.Fprint(w.stdout, text)
	return err
}
