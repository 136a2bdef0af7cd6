package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/config"
	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/source/callback"
	"github.com/callpop/connector/source/relay"
	"github.com/callpop/connector/source/session"
)

// checkTimeout bounds the look at each broker or name.
const checkTimeout = 5 * time.Second

// finding is one line of check's answer.
type finding struct {
	Part   string `json:"part"`
	What   string `json:"what"`
	OK     bool   `json:"ok"`
	Detail string `json:"detail"`
}

func checkCommand(w *world) *cobra.Command {
	var file, output string
	var diff bool
	c := &cobra.Command{
		Use:   "check",
		Short: "Say what is wrong with a configuration and with what it names",
		Long: `Load the configuration, look at the spool's directory, resolve the LQ servers'
names and look at the brokers. It changes nothing, and it does not connect to an
LQ server: an agent might be signed out by it. The exit code is 1 on any trouble.

With --diff it says instead what a reload with the file would do: whose sessions
it closes, opens and leaves alone, and what needs a restart. It compares with the
connector that runs on the file's spool, or with the file that is named.`,
		Example: `  connector check --config connector.yaml
  connector check --config connector.yaml --diff
  connector check --config new.yaml --diff old.yaml`,
		Args: func(c *cobra.Command, args []string) error {
			if diff && len(args) <= 1 {
				return nil
			}
			return noArguments(c, args)
		},
		RunE: func(command *cobra.Command, args []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			if diff {
				old := ""
				if len(args) == 1 {
					old = args[0]
				}
				return checkDiff(command.Context(), w, file, old, output)
			}
			ctx, cancel := w.stopping(command.Context())
			defer cancel()
			c, err := loadConfig(w, file)
			var usage usageError
			if errors.As(err, &usage) {
				return err
			}
			findings := checkAll(ctx, file, c, err)
			if err := showFindings(w, output, findings); err != nil {
				return err
			}
			for _, f := range findings {
				if !f.OK {
					return errReported
				}
			}
			return nil
		},
	}
	configFlag(c, &file)
	c.Flags().BoolVar(&diff, "diff", false, "say what a reload would do: to the running connector, or after the file that is named")
	outputFlag(c, &output)
	return c
}

func checkAll(ctx context.Context, file string, c *config.Config, loadErr error) []finding {
	if loadErr != nil {
		var findings []finding
		for _, mistake := range strings.Split(loadErr.Error(), "\n") {
			findings = append(findings, finding{Part: "config", What: file, Detail: mistake})
		}
		return findings
	}
	findings := []finding{{"config", file, true, fmt.Sprintf("sources: %d, sinks: %d", len(c.Sources), len(c.Sinks))}}
	findings = append(findings, checkSpool(c))
	for _, s := range c.Sources {
		findings = append(findings, checkSource(ctx, s)...)
	}
	for _, s := range c.Sinks {
		findings = append(findings, checkSink(ctx, s)...)
	}
	return findings
}

func checkSpool(c *config.Config) finding {
	f := finding{Part: "spool", What: c.Spool.Dir}
	holder, err := spool.CheckDir(c.Spool.Dir)
	switch {
	case err != nil:
		f.Detail = err.Error()
	case holder != "":
		f.OK, f.Detail = true, "in use by "+holder
	default:
		f.OK, f.Detail = true, fmt.Sprintf("writable; sync %v, max_age %v, max_bytes %v a stream", c.Spool.Sync, c.Spool.MaxAge, c.Spool.MaxBytes)
	}
	return f
}

func checkSource(ctx context.Context, s config.Source) []finding {
	part := "source " + s.Name
	switch c := s.Config.(type) {
	case *session.Config:
		return []finding{
			resolve(ctx, part, c.Address),
			{part, "agents", true, fmt.Sprintf("%d sessions to server %s", len(c.Configured()), c.Server)},
		}
	case *relay.Config:
		return []finding{
			resolve(ctx, part, c.Address),
			{part, "listen", true, fmt.Sprintf("desktops connect to %s; at most %d", c.Listen, c.MaxClients)},
		}
	case *callback.Config:
		return []finding{{part, "listen", true, fmt.Sprintf("pages call %s%s", c.Listen, c.Path)}}
	default:
		return []finding{{part, s.Type, true, ""}}
	}
}

// resolve looks a name up without connecting.
func resolve(ctx context.Context, part, address string) finding {
	f := finding{Part: part, What: address}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if _, err := net.DefaultResolver.LookupPort(ctx, "tcp", port); err != nil {
		f.Detail = err.Error()
		return f
	}
	addresses, err := net.DefaultResolver.LookupHost(ctx, host)
	if err != nil {
		f.Detail = err.Error()
		return f
	}
	f.OK, f.Detail = true, "resolves to "+strings.Join(addresses, ", ")+"; not connected to"
	return f
}

func checkSink(ctx context.Context, s config.Sink) []finding {
	part := "sink " + s.Name
	made, err := makeSink(s, nil, nil)
	if err != nil {
		return []finding{{part, s.Type, false, err.Error()}}
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	defer func() { _ = made.Close(ctx) }()
	checker, ok := made.(sink.Checker)
	if !ok {
		return []finding{{part, s.Type, true, "nothing to look at"}}
	}
	var findings []finding
	for _, found := range checker.Check(ctx) {
		f := finding{part, found.What, found.Err == nil, found.Detail}
		if found.Err != nil {
			f.Detail = strings.TrimPrefix(found.Detail+": "+found.Err.Error(), ": ")
		}
		findings = append(findings, f)
	}
	return findings
}

func showFindings(w *world, output string, findings []finding) error {
	if output == "json" {
		return json.NewEncoder(w.stdout).Encode(findings)
	}
	table := tabwriter.NewWriter(w.stdout, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		state := "ok"
		if !f.OK {
			state = "WRONG"
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", state, f.Part, printable(f.What), printable(f.Detail))
	}
	return table.Flush()
}
