package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/callpop/connector/schema"
)

// showCard writes what an agent wants to see when the telephone rings.
func showCard(w io.Writer, p *schema.CallPop, who *customer) {
	var b strings.Builder
	line := func(label, text string) {
		if text != "" {
			fmt.Fprintf(&b, "│ %-9s %s\n", label, printable(text))
		}
	}
	fmt.Fprintf(&b, "┌─ %s  agent %s\n", p.ReceivedAt.Local().Format("15:04:05"), printable(p.Agent.ID))
	if who != nil {
		line("customer", who.Name)
		line("company", who.Company)
		line("note", who.Note)
	} else {
		line("customer", "not known")
	}
	line("number", number(p))
	line("call", string(p.Pop.Mode))
	line("from", p.Call.TransferredFrom)
	line("keys", p.IVR.Keys)
	for _, key := range slices.Sorted(maps.Keys(p.IVR.Fields)) {
		line(key, p.IVR.Fields[key])
	}
	b.WriteString("└─\n")
	_, _ = io.WriteString(w, b.String())
}

// printable keeps what came over the telephone from steering a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '�'
	}, text)
}
