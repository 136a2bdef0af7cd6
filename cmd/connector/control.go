package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/internal/telemetry"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/callback"
	"github.com/callpop/connector/source/pop"
	"github.com/callpop/connector/source/relay"
	"github.com/callpop/connector/source/session"
)

// reachHelp is what every command on a spool says of how it gets there.
const reachHelp = `
While a connector runs on the spool, the command goes through it, by a socket in
the spool's directory that only its owner can use; else it opens the spool itself,
and no connector can start on it meanwhile. Opening a spool lets events go that
are past its max_age, as a start of the connector does.`

// spoolFlags say which spool a command works on.
type spoolFlags struct{ config, dir string }

func (f *spoolFlags) on(c *cobra.Command) {
	c.Flags().StringVar(&f.config, "config", "", "the configuration file")
	c.Flags().StringVar(&f.dir, "dir", "", "the spool's directory, in place of a configuration")
	c.MarkFlagsMutuallyExclusive("config", "dir")
}

// with opens the spool, has use work on it, and closes it.
func (f *spoolFlags) with(ctx context.Context, w *world, use func(ctx context.Context, c control.Client) error) error {
	ctx, cancel := w.stopping(ctx)
	defer cancel()
	client, err := f.open(ctx, w)
	if errors.Is(err, spool.ErrNoSpool) {
		return usageError{err}
	}
	if err != nil {
		return err
	}
	err = use(ctx, client)
	if control.IsWrong(err) {
		err = usageError{err}
	}
	closing, cancelClosing := context.WithTimeout(context.WithoutCancel(ctx), toolTimeout)
	defer cancelClosing()
	return errors.Join(err, client.Close(closing))
}

// toolTimeout bounds what closing a spool or a sink may take.
const toolTimeout = 10 * time.Second

func (f *spoolFlags) open(ctx context.Context, w *world) (control.Client, error) {
	c := config.Default()
	known := f.config != ""
	switch {
	case known:
		loaded, err := loadConfig(w, f.config)
		if err != nil {
			return nil, err
		}
		c = *loaded
	case f.dir != "":
		c.Spool.Dir = f.dir
	default:
		return nil, usageError{errors.New("--config and --dir are missing: expected one of them")}
	}
	log, _ := telemetry.NewLogger(w.stderr, telemetry.Config{Level: "warn", Format: telemetry.FormatText}, isTerminal(w.stderr))
	// No listener: the spool is open for this command alone.
	return control.Open(ctx, control.OpenOptions{
		Spool: spool.Options{Config: c.Spool, Logger: log},
		Host: func(s *spool.Spool) *control.Host {
			if !known {
				return &control.Host{Spool: s}
			}
			return controlHost(&c, s, func(made config.Sink) (control.Target, error) {
				opened, err := makeSink(made, s.ServerID, log)
				if err != nil {
					return control.Target{}, err
				}
				return control.Target{Sink: opened, Types: opened.Types(), Release: func() {
					closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), toolTimeout)
					defer cancel()
					_ = opened.Close(closing) // nothing is under way
				}}, nil
			})
		},
	})
}

// controlHost is what the operations on a spool need of a configuration. open
// gives a sink of it.
func controlHost(c *config.Config, s *spool.Spool, open func(config.Sink) (control.Target, error)) *control.Host {
	names := make([]string, len(c.Sinks))
	for i, made := range c.Sinks {
		names[i] = made.Name
	}
	return &control.Host{
		Spool: s, Sinks: names,
		OpenSink: func(name string) (control.Target, error) {
			i := slices.Index(names, name)
			if i < 0 {
				return control.Target{}, control.Wrong(fmt.Errorf("sink %q is not in the configuration, which has %q", name, names))
			}
			return open(c.Sinks[i])
		},
		Decode: func(letter *schema.DeadLetter) (schema.Event, error) { return decodeLetter(c, letter) },
	}
}

// controlTarget is a sink that the daemon has open.
func (d *daemon) controlTarget(made config.Sink) (control.Target, error) {
	for _, s := range d.sinks {
		if s.name == made.Name {
			return control.Target{Sink: s.sink, Types: s.types, Release: func() {}}, nil
		}
	}
	return control.Target{}, fmt.Errorf("sink %s is not open", made.Name)
}

// listenControl makes the control socket. The connector does its work without
// one, as where the file system has no sockets.
func (d *daemon) listenControl(ctx context.Context) {
	var err error
	host := controlHost(d.config, d.spool, d.controlTarget)
	if d.control, err = control.Listen(ctx, d.config.Spool.Dir, host, d.log.With("part", "control")); err != nil {
		d.log.Warn("commands such as 'connector spool' cannot reach this connector", "error", err)
	}
}

// decodeLetter makes the event of an undecodable pop as its source would make it
// now, with the id and the time that it got when it was received.
func decodeLetter(c *config.Config, letter *schema.DeadLetter) (schema.Event, error) {
	origin, err := originOf(c, letter)
	if err != nil {
		return schema.Event{}, err
	}
	raw, err := control.LetterBytes(letter)
	if err != nil {
		return schema.Event{}, err
	}
	assembler := source.NewAssembler()
	decode := assembler.Pop
	if origin.Type == "callback" {
		decode = assembler.Callback
	}
	event, _, err := decode(origin, letter.ReceivedAt, raw)
	if err != nil {
		if wrong := (*pop.Error)(nil); errors.As(err, &wrong) {
			err = fmt.Errorf("column %d: %s", wrong.Column, wrong.Reason.Explain())
		}
		return schema.Event{}, err
	}
	var p schema.CallPop
	if err := json.Unmarshal(event.Body, &p); err != nil {
		return schema.Event{}, fmt.Errorf("decode dead letter %s: %w", letter.ID, err)
	}
	p.ID = letter.ID
	p.Key = schema.Key(p.Server, p.Call.SN, p.Call.ID, p.ID)
	return p.Event(), nil
}

// originOf is where a dead letter came from.
func originOf(c *config.Config, letter *schema.DeadLetter) (*source.Origin, error) {
	i := slices.IndexFunc(c.Sources, func(s config.Source) bool { return s.Name == letter.Source.Name })
	if i < 0 {
		return nil, fmt.Errorf("source %q is not in the configuration", letter.Source.Name)
	}
	o := &source.Origin{
		Type: letter.Source.Type, Name: letter.Source.Name, Server: letter.Server,
		Agent: letter.Agent, Channel: source.FindChannel,
	}
	var err error
	switch kind := c.Sources[i].Config.(type) {
	case *session.Config:
		for _, a := range kind.Agents {
			if a.ID == letter.Agent {
				o.Channel = a.Channel
			}
		}
		o.Decoding, err = source.NewDecoding(kind.Charset, kind.Timezone, kind.AreaCode)
	case *relay.Config:
		o.Decoding, err = source.NewDecoding(kind.Charset, kind.Timezone, kind.AreaCode)
	case *callback.Config:
		o.Decoding, err = source.NewDecoding(kind.Charset, kind.Timezone, kind.AreaCode)
	default:
		err = fmt.Errorf("source %s: type %s cannot decode", o.Name, c.Sources[i].Type)
	}
	return o, err
}

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

// confirm asks whether to go on; yes is the answer given beforehand.
func confirm(ctx context.Context, w *world, yes bool, question string) error {
	if yes {
		return nil
	}
	if !isTerminal(w.stdin) {
		return usageError{fmt.Errorf("%s is not confirmed: expected --yes, or a terminal to ask on", question)}
	}
	w.tell("%s? [y/N] ", question)
	answered := make(chan string, 1)
	// A read of a terminal cannot be called off; it ends with the process.
	go func() {
		line, _ := bufio.NewReader(io.LimitReader(w.stdin, 100)).ReadString('\n')
		answered <- line
	}()
	select {
	case line := <-answered:
		if answer := strings.ToLower(strings.TrimSpace(line)); answer == "y" || answer == "yes" {
			return nil
		}
	case <-ctx.Done():
		w.tell("\n")
	}
	w.tell("nothing was done\n")
	return errReported
}

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct{ bar *progressbar.ProgressBar }

func newProgress(w *world, what string) *progress {
	if !isTerminal(w.stderr) {
		return &progress{}
	}
	return &progress{progressbar.NewOptions64(-1,
		progressbar.OptionSetWriter(w.stderr), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionSetWidth(30), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish(), progressbar.OptionSetElapsedTime(false),
	)}
}

// set shows that done of total is done.
func (p *progress) set(done, total uint64) {
	if p.bar == nil || total == 0 {
		return
	}
	if p.bar.GetMax64() != int64(total) {
		p.bar.ChangeMax64(int64(total))
	}
	_ = p.bar.Set64(int64(min(done, total))) // a terminal that is gone is no reason to stop
}

// end takes the bar away.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}

// plural counts things.
func plural[N int | uint64](n N, one string) string {
	if n == 1 {
		return fmt.Sprintf("1 %s", one)
	}
	return fmt.Sprintf("%d %ss", n, one)
}

// stamp is a time for people, in their zone.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04:05.000")
}

// orDash is s, or a dash for nothing.
func orDash(s string) string { return cmp.Or(printable(s), "-") }
