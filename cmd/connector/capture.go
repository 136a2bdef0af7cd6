package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/internal/telemetry"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/capture"
	"github.com/callpop/connector/source/pop"
)

// recording are the flags of capture.
type recording struct {
	listen, upstream, out string
	mask                  bool
	limit                 string
}

func captureCommand(w *world) *cobra.Command {
	var o recording
	c := &cobra.Command{
		Use:   "capture",
		Short: "Record what an existing client and the LQ server say to each other",
		Long: `Stand between existing clients and the LQ server, pass every byte on unchanged,
and write a transcript. It shows the registration message, which the vendor does
not publish: point one desktop's client at this machine, log its agent in, take a
call, and look at the file with

  connector capture show FILE`,
		Example: `  connector capture --listen 0.0.0.0:7628 --upstream 10.0.0.5:7628 --out lq.capture
  connector capture show lq.capture`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			ctx, cancel := w.stopping(command.Context())
			defer cancel()
			return record(ctx, w, o)
		},
	}
	c.Flags().StringVar(&o.listen, "listen", "0.0.0.0:7628", "address that the clients connect to")
	c.Flags().StringVar(&o.upstream, "upstream", "", "the LQ server's host and port (required)")
	c.Flags().StringVar(&o.out, "out", "", "file to write, which must not exist (required)")
	c.Flags().BoolVar(&o.mask, "mask-numbers", false, "keep customers' numbers out of the file")
	c.Flags().StringVar(&o.limit, "max-bytes", bytesize.Size(capture.DefaultMaxBytes).String(), "size at which the transcript ends; the clients go on")
	c.AddCommand(captureShowCommand(w))
	return c
}

// record relays and writes until ctx is done.
func record(ctx context.Context, w *world, o recording) (err error) {
	if o.upstream == "" || o.out == "" {
		return usageError{errors.New("--upstream and --out are required: expected the LQ server's host and port, and a file")}
	}
	if host, port, splitErr := net.SplitHostPort(o.upstream); splitErr != nil || host == "" || port == "" {
		return usageError{fmt.Errorf("--upstream is %q: expected the LQ server's host and port, such as 10.0.0.5:7628", o.upstream)}
	}
	var limit bytesize.Size
	if err := limit.UnmarshalText([]byte(o.limit)); err != nil {
		return usageError{fmt.Errorf("--max-bytes: %w", err)}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	file, err := os.OpenFile(o.out, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) //nolint:gosec // the file that the user named
	if err != nil {
		_ = listener.Close()
		return fmt.Errorf("--out: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	log, _ := telemetry.NewLogger(w.stderr, telemetry.DefaultConfig(), isTerminal(w.stderr))
	w.tell("recording between %s and %s; interrupt to end, then: connector capture show %s\n", listener.Addr(), o.upstream, o.out)
	return capture.Record(ctx, capture.RecordOptions{
		Listen: listener, Upstream: o.upstream, Out: file, MaskNumbers: o.mask, MaxBytes: int64(limit), Logger: log,
	})
}

func captureShowCommand(w *world) *cobra.Command {
	var output, timezone, areaCode, charset string
	var hints capture.Hints
	var mask, brief bool
	c := &cobra.Command{
		Use:   "show FILE",
		Short: "Explain a transcript and give the configuration lines to paste",
		Example: `  connector capture show lq.capture
  connector capture show lq.capture --agent 801 --brief`,
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return usageError{fmt.Errorf("capture show takes one file, but got %d", len(args))}
			}
			if err := checkOutput(output); err != nil {
				return err
			}
			decoding, err := source.NewDecoding(pop.Charset(charset), timezone, areaCode)
			if err != nil {
				return usageError{err}
			}
			t, err := readCapture(args[0])
			if err != nil {
				return err
			}
			o := capture.ExplainOptions{Hints: hints, Decoding: decoding, MaskNumbers: mask, Brief: brief}
			if output == "json" {
				summary, err := capture.Summarize(t, o)
				if err != nil {
					return err
				}
				return json.NewEncoder(w.stdout).Encode(summary)
			}
			return capture.Explain(w.stdout, t, o)
		},
	}
	outputFlag(c, &output)
	decodingFlagsOn(c, &timezone, &areaCode, &charset)
	c.Flags().StringSliceVar(&hints.Agents, "agent", nil, "agents that registered, where they are known")
	c.Flags().StringSliceVar(&hints.Channels, "channel", nil, "channels that registered, where they are known")
	c.Flags().BoolVar(&mask, "mask-numbers", false, "keep customers' numbers out of what is shown")
	c.Flags().BoolVar(&brief, "brief", false, "leave the frames out")
	return c
}

func readCapture(name string) (*capture.Transcript, error) {
	file, err := os.Open(name) //nolint:gosec // the file that the user named
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	t, err := capture.Read(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return t, nil
}

// replayCapture is the server of a transcript, until ctx is done.
func replayCapture(ctx context.Context, w *world, s simulation) error {
	t, err := readCapture(s.replay)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.listen)
	if err != nil {
		return fmt.Errorf("--listen: %w", err)
	}
	log, _ := telemetry.NewLogger(w.stderr, telemetry.DefaultConfig(), isTerminal(w.stderr))
	replay, err := capture.NewReplay(t, capture.ReplayOptions{
		Listener: listener, Speed: s.speed, Logger: log,
		OnPlayed: func(p capture.Played) {
			log.Info("played to its end", "connection", p.Connection, "agent", p.Agent, "from", p.From)
		},
	})
	if err != nil {
		return fmt.Errorf("--replay: %w", err)
	}
	log.Info("playing back a transcript", "file", s.replay, "address", listener.Addr().String())
	return replay.Run(ctx)
}
