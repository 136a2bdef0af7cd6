// Command analytics counts calls by agent, quarter of an hour, mode and region,
// finds callers who call again, and works out when agents could be reached. It keeps
// all that in SQLite and plots each day as a page of HTML. It reads the events of
// the callpop connector from NATS or Kafka:
//
//	go run ./examples/analytics
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"
	_ "time/tzdata" // a machine may have none

	"golang.org/x/sync/errgroup"

	"github.com/callpop/connector/examples/internal/program"
	"github.com/callpop/connector/examples/internal/subscribe"
	"github.com/callpop/connector/schema"
)

func main() { os.Exit(program.Run("analytics", run)) }

// settings are what the command line says.
type settings struct {
	events subscribe.Options
	db     string
	pages  string
	every  time.Duration
	store  storeOptions
}

func parse(args []string, log *slog.Logger, stderr io.Writer) (*settings, error) {
	s := &settings{events: subscribe.Options{
		Name: "analytics", Types: []schema.Type{schema.TypeCallPop, schema.TypeSessionChanged}, Log: log,
	}}
	flags := flag.NewFlagSet("analytics", flag.ContinueOnError)
	flags.SetOutput(stderr)
	s.events.Flags(flags)
	var zone string
	flags.StringVar(&s.db, "db", "analytics.db", "the `file` of the calls; it is made where it is not there")
	flags.StringVar(&s.pages, "pages", "analytics", "the `directory` of the pages, one for each day, such as 2026-11-23.html")
	flags.DurationVar(&s.every, "every", 5*time.Second, "how often the pages of days that have changed are plotted")
	flags.StringVar(&zone, "timezone", "Asia/Shanghai", "the `zone` that days and quarters of an hour are of")
	flags.DurationVar(&s.store.idle, "idle", 2*time.Hour, "after how long without a pop a key's next one is another call")
	flags.DurationVar(&s.store.keep, "keep", 400*24*time.Hour, "how long calls and sessions are kept; 0 = for ever")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	var err error
	switch s.store.zone, err = time.LoadLocation(zone); {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("argument %q: expected flags alone", flags.Arg(0))
	case err != nil || zone == "":
		return nil, fmt.Errorf("-timezone is %q: expected a name such as Asia/Shanghai or UTC", zone)
	case s.every <= 0:
		return nil, fmt.Errorf("-every is %v: expected more than nothing, such as 5s", s.every)
	case s.store.idle <= 0:
		return nil, fmt.Errorf("-idle is %v: expected more than nothing, such as 2h", s.store.idle)
	case s.store.keep != 0 && s.store.keep < 24*time.Hour:
		return nil, fmt.Errorf("-keep is %v: expected 0, or a day (24h) or more", s.store.keep)
	}
	return s, nil
}

// run runs the program until ctx is done.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	s, err := parse(args, log, stderr)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.pages, 0o700); err != nil {
		return fmt.Errorf("make the pages' directory: %w", err)
	}
	store, err := openStore(ctx, s.db, s.store)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	p := &plotter{store: store, dir: s.pages, now: time.Now, written: func(path string) { _, _ = fmt.Fprintln(stdout, "Plotted", path) }}

	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.events.RunAll(groupCtx, store.add) })
	group.Go(func() error { return p.run(groupCtx, s.every) })
	group.Go(func() error { return store.forget(groupCtx) })
	err = group.Wait()
	// What came since the last plot.
	return errors.Join(err, p.plot(context.WithoutCancel(ctx)))
}
