package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/schema"
)

func dlqShowCommand(w *world) *cobra.Command {
	var from spoolFlags
	var output string
	var numbers bool
	c := &cobra.Command{
		Use:   "show ID",
		Short: "Show a dead letter with its bytes, as hex and as text",
		Long: `Show a dead letter: reason, detail, headers, and the bytes as hex and as text. In
runs of seven digits or more, the middle ones are shown as asterisks, in the hex
too, since they may be a customer's number; --numbers shows them. -o json gives
its body, with everything in it.
` + reachHelp,
		Example: "  connector dlq show --config connector.yaml 019f0d3c-5f1b-7a5e-8f0e-0a1b2c3d4e5f",
		Args:    oneID,
		RunE: func(command *cobra.Command, ids []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			return from.with(command.Context(), w, func(ctx context.Context, client control.Client) error {
				entry, err := control.CallOne(ctx, client, control.Read, control.ReadRequest{
					Filter: control.Filter{Types: []schema.Type{schema.TypeDeadLetter}, IDs: ids}, Limit: 1,
				})
				switch {
				case err != nil:
					return err
				case entry.Event.ID == "":
					return fmt.Errorf("the spool has no dead letter %q", ids[0])
				case output == "json":
					_, err := fmt.Fprintf(w.stdout, "%s\n", entry.Event.Body)
					return err
				}
				return showLetter(w, &entry, numbers)
			})
		},
	}
	from.on(c)
	outputFlag(c, &output)
	c.Flags().BoolVar(&numbers, "numbers", false, "show digits that may be a customer's number")
	return c
}

func oneID(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usageError{fmt.Errorf("%s takes one dead letter's id, but got %d", c.CommandPath(), len(args))}
	}
	return nil
}

func showLetter(w *world, e *control.Entry, numbers bool) error {
	var d schema.DeadLetter
	if err := json.Unmarshal(e.Event.Body, &d); err != nil {
		return fmt.Errorf("dead letter %s: its body cannot be read: %w", e.Event.ID, err)
	}
	raw, err := control.LetterBytes(&d)
	if err != nil {
		return err
	}
	text := d.Raw
	if d.Reason == schema.ReasonRefused {
		text = string(raw) // a body
	}
	if !numbers {
		raw, text = maskDigits(raw), string(maskDigits([]byte(text)))
	}
	table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	line := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(table, "%s\t%s\n", name, printable(value)) // Flush has the error
		}
	}
	line("id", d.ID)
	line("sequence", fmt.Sprint(e.Sequence))
	line("received at", stamp(d.ReceivedAt))
	line("source", d.Source.Name+" ("+d.Source.Type+")")
	line("server", d.Server)
	line("agent", d.Agent)
	line("reason", d.Reason)
	line("sink", d.Sink)
	line("detail", d.Detail)
	for _, name := range slices.Sorted(maps.Keys(d.Headers)) {
		line("header "+name, d.Headers[name])
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err = fmt.Fprintf(w.stdout, "\n%s as text:\n%s\n\nand as hex:\n%s", plural(len(raw), "byte"), printable(text), hex.Dump(raw))
	return err
}

// longDigits is how many digits may be a telephone number.
const longDigits = 7

// maskDigits replaces the middle of what may be a telephone number by asterisks,
// one for a byte: digits, also those of full width in UTF-8 and in GB18030, with
// at most one other sign between two of them. As the connector's logs do, it shows
// three digits before and four after at most, and hides four at least. What is in
// an event's raw_base64 is hidden whole.
func maskDigits(raw []byte) []byte {
	masked := slices.Clone(raw)
	hideBase64(masked)
	for at := 0; at < len(raw); {
		digits, end := digitRun(raw, at)
		if len(digits) >= longDigits {
			last := min(4, len(digits)-4)
			first := min(3, len(digits)-4-last)
			for _, d := range digits[first : len(digits)-last] {
				for i := d.from; i < d.to; i++ {
					masked[i] = '*'
				}
			}
		}
		at = max(end, at+1)
	}
	return masked
}

// digit is where one is.
type digit struct{ from, to int }

// digitRun finds the digits that begin at a place and belong together.
func digitRun(raw []byte, at int) (digits []digit, end int) {
	for at < len(raw) {
		if n := digitLen(raw[at:]); n > 0 {
			digits = append(digits, digit{at, at + n})
			at += n
			end = at
			continue
		}
		// One sign between digits, such as a dash or the zero byte of UTF-16.
		if len(digits) == 0 || at > end || isWordByte(raw[at]) {
			break
		}
		at++
	}
	return digits, end
}

// digitLen is how many bytes the digit at the start of raw has; 0: there is none.
func digitLen(raw []byte) int {
	switch {
	case raw[0] >= '0' && raw[0] <= '9':
		return 1
	case len(raw) >= 3 && raw[0] == 0xEF && raw[1] == 0xBC && raw[2] >= 0x90 && raw[2] <= 0x99: // UTF-8
		return 3
	case len(raw) >= 2 && raw[0] == 0xA3 && raw[1] >= 0xB0 && raw[1] <= 0xB9: // GB18030
		return 2
	}
	return 0
}

// isWordByte reports whether b separates numbers: letters do, and what separates
// fields.
func isWordByte(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || strings.IndexByte(",;=&:\"'{}[]", b) >= 0 || b >= 0x80
}

// hideBase64 hides the bytes of the pop within an event's body.
func hideBase64(body []byte) {
	_, rest, found := strings.Cut(string(body), `"raw_base64":"`)
	if !found {
		return
	}
	begin := len(body) - len(rest)
	for i := begin; i < len(body) && body[i] != '"'; i++ {
		body[i] = '*'
	}
}
