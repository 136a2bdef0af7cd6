package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/mattn/go-isatty"

	"github.com/callpop/connector/schema"
)

// view shows events as they come: a line for people, or the body for machines.
type view struct {
	out    io.Writer
	json   bool
	colour bool
	now    func() time.Time
	lines  int
}

func newView(w *world, output string) *view {
	_, plain := w.env("NO_COLOR")
	return &view{out: w.stdout, json: output == "json", colour: !plain && isTerminal(w.stdout), now: time.Now}
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// repeatHeader is after how many lines the column names come again.
const repeatHeader = 40

// Colours of the terminal.
const (
	bold  = "\x1b[1m"
	dim   = "\x1b[2m"
	red   = "\x1b[31m"
	reset = "\x1b[0m"
)

// show writes one event. Anything that is not a version 1 body of its type is
// shown as what it is.
func (v *view) show(t schema.Type, body []byte) error {
	if v.json {
		_, err := fmt.Fprintf(v.out, "%s\n", body)
		return err
	}
	switch t {
	case schema.TypeSessionChanged:
		var e schema.SessionChanged
		if err := json.Unmarshal(body, &e); err != nil {
			return v.note(fmt.Sprintf("a session event that cannot be read: %v", err))
		}
		return v.session(&e)
	case schema.TypeDeadLetter:
		var e schema.DeadLetter
		if err := json.Unmarshal(body, &e); err != nil {
			return v.note(fmt.Sprintf("a dead letter that cannot be read: %v", err))
		}
		return v.note(fmt.Sprintf("dead letter from %s, agent %s: %s: %s", e.Server, cmp.Or(e.Agent, "unknown"), e.Reason, e.Detail))
	default:
		var e schema.CallPop
		if err := json.Unmarshal(body, &e); err != nil {
			return v.note(fmt.Sprintf("an event that cannot be read: %v", err))
		}
		return v.pop(&e)
	}
}

// columns has the IVR's data last: it may be long, and may hold characters that
// are two columns wide.
const columns = "%-12s  %-6s  %-14s  %-22s  %8s  %s"

func (v *view) pop(e *schema.CallPop) error {
	if v.lines%repeatHeader == 0 {
		if err := v.line(bold, fmt.Sprintf(columns, "TIME", "AGENT", "CUSTOMER", "CALL", "DELAY", "IVR")); err != nil {
			return err
		}
	}
	v.lines++
	return v.line("", fmt.Sprintf(columns,
		e.ReceivedAt.Local().Format("15:04:05.000"), printable(e.Agent.ID), printable(e.Customer.Number),
		describeCall(e), describeDelay(v.now().Sub(e.ReceivedAt)), describeIVR(e)))
}

// describeCall says what kind of call it is.
func describeCall(e *schema.CallPop) string {
	kind := strings.ReplaceAll(string(e.Pop.Mode), "_", " ")
	switch {
	case kind == "" && e.Pop.Code != 0:
		kind = fmt.Sprintf("kind %d", e.Pop.Code)
	case kind == "":
		kind = "call"
	}
	if e.Call.TransferredFrom != "" {
		kind = strings.TrimSuffix(kind, " transfer") + " from " + printable(e.Call.TransferredFrom)
	}
	if e.Truncated {
		kind += ", cut off"
	}
	return kind
}

// describeIVR says what the voice menu gathered.
func describeIVR(e *schema.CallPop) string {
	var parts []string
	if e.IVR.Keys != "" {
		parts = append(parts, "keys "+e.IVR.Keys)
	}
	if e.IVR.Member != "" {
		parts = append(parts, "member "+e.IVR.Member)
	}
	if len(e.IVR.Fields) == 0 && e.IVR.Data != "" {
		parts = append(parts, e.IVR.Data)
	}
	for _, name := range sortedKeys(e.IVR.Fields) {
		parts = append(parts, name+"="+e.IVR.Fields[name])
	}
	return printable(strings.Join(parts, " "))
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }

// describeDelay is the time since the pop was read from the socket.
func describeDelay(d time.Duration) string {
	switch {
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	default:
		return d.Round(time.Second).String()
	}
}

func (v *view) session(e *schema.SessionChanged) error {
	text := fmt.Sprintf("%s  %-6s  %s", e.At.Local().Format("15:04:05.000"), printable(e.Agent), e.State)
	if e.Cause != "" {
		text += ": " + printable(e.Cause)
	}
	if e.Gap != nil {
		text += fmt.Sprintf(" (no session for %s)", e.Gap.To.Sub(e.Gap.From).Round(time.Millisecond))
	}
	colour := dim
	if e.State == schema.Failed || e.State == schema.Expired || e.State == schema.Reconnecting {
		colour = red
	}
	return v.line(colour, text)
}

func (v *view) note(text string) error { return v.line(red, printable(text)) }

func (v *view) line(colour, text string) error {
	text = strings.TrimRight(text, " ")
	if v.colour && colour != "" {
		text = colour + text + reset
	}
	_, err := fmt.Fprintln(v.out, text)
	return err
}

// printable replaces what would move a terminal's cursor: what customers and IVR
// programs send is shown, never obeyed.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}
