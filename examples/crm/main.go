// Command crm shows who is calling: on each pop it looks the number up in a
// customer table, shows the customer's card, and posts the call to a CRM's web
// hook. It reads the events of the callpop connector from NATS or Kafka:
//
//	go run ./examples/crm --hook http://127.0.0.1:9000/calls
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
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/callpop/connector/examples/internal/program"
	"github.com/callpop/connector/examples/internal/sqlite"
	"github.com/callpop/connector/examples/internal/subscribe"
	"github.com/callpop/connector/schema"
)

func main() {
	os.Exit(program.Run("crm", func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		return run(ctx, args, os.Getenv, stdout, stderr)
	}))
}

// tokenVariable holds the hook's token: a command line can be read by everybody.
const tokenVariable = "CRM_HOOK_TOKEN"

// settings are what the command line says.
type settings struct {
	events      subscribe.Options
	db          string
	customers   string
	hook        string
	late        time.Duration
	showNumbers bool
}

func parse(args []string, log *slog.Logger, stderr io.Writer) (*settings, error) {
	s := &settings{events: subscribe.Options{Name: "crm", Types: []schema.Type{schema.TypeCallPop}, Log: log}}
	flags := flag.NewFlagSet("crm", flag.ContinueOnError)
	flags.SetOutput(stderr)
	s.events.Flags(flags)
	flags.StringVar(&s.db, "db", "crm.db", "the `file` with the customers and the calls that the CRM has not got yet; it is made where it is not there, with a few customers")
	flags.StringVar(&s.customers, "customers", "", "a `file` of customers to add at the start: number,name[,company[,note]] in each line")
	flags.StringVar(&s.hook, "hook", "", "the CRM's `URL`, which gets a POST for each call; empty: none. The environment's "+tokenVariable+" is its bearer token")
	flags.DurationVar(&s.late, "late", time.Minute, "how old a pop may be to be shown: after an outage nobody wants last hour's calls on the screen")
	flags.BoolVar(&s.showNumbers, "show-numbers", false, "show telephone numbers as they are; else their middle is hidden")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	if flags.NArg() > 0 {
		return nil, fmt.Errorf("argument %q: expected flags alone", flags.Arg(0))
	}
	if s.hook != "" {
		u, err := url.Parse(s.hook)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, errors.New("-hook is no URL: expected one such as http://crm.example/calls") // which may hold a secret
		}
	}
	if s.late <= 0 {
		return nil, fmt.Errorf("-late is %v: expected more than nothing, such as 1m", s.late)
	}
	return s, nil
}

// run runs the program until ctx is done.
func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	s, err := parse(args, log, stderr)
	if err != nil {
		return err
	}
	db, err := sqlite.Open(ctx, s.db, customersTable+outboxTable)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if s.customers != "" {
		all, err := readCustomers(s.customers)
		if err != nil {
			return err
		}
		if err := addCustomers(ctx, db, all); err != nil {
			return err
		}
	} else if err := addSamples(ctx, db); err != nil {
		return err
	}

	box := &outbox{db: db, filled: make(chan struct{}, 1)}
	c := &crm{
		outbox: box, posts: s.hook != "", late: s.late,
		screen: &screen{w: stdout, showNumbers: s.showNumbers},
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.events.RunAll(ctx, c.handle) })
	if c.posts {
		p := &poster{outbox: box, hook: newHook(s.hook, env(tokenVariable)), log: log}
		group.Go(func() error { return p.run(ctx) })
	}
	return group.Wait()
}
