package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/internal/bench"
)

func benchCommand(w *world) *cobra.Command {
	o := bench.DefaultOptions()
	var output string
	c := &cobra.Command{
		Use:   "bench",
		Short: "Measure this machine: simulator, connector and broker",
		Long: `Measure what the connector does on this machine, for sizing: an LQ server that
makes pops, the connector, and the broker, each in a process of its own on the
loopback. The same is measured of a program that only reads the sessions and of
one that only publishes, so that each figure stands beside what the machine
itself gave in the same minutes.

Latencies are counted from the instant at which a pop was due, so that a stall is
not hidden: written (by the LQ server), read, spooled (stored: from here on it is
not lost), acknowledged (by the sink's broker), delivered (to a subscriber).
With --rate 0 pops are written as fast as they are acknowledged, and counted from
when they were read; what was published is read back afterwards.

Every pop is checked: the exit code is 1 if one is lost or out of order. Nothing
is kept; in a broker of yours a stream or a topic is made and removed again.`,
		Example: `  connector bench
  connector bench --sessions 500 --rate 100 --duration 10s --sink nats
  connector bench --rate 0 --sink kafka --kafka localhost:9092
  connector bench --sink nats --burst
  connector bench --idle --duration 60s -o json
  connector bench --backlog 1000000 --sink nats`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if err := o.Validate(); err != nil {
				return usageError{err}
			}
			executable, err := os.Executable()
			if err != nil {
				return fmt.Errorf("find this program, to start it again: %w", err)
			}
			o.Child, o.Environ = []string{executable, benchProcess}, append(slices.Clone(w.environ), benchEnvironment)
			o.Tell, o.Progress = benchProgress(w)
			ctx, cancel := w.stopping(command.Context())
			defer cancel()
			r, err := bench.Run(ctx, o)
			if r == nil {
				return err
			}
			r.Version = thisBuild().Version
			return errors.Join(showBench(w, output, r), err)
		},
	}
	outputFlag(c, &output)
	f := c.Flags()
	f.IntVar(&o.Sessions, "sessions", o.Sessions, "agents' sessions")
	f.Float64Var(&o.Rate, "rate", o.Rate, "pops a second over all sessions; 0 = as fast as they are acknowledged")
	f.DurationVar(&o.Duration, "duration", o.Duration, "how long pops are written")
	f.StringVar(&o.Sink, "sink", o.Sink, "spool (the connector's own broker), nats or kafka")
	f.StringVar(&o.NATS, "nats", "", "URL of a NATS server with JetStream; default: one is started")
	f.StringSliceVar(&o.Kafka, "kafka", nil, "Kafka brokers, host:port")
	f.IntVar(&o.Partitions, "partitions", o.Partitions, "partitions of the Kafka topic")
	f.StringVar(&o.Format, "format", o.Format, "t1v1 to t1v5")
	f.BoolVar(&o.Burst, "burst", false, "one pop on each session at once, instead of a rate")
	f.BoolVar(&o.Idle, "idle", false, "no pops: what heartbeats cost")
	f.IntVar(&o.Backlog, "backlog", 0, "start with so many events in the spool, the newest 100,000 of them of the last 20 s, and measure the start and the sink's catching up")
	f.DurationVar(&o.Heartbeat, "heartbeat", o.Heartbeat, "time between heartbeats of a session")
	f.StringVar(&o.Sync, "sync", "", "spool.sync: an interval, or always; default: the connector's")
	f.BoolVar(&o.Compare, "compare", o.Compare, "measure the bare reader and publisher too")
	f.StringVar(&o.Profile, "cpuprofile", "", "write a CPU profile of the connector to this file, for go tool pprof")
	return c
}

// benchProgress shows how far a run is: on a terminal in one line, elsewhere in a
// line now and then.
func benchProgress(w *world) (tell, progress func(string)) {
	if isTerminal(w.stderr) {
		return func(line string) { w.tell("\r\x1b[K%s\n", line) }, func(line string) { w.tell("\r\x1b[K%s", line) }
	}
	var next time.Time
	return func(line string) { w.tell("%s\n", line) }, func(line string) {
		if now := time.Now(); now.After(next) {
			next = now.Add(10 * time.Second)
			w.tell("%s\n", line)
		}
	}
}

func showBench(w *world, output string, r *bench.Result) error {
	if output == "json" {
		return json.NewEncoder(w.stdout).Encode(r)
	}
	return r.WriteTable(w.stdout)
}
