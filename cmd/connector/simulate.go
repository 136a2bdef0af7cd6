package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/internal/telemetry"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/lqsim"
)

// simulation are the flags of simulate.
type simulation struct {
	listen       string
	agents       []string
	rate         float64
	count        int
	format       string
	charset      string
	scenario     string
	seed         uint64
	heartbeat    time.Duration
	registration string
	replay       string
	speed        float64
}

func simulateCommand(w *world) *cobra.Command {
	var s simulation
	var agents string
	c := &cobra.Command{
		Use:   "simulate",
		Short: "Be an LQ server: take agents' sessions and send them pops",
		Long: fmt.Sprintf(`Be an LQ server (manual, chapter 7): take agents' sessions, send heartbeats, and
send pops of made-up calls, play back a transcript of connector capture, or play a
scenario: a file, or one of
  %s`, strings.Join(lqsim.BuiltinScenarios(), ", ")),
		Example: `  connector simulate --listen 127.0.0.1:7628 --agents 801-820 --rate 5 --format t1v5
  connector simulate --agents 801,802 --scenario transfer
  connector simulate --replay lq.capture --speed 10`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			var err error
			if s.agents, err = agentIDs("--agents", agents); err != nil {
				return usageError{err}
			}
			ctx, cancel := w.stopping(command.Context())
			defer cancel()
			if s.replay != "" {
				return replayCapture(ctx, w, s)
			}
			return simulate(ctx, w, s)
		},
	}
	c.Flags().StringVar(&s.listen, "listen", "127.0.0.1:7628", "address to listen on")
	c.Flags().StringVar(&agents, "agents", "801-820", "agents who get calls: numbers and ranges, with commas between")
	c.Flags().Float64Var(&s.rate, "rate", 1, "pops a second, over all agents")
	c.Flags().IntVar(&s.count, "count", 0, "end after so many pops; 0 = never")
	c.Flags().StringVar(&s.format, "format", "t1v5", "t1v1 to t1v5, or mixed")
	c.Flags().StringVar(&s.charset, "charset", lqsim.UTF8, "of Chinese text in pops: utf-8 or gb18030")
	c.Flags().StringVar(&s.scenario, "scenario", "", "play this scenario instead of made-up calls")
	c.Flags().Uint64Var(&s.seed, "seed", 1, "the same seed makes the same calls")
	c.Flags().DurationVar(&s.heartbeat, "heartbeat", lqsim.DefaultHeartbeat, "time between heartbeats")
	c.Flags().StringVar(&s.replay, "replay", "", "play back a transcript of connector capture instead")
	c.Flags().Float64Var(&s.speed, "speed", 1, "of --replay: times faster than recorded; 0 = without any pause")
	c.MarkFlagsMutuallyExclusive("scenario", "replay")
	c.Flags().StringVar(&s.registration, "registration", lqsim.DefaultRegistration, "template of the registration that clients send")
	return c
}

// agentIDs reads a list of agents from the command line.
func agentIDs(flag, list string) ([]string, error) {
	var entries []any
	for _, entry := range strings.Split(list, ",") {
		entries = append(entries, entry)
	}
	roster, err := source.ParseRoster(entries)
	if err != nil {
		return nil, fmt.Errorf("%s is %q: %w", flag, list, err)
	}
	ids := make([]string, len(roster))
	for i, agent := range roster {
		ids[i] = agent.ID
	}
	return ids, nil
}

// simulate runs the server and its traffic until ctx is done or the traffic ends.
func simulate(ctx context.Context, w *world, s simulation) error {
	log, _ := telemetry.NewLogger(w.stderr, telemetry.DefaultConfig(), isTerminal(w.stderr))
	var scenario *lqsim.Scenario
	if s.scenario != "" {
		var err error
		if scenario, err = lqsim.LoadScenario(s.scenario); err != nil {
			return err
		}
	}
	traffic, err := lqsim.NewTraffic(lqsim.TrafficOptions{
		Agents: s.agents, Rate: s.rate, Count: s.count, Format: s.format, Charset: s.charset, Seed: s.seed,
	})
	if err != nil {
		return usageError{err}
	}
	server, err := lqsim.New(lqsim.Options{
		Address: s.listen, Heartbeat: s.heartbeat, Registration: s.registration,
		OnSession: func(c lqsim.Session) { logSession(log, c) },
	})
	if err != nil {
		return err
	}
	running, end := context.WithCancel(ctx)
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := server.Run(running); err != nil {
			log.Error("simulated LQ server", "error", err)
		}
	})
	defer serving.Wait()
	defer end()
	log.Info("simulated LQ server runs", "address", server.Addr().String(), "agents", len(s.agents))

	if scenario != nil {
		_, err = scenario.Play(ctx, server, lqsim.PlayOptions{
			Agents: s.agents, Format: s.format, Charset: s.charset, Seed: s.seed,
			OnStep: func(p lqsim.Played) { logStep(log, p) },
		})
	} else {
		var tally lqsim.Tally
		tally, err = traffic.Run(ctx, server.Send)
		log.Info("end of the calls", "sent", tally.Sent, "missed", tally.Missed)
	}
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func logSession(log *slog.Logger, s lqsim.Session) {
	if s.End == "" {
		log.Info("agent registered", "agent", s.Agent, "channel", s.Channel, "from", s.Remote.String())
		return
	}
	log.Info("session ended", "agent", s.Agent, "from", s.Remote.String(), "how", string(s.End), "pops", s.Pops)
}

func logStep(log *slog.Logger, p lqsim.Played) {
	if p.Err != nil {
		log.Warn("step", "line", p.Line, "kind", string(p.Kind), "agent", p.Agent, "error", p.Err)
		return
	}
	log.Info("step", "line", p.Line, "kind", string(p.Kind), "agent", p.Agent)
}
