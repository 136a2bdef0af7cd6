// Command crm shows who is calling: on each pop it looks the number up in a
// customer table, posts the call to a CRM's web hook, and shows the customer's
// card. It reads the events of the callpop connector from NATS or Kafka:
//
//	go run ./examples/crm --nats nats://127.0.0.1:4222 --hook http://127.0.0.1:9000/calls
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/callpop/connector/examples/internal/subscribe"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/schema/consume"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "crm:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	events := subscribe.Options{Name: "crm", Types: []schema.Type{schema.TypeCallPop}, Log: log}
	flags := flag.NewFlagSet("crm", flag.ContinueOnError)
	flags.SetOutput(stderr)
	events.Flags(flags)
	path := flags.String("db", "crm.db", "the file with the customers; it is made, with a few of them, where it is not there")
	hook := flags.String("hook", "", "the CRM's URL, which gets a POST for each call; empty: none")
	late := flags.Duration("late", time.Minute, "how old a pop may be to be shown: after an outage nobody wants last hour's calls on the screen")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *hook != "" {
		if u, err := url.Parse(*hook); err != nil || u.Host == "" {
			return fmt.Errorf("-hook is %q: expected a URL such as http://crm.example/calls", *hook)
		}
	}
	customers, err := openCustomers(ctx, *path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, customers.close()) }()
	c := &crm{customers: customers, hook: newHook(*hook, log), late: *late, screen: stdout}
	return events.Run(ctx, c.handle)
}

// crm does for each pop what a CRM would.
type crm struct {
	customers *customers
	hook      *hook
	late      time.Duration
	screen    io.Writer
}

// handle is called again for an event that it returned an error for, and for one
// that was not acknowledged before a restart: what it changes goes by the event's
// id, so that doing it twice is doing it once.
func (c *crm) handle(ctx context.Context, d *consume.Delivery) error {
	handled, err := c.customers.handled(ctx, d.Event.ID)
	if err != nil || handled {
		return err
	}
	who, err := c.customers.find(ctx, d.CallPop.Customer)
	if err != nil {
		return err
	}
	late := d.Late(time.Now(), c.late)
	if err := c.hook.post(ctx, call{
		Event: d.Event.ID, Key: d.CallPop.Key, Server: d.CallPop.Server, Agent: d.CallPop.Agent.ID,
		Mode: string(d.CallPop.Pop.Mode), Number: number(d.CallPop), At: d.CallPop.ReceivedAt, Late: late, Customer: who,
	}); err != nil {
		return err
	}
	if !late {
		showCard(c.screen, d.CallPop, who)
	}
	return c.customers.settle(ctx, d.Event.ID)
}

// number is the customer's number in its international form where that is known.
func number(p *schema.CallPop) string {
	if p.Customer.E164 != "" {
		return p.Customer.E164
	}
	return p.Customer.Number
}
