package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/schema"
)

// eventTypes are the names that people have for the event types.
var eventTypes = [...]struct {
	name string
	typ  schema.Type
}{{"pops", schema.TypeCallPop}, {"sessions", schema.TypeSessionChanged}, {"dead-letters", schema.TypeDeadLetter}}

func typeName(t schema.Type) string {
	for _, e := range eventTypes {
		if e.typ == t {
			return e.name
		}
	}
	return string(t)
}

func parseType(name string) (schema.Type, error) {
	for _, e := range eventTypes {
		if e.name == name {
			return e.typ, nil
		}
	}
	return "", usageError{fmt.Errorf("--type is %q: expected pops, sessions or dead-letters", name)}
}

// filterFlags are a control.Filter on the command line.
type filterFlags struct {
	since, until, typ  string
	agent, key, server string
}

func (f *filterFlags) on(c *cobra.Command) {
	c.Flags().StringVar(&f.since, "since", "", "received at this time or later: 2h (ago), 2026-03-04, 2026-03-04T15:04:05, or with a zone (RFC 3339)")
	c.Flags().StringVar(&f.until, "until", "", "received before this time")
	c.Flags().StringVar(&f.agent, "agent", "", "only this agent's")
	c.Flags().StringVar(&f.key, "key", "", "only this key's: one call's, such as hq/1234")
	c.Flags().StringVar(&f.server, "server", "", "only this LQ server's")
}

// typeOn adds --type; none stands for what is meant without it.
func (f *filterFlags) typeOn(c *cobra.Command, none string) {
	c.Flags().StringVar(&f.typ, "type", none, "pops, sessions or dead-letters")
}

func (f *filterFlags) filter(now time.Time) (control.Filter, error) {
	filter := control.Filter{Agent: f.agent, Key: f.key, Server: f.server}
	var err error
	if filter.Since, err = parseTime("--since", f.since, now); err != nil {
		return filter, err
	}
	if filter.Until, err = parseTime("--until", f.until, now); err != nil {
		return filter, err
	}
	if f.typ != "" {
		t, err := parseType(f.typ)
		if err != nil {
			return filter, err
		}
		filter.Types = []schema.Type{t}
	}
	if err := filter.Validate(); err != nil {
		return filter, usageError{err}
	}
	return filter, nil
}

// timeForms are those without a zone, which are in this machine's.
var timeForms = [...]string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02"}

// parseTime reads a time, or how long it is ago; empty is the zero time.
func parseTime(flag, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	if t, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return t, nil
	}
	for _, form := range timeForms {
		if t, err := time.ParseInLocation(form, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, usageError{fmt.Errorf("%s is %q: expected how long ago (90m), a time (2026-03-04T15:04:05, with or without a zone) or a day (2026-03-04)", flag, text)}
}
