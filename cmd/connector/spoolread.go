package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/telemetry"
	"github.com/callpop/connector/schema"
)

func spoolListCommand(w *world) *cobra.Command {
	var from spoolFlags
	var filter filterFlags
	var output string
	var limit int
	var numbers bool
	c := &cobra.Command{
		Use:   "ls",
		Short: "List events of the spool",
		Long: `List events of the spool, one a line, those of a type in the order in which they
were stored. Customers' numbers are masked in text; -o json gives the events'
bodies, one a line, with everything in them.
` + reachHelp,
		Example: `  connector spool ls --config connector.yaml --since 2h --agent 801
  connector spool ls --dir ./data --type dead-letters -o json`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			request, err := readRequest(&filter, limit)
			if err != nil {
				return err
			}
			return from.with(command.Context(), w, func(ctx context.Context, client control.Client) error {
				l := newListing(w, output, numbers)
				return errors.Join(control.Call(ctx, client, control.Read, request, l.show), l.out.Flush())
			})
		},
	}
	from.on(c)
	filter.on(c)
	filter.typeOn(c, "")
	outputFlag(c, &output)
	c.Flags().IntVar(&limit, "limit", 0, "end after so many events; 0 = all")
	c.Flags().BoolVar(&numbers, "numbers", false, "show customers' numbers")
	return c
}

func readRequest(flags *filterFlags, limit int) (control.ReadRequest, error) {
	if limit < 0 {
		return control.ReadRequest{}, usageError{fmt.Errorf("--limit is %d: expected 0 or more", limit)}
	}
	filter, err := flags.filter(time.Now())
	return control.ReadRequest{Filter: filter, Limit: limit}, err
}

// listing shows entries, a line each.
type listing struct {
	out     *bufio.Writer
	json    bool
	numbers bool
	header  bool
}

func newListing(w *world, output string, numbers bool) *listing {
	return &listing{out: bufio.NewWriter(w.stdout), json: output == "json", numbers: numbers}
}

// listColumns has what may be long last.
const listColumns = "%-23s  %10v  %-12s  %-8s  %-36s  %-24s  %s\n"

func (l *listing) show(e control.Entry) error {
	if l.json {
		_, err := fmt.Fprintf(l.out, "%s\n", e.Event.Body)
		return err
	}
	if !l.header {
		l.header = true
		if _, err := fmt.Fprintf(l.out, listColumns, "TIME", "SEQUENCE", "TYPE", "AGENT", "ID", "KEY", "WHAT"); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(l.out, listColumns, stamp(e.Event.Time), e.Sequence, typeName(e.Type),
		orDash(e.Event.Agent), printable(e.Event.ID), orDash(e.Event.Key), printable(l.describe(&e.Event)))
	return err
}

// describe says in few words what an event is about.
func (l *listing) describe(e *schema.Event) string {
	switch e.Type {
	case schema.TypeCallPop:
		var p schema.CallPop
		if json.Unmarshal(e.Body, &p) != nil {
			break
		}
		number := p.Customer.Number
		if !l.numbers {
			number = telemetry.MaskNumber(number)
		}
		return orDash(number) + " " + describeCall(&p)
	case schema.TypeSessionChanged:
		var s schema.SessionChanged
		if json.Unmarshal(e.Body, &s) != nil {
			break
		}
		if s.Cause != "" {
			return string(s.State) + ": " + s.Cause
		}
		return string(s.State)
	case schema.TypeDeadLetter:
		var d schema.DeadLetter
		if json.Unmarshal(e.Body, &d) != nil {
			break
		}
		text := d.Reason
		if d.Sink != "" {
			text += " by " + d.Sink
		}
		return text + ": " + d.Detail
	}
	return "a body that cannot be read"
}

func spoolExportCommand(w *world) *cobra.Command {
	var from spoolFlags
	var filter filterFlags
	var file string
	var limit int
	c := &cobra.Command{
		Use:   "export",
		Short: "Write events of the spool to a file",
		Long: `Write events of the spool, one a line, each a CloudEvent in the JSON format of
CloudEvents 1.0: the attributes that brokers have as headers, with partitionkey,
spoolsequence, and traceparent where there is one, and the event's body, byte by
byte, as data (data_base64 where it is not JSON). Any CloudEvents library reads
them back. They hold customers' numbers: a file is for its owner only.
` + reachHelp,
		Example: `  connector spool export --config connector.yaml --out events.ndjson
  connector spool export --dir ./data --type pops --since 24h | gzip > pops.ndjson.gz`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			request, err := readRequest(&filter, limit)
			if err != nil {
				return err
			}
			return from.with(command.Context(), w, func(ctx context.Context, client control.Client) error {
				return export(ctx, w, client, request, file)
			})
		},
	}
	from.on(c)
	filter.on(c)
	filter.typeOn(c, "")
	c.Flags().StringVar(&file, "out", "", "file to write, which must not exist; none = standard output")
	c.Flags().IntVar(&limit, "limit", 0, "end after so many events; 0 = all")
	return c
}

func export(ctx context.Context, w *world, client control.Client, request control.ReadRequest, file string) error {
	out := w.stdout
	if file != "" {
		f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // the file that the user named
		if err != nil {
			return usageError{fmt.Errorf("--out: %w", err)}
		}
		n, err := exportTo(ctx, w, client, request, f)
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("%s is not complete, it has %s: %w", file, plural(n, "event"), err)
		}
		w.tell("%s in %s\n", plural(n, "event"), file)
		return nil
	}
	n, err := exportTo(ctx, w, client, request, out)
	if err == nil {
		w.tell("%s\n", plural(n, "event"))
	}
	return err
}

func exportTo(ctx context.Context, w *world, client control.Client, request control.ReadRequest, to io.Writer) (n int, err error) {
	overview, err := control.CallOne(ctx, client, control.Stat, control.StatRequest{})
	if err != nil {
		return 0, err
	}
	bar := newProgress(w, "export")
	defer bar.end()
	out := bufio.NewWriterSize(to, 64<<10)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	err = control.Call(ctx, client, control.Read, request, func(e control.Entry) error {
		if err := encoder.Encode(cloudEventOf(&e)); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		n++
		for _, s := range overview.Streams {
			if s.Type == e.Type {
				bar.set(e.Sequence-min(e.Sequence, s.First-1), s.Last-(s.First-1))
			}
		}
		return nil
	})
	return n, errors.Join(err, out.Flush())
}

// cloudEvent is an event in the JSON format of CloudEvents.
type cloudEvent struct {
	SpecVersion   string          `json:"specversion"`
	ID            string          `json:"id"`
	Source        string          `json:"source"`
	Type          string          `json:"type"`
	Subject       string          `json:"subject,omitempty"`
	Time          string          `json:"time"`
	DataSchema    string          `json:"dataschema,omitempty"`
	ContentType   string          `json:"datacontenttype"`
	PartitionKey  string          `json:"partitionkey,omitempty"`
	SpoolSequence string          `json:"spoolsequence"`
	TraceParent   string          `json:"traceparent,omitempty"`
	TraceState    string          `json:"tracestate,omitempty"`
	Data          json.RawMessage `json:"data,omitempty"`
	DataBase64    []byte          `json:"data_base64,omitempty"`
}

func cloudEventOf(e *control.Entry) *cloudEvent {
	c := &cloudEvent{
		ContentType: schema.ContentType, SpoolSequence: e.SpoolSequence,
		TraceParent: e.Event.TraceParent, TraceState: e.Event.TraceState,
	}
	places := map[string]*string{
		schema.AttributeSpecVersion: &c.SpecVersion, schema.AttributeID: &c.ID, schema.AttributeSource: &c.Source,
		schema.AttributeType: &c.Type, schema.AttributeSubject: &c.Subject, schema.AttributeTime: &c.Time,
		schema.AttributeDataSchema: &c.DataSchema, schema.AttributePartitionKey: &c.PartitionKey,
	}
	for name, value := range e.Event.Attributes() {
		if place := places[name]; place != nil {
			*place = value
		}
	}
	if json.Valid(e.Event.Body) {
		c.Data = e.Event.Body
	} else {
		c.DataBase64 = e.Event.Body
	}
	return c
}
