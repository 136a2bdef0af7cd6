package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

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

// directory is that of the spool.
func (f *spoolFlags) directory(w *world) (string, error) {
	switch {
	case f.config != "":
		loaded, err := loadConfig(w, f.config)
		if err != nil {
			return "", err
		}
		return loaded.Spool.Dir, nil
	case f.dir != "":
		return f.dir, nil
	default:
		return "", usageError{errors.New("--config and --dir are missing: expected one of them")}
	}
}

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
			return controlHost(func() *config.Config { return &c }, s, func(made config.Sink) (control.Target, error) {
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

// controlHost is what the operations on a spool need of the configuration that
// c gives. open gives a sink of it.
func controlHost(c func() *config.Config, s *spool.Spool, open func(config.Sink) (control.Target, error)) *control.Host {
	names := func() []string {
		all := []string{}
		for _, made := range c().Sinks {
			all = append(all, made.Name)
		}
		return all
	}
	return &control.Host{
		Spool: s, Sinks: names,
		OpenSink: func(name string) (control.Target, error) {
			sinks := c().Sinks
			i := slices.IndexFunc(sinks, func(s config.Sink) bool { return s.Name == name })
			if i < 0 {
				return control.Target{}, control.Wrong(fmt.Errorf("sink %q is not in the configuration, which has %q", name, names()))
			}
			return open(sinks[i])
		},
		Decode: func(letter *schema.DeadLetter) (schema.Event, error) { return decodeLetter(c(), letter) },
	}
}

// controlTarget is a sink that the daemon has open.
func (d *daemon) controlTarget(made config.Sink) (control.Target, error) {
	for _, s := range d.openSinks() {
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
	host := controlHost(d.running.Load, d.spool, d.controlTarget)
	host.Daemon, host.LogLevel, host.Log = d, d.level, d.log
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
		for _, a := range kind.Configured() {
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
