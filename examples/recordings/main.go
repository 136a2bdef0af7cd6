// Command recordings finds the recording of a call by the call's key or by the
// customer's number. It keeps the pops of the callpop connector, read from NATS or
// Kafka, and stitches those of one call together:
//
//	go run ./examples/recordings
//	curl 'http://127.0.0.1:8090/calls?number=13812345678'
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/callpop/connector/examples/internal/program"
	"github.com/callpop/connector/examples/internal/subscribe"
	"github.com/callpop/connector/schema"
)

func main() {
	os.Exit(program.Run("recordings", func(ctx context.Context, args []string, stdout, stderr io.Writer) error {
		return run(ctx, args, os.Getenv, stdout, stderr)
	}))
}

// tokenVariable holds the token that requests must bear.
const tokenVariable = "RECORDINGS_TOKEN"

// settings are what the command line says.
type settings struct {
	events subscribe.Options
	db     string
	listen string
	idle   time.Duration
	keep   time.Duration
}

func parse(args []string, token string, log *slog.Logger, stderr io.Writer) (*settings, error) {
	s := &settings{events: subscribe.Options{Name: "recordings", Types: []schema.Type{schema.TypeCallPop}, Log: log}}
	flags := flag.NewFlagSet("recordings", flag.ContinueOnError)
	flags.SetOutput(stderr)
	s.events.Flags(flags)
	flags.StringVar(&s.db, "db", "recordings.db", "the `file` of the calls; it is made where it is not there")
	flags.StringVar(&s.listen, "listen", "127.0.0.1:8090", "the `address` to answer on; beyond this machine only with a token in the environment's "+tokenVariable)
	flags.DurationVar(&s.idle, "idle", 2*time.Hour, "after how long without a pop a key's next one is another call")
	flags.DurationVar(&s.keep, "keep", 90*24*time.Hour, "how long a pop is kept; 0 = for ever")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case flags.NArg() > 0:
		return nil, fmt.Errorf("argument %q: expected flags alone", flags.Arg(0))
	case s.idle <= 0:
		return nil, fmt.Errorf("-idle is %v: expected more than nothing, such as 2h", s.idle)
	case s.keep != 0 && s.keep < s.idle:
		return nil, fmt.Errorf("-keep is %v: expected 0, or no less than -idle, which is %v", s.keep, s.idle)
	}
	host, _, err := net.SplitHostPort(s.listen)
	if err != nil {
		return nil, fmt.Errorf("-listen is %q: expected host:port, such as 127.0.0.1:8090", s.listen)
	}
	if token == "" && !loopback(host) {
		return nil, fmt.Errorf("-listen is %q and %s is not set: expected a loopback address, or a token", s.listen, tokenVariable)
	}
	return s, nil
}

// loopback reports whether a host is this machine alone.
func loopback(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.IsLoopback()
}

// run runs the program until ctx is done.
func run(ctx context.Context, args []string, env func(string) string, stdout, stderr io.Writer) (err error) {
	log := slog.New(slog.NewTextHandler(stderr, nil))
	token := env(tokenVariable)
	s, err := parse(args, token, log, stderr)
	if err != nil {
		return err
	}
	store, err := openStore(ctx, s.db, s.idle, s.keep)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.close()) }()
	listener, err := net.Listen("tcp", s.listen)
	if err != nil {
		return fmt.Errorf("listen on %s: %w", s.listen, err)
	}
	_, _ = fmt.Fprintf(stdout, "Calls by key or number: http://%s/calls?key=…  http://%[1]s/calls?number=…\n", listener.Addr())

	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return serve(ctx, listener, &api{store: store, token: token, log: log}) })
	group.Go(func() error { return store.forget(ctx) })
	group.Go(func() error { return s.events.RunAll(ctx, store.add) })
	return group.Wait()
}
