package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/callpop/connector/examples/internal/mask"
	"github.com/callpop/connector/schema"
)

// screen shows cards in the terminal.
type screen struct {
	w io.Writer
	// showNumbers shows telephone numbers as they are, rather than their ends.
	showNumbers bool
}

// Of a card's lines and their length, nobody reads more.
const (
	maxFields = 12
	maxText   = 200
)

// show writes what an agent wants to see when the telephone rings.
func (s *screen) show(p *schema.CallPop, who *customer) error {
	var b strings.Builder
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "│ %-9s %s\n", printable(label), printable(text))
		}
	}
	fmt.Fprintf(&b, "┌─ %s  agent %s\n", p.ReceivedAt.Local().Format("15:04:05"), printable(p.Agent.ID))
	if who != nil {
		line("customer", who.Name)
		line("company", who.Company)
		line("note", s.text(who.Note))
	} else {
		line("customer", "not known")
	}
	if s.showNumbers {
		line("number", number(p))
	} else {
		line("number", mask.Number(number(p)))
	}
	line("call", string(p.Pop.Mode))
	line("from", p.Call.TransferredFrom)
	line("keys", s.text(p.IVR.Keys))
	if len(p.IVR.Fields) == 0 {
		line("data", s.text(p.IVR.Data))
	}
	for i, key := range slices.Sorted(maps.Keys(p.IVR.Fields)) {
		if i == maxFields {
			line("…", fmt.Sprintf("%d more", len(p.IVR.Fields)-i))
			break
		}
		line(s.text(key), s.text(p.IVR.Fields[key]))
	}
	b.WriteString("└─\n")
	_, err := io.WriteString(s.w, b.String())
	return err
}

// text may hold a number that the caller keyed in.
func (s *screen) text(text string) string {
	if s.showNumbers {
		return text
	}
	return mask.Text(text)
}

// printable keeps what came over the telephone from steering a terminal.
func printable(text string) string {
	runes := []rune(text)
	if len(runes) > maxText {
		runes = append(runes[:maxText], '…')
	}
	for i, r := range runes {
		if !unicode.IsPrint(r) {
			runes[i] = unicode.ReplacementChar
		}
	}
	return string(runes)
}

// number is the customer's number in its international form where that is known.
func number(p *schema.CallPop) string {
	if p.Customer.E164 != "" {
		return p.Customer.E164
	}
	return p.Customer.Number
}
