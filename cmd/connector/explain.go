package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/callpop/connector/schema"
)

// explain writes a CallPop as a person reads it: a field a line, what is absent
// left out, and an empty line after it.
func explain(out io.Writer, body []byte) error {
	var e schema.CallPop
	if err := json.Unmarshal(body, &e); err != nil {
		return fmt.Errorf("read an event: %w", err)
	}
	var text bytes.Buffer
	row := func(name string, parts ...string) {
		parts = slices.DeleteFunc(parts, func(p string) bool { return p == "" })
		if len(parts) > 0 {
			fmt.Fprintf(&text, "  %-10s %s\n", name, printable(strings.Join(parts, "  ")))
		}
	}
	named := func(name, value string) string {
		if value == "" {
			return ""
		}
		return name + " " + value
	}
	fmt.Fprintf(&text, "%s\n", printable(e.Raw))
	row("format", string(e.Format), named("though it declares", e.DeclaredFormat), flagged(e.Truncated, "cut off at 255 bytes"))
	row("customer", e.Customer.Number, e.Customer.E164)
	row("agent", e.Agent.ID, named("channel", e.Agent.Channel))
	if e.Pop.Code != 0 {
		row("call", describeCall(&e), string(e.Direction))
	}
	row("ids", named("sn", e.Call.SN), named("id", e.Call.ID)+flagged(e.Call.IDDerived, " (derived)"), named("line", e.Call.Line))
	if !e.Call.StartedAt.IsZero() {
		row("started", e.Call.StartedAt.Format(time.RFC3339Nano))
	}
	row("ivr", describeIVR(&e))
	row("key", e.Key)
	for _, name := range sortedKeys(e.Extra) {
		row("extra", name+"="+e.Extra[name])
	}
	row("bytes", flagged(e.RawBase64 != "", "not all of them could be read as text"))
	text.WriteByte('\n')
	_, err := out.Write(text.Bytes())
	return err
}

func flagged(on bool, text string) string {
	if on {
		return text
	}
	return ""
}
