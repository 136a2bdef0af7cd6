package console

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/telemetry"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/pop"
)

// explanation is one event as people look at it.
type explanation struct {
	eventView
	SpoolSequence string `json:"spoolsequence,omitempty"`
	// Masked says that numbers are hidden in all of it, and the bytes left out.
	Masked bool `json:"masked"`
	// Text is the raw bytes as text, Parts what it is made of. Lossy says that bytes
	// could not be read as text.
	Text  string `json:"text,omitempty"`
	Parts []part `json:"parts,omitempty"`
	Lossy bool   `json:"lossy,omitempty"`
	// Hex is the bytes, sixteen a line, at most maxHex of them; Bytes is how many
	// there are.
	Hex   string `json:"hex,omitempty"`
	Bytes int    `json:"bytes,omitempty"`
	// Body is the event as it is published, indented.
	Body string `json:"body"`
	// Headers are those of an event that a sink refused.
	Headers map[string]string `json:"headers,omitempty"`
}

// part is a piece of the raw text.
type part struct {
	// From and To are where it is in the text as received, in bytes, from 0 on.
	From  int    `json:"from"`
	To    int    `json:"to"`
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
	// Field is where the event has it; Event is what it has there, absent where it
	// has nothing.
	Field string `json:"field,omitempty"`
	Event string `json:"event,omitempty"`
}

// maxHex bounds the bytes that are shown as hex.
const maxHex = 4 << 10

// explain says what an event is made of.
func explain(e *control.Entry, numbers bool) (explanation, error) {
	x := explanation{eventView: viewOf(&e.Event, e.Sequence, numbers), SpoolSequence: e.SpoolSequence, Masked: !numbers}
	var err error
	switch e.Type {
	case schema.TypeCallPop:
		var p schema.CallPop
		if err = json.Unmarshal(e.Event.Body, &p); err == nil {
			err = x.pop(&p, numbers)
			x.Body = indented(&p)
		}
	case schema.TypeDeadLetter:
		var d schema.DeadLetter
		if err = json.Unmarshal(e.Event.Body, &d); err == nil {
			err = x.letter(&d, numbers)
			x.Body = indented(&d)
		}
	default:
		var s schema.SessionChanged
		if err = json.Unmarshal(e.Event.Body, &s); err == nil {
			x.Body = indented(&s)
		}
	}
	if err != nil {
		return x, fmt.Errorf("event %s: %w", e.Event.ID, err)
	}
	return x, nil
}

// pop explains a pop's bytes, and masks p unless numbers are shown.
func (x *explanation) pop(p *schema.CallPop, numbers bool) error {
	raw, err := control.LetterBytes(&schema.DeadLetter{ID: p.ID, Raw: p.Raw, RawBase64: p.RawBase64})
	if err != nil {
		return err
	}
	x.bytes(raw, numbers)
	x.Lossy = p.RawBase64 != ""
	text := p.Raw
	if !numbers {
		maskPop(p)
	}
	values, err := valuesOf(p)
	if err != nil {
		return err
	}
	x.Text, x.Parts = takeApart(text, p.Format == schema.Callback, values, numbers)
	p.Raw = x.Text
	return nil
}

// letter explains a dead letter's bytes: of a pop that was refused or could not be
// decoded, piece by piece.
func (x *explanation) letter(d *schema.DeadLetter, numbers bool) error {
	raw, err := control.LetterBytes(d)
	if err != nil {
		return err
	}
	x.Lossy = d.Reason != schema.ReasonRefused && d.RawBase64 != "" && strings.ContainsRune(d.Raw, '\uFFFD')
	x.Headers = d.Headers
	if d.Reason == schema.ReasonRefused {
		var p schema.CallPop
		if schema.Type(d.Headers[schema.AttributeType]) == schema.TypeCallPop && json.Unmarshal(raw, &p) == nil {
			err := x.pop(&p, numbers)
			d.Raw, d.RawBase64 = indented(&p), ""
			return err
		}
		d.Raw, d.RawBase64 = string(raw), ""
	}
	x.bytes(raw, numbers)
	text := d.Raw
	if !numbers {
		maskLetter(d)
	}
	if d.Reason == schema.ReasonUndecodable {
		x.Text, x.Parts = takeApart(text, d.Source.Type == "callback", nil, numbers)
		d.Raw = x.Text
		return nil
	}
	x.Text = d.Raw
	return nil
}

func (x *explanation) bytes(raw []byte, numbers bool) {
	x.Bytes = len(raw)
	if numbers {
		x.Hex = hex.Dump(raw[:min(len(raw), maxHex)])
	}
}

// plain are the fields that hold nothing of a customer's.
var plain = []string{
	"format", "call.line", "call.id", "call.started_at", "agent.id", "agent.channel", "call.sn", "pop.code", "call.transferred_from",
}

// takeApart splits a raw text into its parts, and says what the event that was made
// of it has of each; values is nil where none was: then any piece may hold a number.
// Unless numbers are shown, they are hidden, in the text that is returned too.
func takeApart(text string, callback bool, values map[string]any, numbers bool) (shown string, parts []part) {
	var masked strings.Builder
	end := 0
	var seen []string
	for _, cut := range pop.Parts(text, callback) {
		p := part{From: cut.From, To: cut.To, Name: cut.Name, Value: cut.Value, Field: cut.Field}
		first := cut.Field != "" && !slices.Contains(seen, cut.Field+" "+cut.Name)
		seen = append(seen, cut.Field+" "+cut.Name)
		if first {
			p.Event = look(values, cut.Field)
		}
		if p.Event == "" {
			// What has no field of its own, or was not what it should be.
			other := "extra." + cut.Name
			if cut.Name == "" {
				other = "extra.unparsed"
			}
			if found := look(values, mask(other, numbers)); found != "" {
				p.Field, p.Event = mask(other, numbers), found
			}
		}
		masked.WriteString(text[end:cut.From])
		end = cut.To
		switch {
		case numbers || first && p.Field == cut.Field && slices.Contains(plain, cut.Field) && p.Event != "":
			masked.WriteString(text[cut.From:cut.To])
		default:
			p.Value = hide(cut.Field, cut.Value)
			if cut.Field == "" {
				p.Name = telemetry.MaskText(p.Name)
			}
			if p.Name != "" && strings.Contains(text[cut.From:cut.To], "=") {
				masked.WriteString(p.Name + "=")
			}
			masked.WriteString(p.Value)
		}
		parts = append(parts, p)
	}
	if end == 0 { // nothing that could be taken apart
		return mask(text, numbers), nil
	}
	masked.WriteString(text[end:])
	return masked.String(), parts
}

// hide masks the value of a field.
func hide(field, value string) string {
	switch field {
	case "customer.number":
		return telemetry.MaskNumber(value)
	case "ivr.keys":
		return maskKeys(value)
	default:
		return telemetry.MaskText(value)
	}
}

func mask(text string, numbers bool) string {
	if numbers {
		return text
	}
	return telemetry.MaskText(text)
}

// valuesOf is an event as its JSON has it.
func valuesOf(p *schema.CallPop) (map[string]any, error) {
	body, err := json.Marshal(p)
	if err != nil {
		return nil, err
	}
	var values map[string]any
	return values, json.Unmarshal(body, &values)
}

// look finds a field by its path, such as call.sn; a pop's kind with its name. Under
// extra and the like, what follows the first dot is one name.
func look(values map[string]any, path string) string {
	top, rest, _ := strings.Cut(path, ".")
	if rest == "" {
		text, _ := values[top].(string)
		return text
	}
	group, _ := values[top].(map[string]any)
	value, ok := group[rest]
	if !ok {
		return ""
	}
	if mode, named := group["mode"].(string); named && path == "pop.code" {
		return fmt.Sprintf("%v (%s)", value, mode)
	}
	return fmt.Sprint(value)
}
