package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/feed"
	"github.com/callpop/connector/internal/secret"
	"github.com/callpop/connector/internal/web"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/lqsim"
	"github.com/callpop/connector/source/session"
)

// demonstration are the flags of demo.
type demonstration struct {
	agents int
	rate   float64
	count  int
	kafka  []string
	// file and sinkName name the sink that is published to and read from; sink is
	// that one, nil where none is named.
	file, sinkName string
	sink           *config.Sink
	output         string
	// listen is the embedded broker's address.
	listen string
}

func demoCommand(w *world) *cobra.Command {
	var o demonstration
	c := &cobra.Command{
		Use:   "demo",
		Short: "See it work, with nothing set up",
		Long: `Run a simulated LQ server, the connector and its embedded broker in this process,
on the loopback, and show the pops as the broker delivers them. The broker is where
NATS clients look for one, on port 4222, or on a free port where that is taken.
Nothing is kept: the spool is in a temporary directory. With --kafka the same
events are published to that Kafka too; topics that it lacks are created.

With --config and --sink they go through a sink of your own configuration, to its
broker and with its login, and are shown as that broker delivers them. Their server
is called demo; whoever subscribes there sees them too.`,
		Example: `  connector demo
  connector demo --agents 200 --rate 100 --count 1000 -o json > pops.jsonl
  connector demo --kafka localhost:9092
  connector demo --config connector.yaml --sink events --count 3`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := cmpUsage(checkOutput(o.output), o.check(), o.useSink(w)); err != nil {
				return err
			}
			ctx, cancel := w.stopping(command.Context())
			defer cancel()
			return demo(ctx, w, o)
		},
	}
	outputFlag(c, &o.output)
	c.Flags().IntVar(&o.agents, "agents", 20, "agents with a session, from 801 on")
	c.Flags().Float64Var(&o.rate, "rate", 5, "pops a second")
	c.Flags().IntVar(&o.count, "count", 0, "end after so many pops; 0 = never")
	c.Flags().StringSliceVar(&o.kafka, "kafka", nil, "publish to these Kafka brokers, host:port, too")
	c.Flags().StringVar(&o.listen, "listen", "", "address of the embedded broker (default 127.0.0.1:4222, or a free port)")
	c.Flags().StringVar(&o.file, "config", "", "configuration file with the sink to go through")
	c.Flags().StringVar(&o.sinkName, "sink", "", "name of that sink")
	c.MarkFlagsRequiredTogether("config", "sink")
	c.MarkFlagsMutuallyExclusive("config", "kafka")
	return c
}

// cmpUsage returns the first error.
func cmpUsage(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// maxDemoAgents is what one process can hold both ends of.
const maxDemoAgents = 5000

func (o *demonstration) check() error {
	switch {
	case o.agents < 1 || o.agents > maxDemoAgents:
		return usageError{fmt.Errorf("--agents is %d: expected 1 to %d", o.agents, maxDemoAgents)}
	case o.rate <= 0 || o.rate > 10_000:
		return usageError{fmt.Errorf("--rate is %g: expected more than 0 and at most 10000 pops a second", o.rate)}
	case o.count < 0:
		return usageError{fmt.Errorf("--count is %d: expected 0 or more", o.count)}
	}
	return nil
}

// demo runs everything until ctx is done or the count is reached.
func demo(ctx context.Context, w *world, o demonstration) (err error) {
	dir, err := os.MkdirTemp("", "callpop-demo-*")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	server, err := lqsim.New(lqsim.Options{})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel()
	simulator := make(chan error, 1)
	simulatorCtx, stopSimulator := context.WithCancel(context.WithoutCancel(ctx))
	parts.Go(func() { simulator <- server.Run(simulatorCtx) })
	defer stopSimulator()

	d, err := o.daemon(ctx, w, server.Addr().String(), dir)
	if err != nil {
		return err
	}
	started := make(chan struct{})
	ended := make(chan error, 1)
	parts.Go(func() {
		ended <- d.run(context.WithoutCancel(ctx), ctx.Done(), func(*daemon) { close(started) })
	})
	<-started
	shown := make(chan error, 1)
	parts.Go(func() { shown <- o.show(ctx, w, d, server) })
	select {
	case err = <-shown:
		cancel()
		return errors.Join(err, <-ended)
	case err = <-ended:
		return err
	case err = <-simulator:
		return fmt.Errorf("the simulated LQ server ended: %w", err)
	}
}

// daemon makes the connector, with its broker where it was asked for, or where it
// finds room.
func (o *demonstration) daemon(ctx context.Context, w *world, address, dir string) (*daemon, error) {
	c := o.config(address, dir)
	c.Embedded.Listen = o.listen
	switch {
	case o.listen != "":
	case o.sink != nil:
		c.Embedded.Listen = anyAddress // the other port may be meant for the sink's broker
	default:
		c.Embedded.Listen = natsAddress
	}
	if err := c.Validate(); err != nil {
		return nil, usageError{err}
	}
	d, err := newDaemon(ctx, w, c)
	if o.listen == "" && errors.Is(err, syscall.EADDRINUSE) {
		c.Embedded.Listen = anyAddress
		d, err = newDaemon(ctx, w, c)
	}
	return d, err
}

// anyAddress is a free port.
const anyAddress = "127.0.0.1:0"

// natsAddress is where NATS clients look for a server unless they are told.
const natsAddress = "127.0.0.1:4222"

// config is what a user of the same would write.
func (o *demonstration) config(address, dir string) *config.Config {
	s := session.DefaultConfig()
	s.Name, s.Server, s.Address, s.Registration, s.AreaCode = demoServer, demoServer, address, lqsim.DefaultRegistration, "025"
	s.DialRate = 1000
	for i := range o.agents {
		s.Agents = append(s.Agents, source.Agent{ID: fmt.Sprint(801 + i), Channel: source.FindChannel})
	}
	c := config.Default()
	c.Sinks = o.sinks()
	c.Sources = []config.Source{{Name: s.Name, Type: s.Type, Config: &s}}
	c.Spool.Dir, c.Spool.MinFree = dir, 0
	c.HTTP = web.Config{Health: "127.0.0.1:0", Public: "127.0.0.1:0", Admin: "127.0.0.1:0", AdminToken: secret.New(rand.Text())}
	c.Feed.SigningKey = secret.New(rand.Text() + rand.Text())
	c.Log.Level = "warn"
	return &c
}

// demoTokenTime is a working day's demonstration and the night after it.
const demoTokenTime = 24 * time.Hour

// show has calls made and shows what the broker delivers of them.
func (o *demonstration) show(ctx context.Context, w *world, d *daemon, server *lqsim.Server) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := make(chan []byte)
	reading := make(chan struct{})
	read := make(chan error, 1)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer cancel()
	parts.Go(func() {
		read <- o.read(ctx, d, func() { close(reading) }, func(body []byte) error {
			select {
			case events <- body:
			case <-ctx.Done():
			}
			return nil
		})
	})
	select {
	case <-reading:
	case err := <-read:
		return err
	case <-ctx.Done():
		return nil
	}
	if err := server.WaitSessions(ctx, o.agents); err != nil {
		return nil //nolint:nilerr // interrupted before all was up
	}
	token, err := feed.Sign(d.config.Feed.SigningKey, "demo", "801", time.Now().Add(demoTokenTime))
	if err != nil {
		return err
	}
	w.tell(`%d agents of a simulated LQ server at %s get %g pops a second.
The same events, live from the broker:   connector tail --nats nats://%s
How the connector is:                    %s/readyz
The console, in a browser:
%s%s#token=%s
Agent 801's page, in a browser:
%s%s#token=%s
Interrupt to end.

`, o.agents, server.Addr(), o.rate, d.spool.Addr(), d.health.URL(), d.admin.URL(), web.LoginPage, d.config.HTTP.AdminToken.Reveal(),
		d.public.URL(), pagePath("demo", "801"), token)

	agents := make([]string, o.agents)
	for i := range agents {
		agents[i] = fmt.Sprint(801 + i)
	}
	traffic, err := lqsim.NewTraffic(lqsim.TrafficOptions{Agents: agents, Rate: o.rate})
	if err != nil {
		return err
	}
	parts.Go(func() { _, _ = traffic.Run(ctx, server.Send) }) // ends with its context alone
	v := newView(w, o.output)
	for shown := 0; o.count == 0 || shown < o.count; shown++ {
		select {
		case body := <-events:
			if err := v.show(schema.TypeCallPop, body); err != nil {
				return err
			}
		case err := <-read:
			return err
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}
