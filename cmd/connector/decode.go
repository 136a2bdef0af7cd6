package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/capture"
	"github.com/callpop/connector/source/pop"
)

// maxDecodeLine bounds a line: a pop has 255 bytes, a callback's address a few
// thousand at most.
const maxDecodeLine = 64 << 10

func decodeCommand(w *world) *cobra.Command {
	var output, server, timezone, areaCode, charset, agent string
	c := &cobra.Command{
		Use:   "decode [FILE...]",
		Short: "Turn pop strings or callback URLs into events",
		Long: `Turn pop strings or callback URLs, one a line, from files or standard input,
into CallPop events. A line that starts with http://, https://, / or ? is a
callback; every other line is a pop string, without the length byte that comes
before it on the wire. A transcript of connector capture gives its pops.

A line that is wrong gives an error with its line and column on standard error;
the rest goes on, and the exit code is 1.`,
		Example: `  echo 'H=t1v3,ch=2,ph=86307627,id=12157703713752,tm=080711175931,op=801,sn=1234,dm=0;' |
    connector decode --area-code 025
  connector decode -o json pops.txt`,
		RunE: func(command *cobra.Command, files []string) error {
			if err := checkOutput(output); err != nil {
				return err
			}
			decoding, err := source.NewDecoding(pop.Charset(charset), timezone, areaCode)
			if err != nil {
				return usageError{err}
			}
			if err := source.CheckName("--server", server); err != nil {
				return usageError{err}
			}
			d := decodeRun{
				world: w, json: output == "json", assembler: source.NewAssembler(),
				origin: &source.Origin{
					Type: "session", Name: "decode", Server: server, Agent: agent,
					Channel: source.FindChannel, Decoding: decoding,
				},
			}
			if len(files) == 0 {
				files = []string{"-"}
			}
			ctx, cancel := w.stopping(command.Context())
			defer cancel()
			for _, file := range files {
				if err := d.file(ctx, file); err != nil {
					return err
				}
			}
			if d.wrong > 0 {
				return errReported
			}
			return nil
		},
	}
	outputFlag(c, &output)
	c.Flags().StringVar(&server, "server", "hq", "name of the LQ server")
	c.Flags().StringVar(&agent, "agent", "", "agent of the socket, for pops that name none (t1v1, t1v2)")
	decodingFlagsOn(c, &timezone, &areaCode, &charset)
	return c
}

// decodingFlagsOn adds the flags that say how a server's pops are read.
func decodingFlagsOn(c *cobra.Command, timezone, areaCode, charset *string) {
	c.Flags().StringVar(timezone, "timezone", "Asia/Shanghai", "the server's time zone")
	c.Flags().StringVar(areaCode, "area-code", "", "the site's area code, such as 025")
	c.Flags().StringVar(charset, "charset", string(pop.Auto), "auto, utf-8 or gb18030")
}

// decodeRun is one run of the command.
type decodeRun struct {
	*world
	json      bool
	origin    *source.Origin
	assembler *source.Assembler
	wrong     int
}

func (d *decodeRun) file(ctx context.Context, name string) error {
	in := d.stdin
	if name == "-" {
		name = "standard input"
	} else {
		f, err := os.Open(name) //nolint:gosec // the file that the user named
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	lines := bufio.NewReaderSize(in, maxDecodeLine)
	if start, _ := lines.Peek(transcriptStart); capture.IsTranscript(start) {
		return d.transcript(ctx, name, lines)
	}
	for number := 1; ctx.Err() == nil; number++ {
		line, err := lines.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			d.fail(name, number, maxDecodeLine, fmt.Sprintf("the line is longer than %d bytes", maxDecodeLine))
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = lines.ReadSlice('\n')
			}
			line = nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("read %s: %w", name, err)
		}
		if number == 1 {
			line = bytes.TrimPrefix(line, []byte("\xEF\xBB\xBF")) // the mark of UTF-8, from some editors
		}
		if line = bytes.TrimRight(line, "\r\n"); len(line) > 0 {
			if writeErr := d.line(name, number, line); writeErr != nil {
				return writeErr
			}
		}
		if err != nil {
			return nil
		}
	}
	return context.Cause(ctx)
}

// transcriptStart is enough of a file to know a transcript by.
const transcriptStart = 256

// transcript decodes the pops of a capture.
func (d *decodeRun) transcript(ctx context.Context, name string, in io.Reader) error {
	t, err := capture.Read(in)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	events, err := capture.Events(t, capture.EventOptions{Server: d.origin.Server, Decoding: d.origin.Decoding})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	for e := range events {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if e.Err != nil {
			d.wrong++
			d.tell("%s: connection %d, frame %d: %v\n", name, e.Connection, e.Frame, e.Err)
			continue
		}
		if err := d.show(e.Event); err != nil {
			return err
		}
	}
	return nil
}

// line decodes one line; the error is one of writing.
func (d *decodeRun) line(name string, number int, line []byte) error {
	var event schema.Event
	var err error
	offset := 0
	if query, at, ok := callbackQuery(line); ok {
		d.origin.Type, offset = "callback", at
		event, _, err = d.assembler.Callback(d.origin, time.Now(), query)
	} else {
		d.origin.Type = "session"
		event, _, err = d.assembler.Pop(d.origin, time.Now(), line)
	}
	if err != nil {
		column, text := 1, err.Error()
		var wrong *pop.Error
		if errors.As(err, &wrong) {
			column, text = wrong.Column, wrong.Reason.Explain()
		}
		d.fail(name, number, offset+column, text)
		return nil
	}
	return d.show(event)
}

func (d *decodeRun) show(event schema.Event) error {
	if d.json {
		_, err := fmt.Fprintf(d.stdout, "%s\n", event.Body)
		return err
	}
	return explain(d.stdout, event.Body)
}

func (d *decodeRun) fail(name string, line, column int, text string) {
	d.wrong++
	d.tell("%s:%d:%d: %s\n", name, line, column, text)
}

// callbackQuery finds the query of a callback's address, and where it begins.
func callbackQuery(line []byte) (query []byte, at int, ok bool) {
	text := string(line)
	isURL := strings.HasPrefix(text, "http://") || strings.HasPrefix(text, "https://") ||
		strings.HasPrefix(text, "/") || strings.HasPrefix(text, "?")
	if !isURL {
		return nil, 0, false
	}
	at = strings.IndexByte(text, '?') + 1
	if at == 0 {
		at = len(text)
	}
	end := len(text)
	if fragment := strings.IndexByte(text[at:], '#'); fragment >= 0 {
		end = at + fragment
	}
	return line[at:end], at, true
}
