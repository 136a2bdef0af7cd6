package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Part is what a child process runs.
type Part interface {
	// Ask answers a question; what it returns is encoded as JSON.
	Ask(ctx context.Context, what string, with json.RawMessage) (any, error)
	// Close ends the part and waits for what it started.
	Close() error
}

// Start makes a part of the options of its role, and returns what its parent has
// to know once it is ready.
type Start func(ctx context.Context, options json.RawMessage) (part Part, ready any, err error)

// Serve is a child process's whole life: it reads what it is to be from in, is
// that until in ends, and answers on out. connector runs the daemon, which this
// package does not know.
func Serve(ctx context.Context, in io.Reader, out io.Writer, connector Start) (err error) {
	lines := bufio.NewReader(in)
	line, err := lines.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read what this process is to be: %w", err)
	}
	var o opening
	if err := json.Unmarshal(line, &o); err != nil {
		return fmt.Errorf("read what this process is to be: %w", err)
	}
	start, ok := map[role]Start{
		RoleConnector: connector, roleLoad: startLoad, roleNATS: startNATS, roleReader: startReader,
		rolePublisher: startPublisher, roleFill: startFill,
	}[o.Role]
	if !ok {
		return fmt.Errorf("no process is a %q", o.Role)
	}
	part, ready, err := start(ctx, o.Options)
	if answerErr := answer(out, ready, err); err != nil || answerErr != nil {
		return errors.Join(err, answerErr)
	}
	defer func() { err = errors.Join(err, part.Close()) }()
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return nil //nolint:nilerr // the parent's way to end it
		}
		var q request
		if err := json.Unmarshal(line, &q); err != nil {
			return err
		}
		value, err := ask(ctx, part, q)
		if err := answer(out, value, err); err != nil {
			return err
		}
	}
}

// ask answers what every part is asked, and lets the part answer the rest.
func ask(ctx context.Context, part Part, q request) (any, error) {
	if q.Ask != "usage" {
		return part.Ask(ctx, q.Ask, q.With)
	}
	var tidy bool
	if err := json.Unmarshal(q.With, &tidy); err != nil {
		return nil, err
	}
	return usage(tidy), nil
}

func answer(out io.Writer, value any, err error) error {
	var r reply
	if err != nil {
		r.Error = err.Error()
	} else if r.Answer, err = json.Marshal(value); err != nil {
		return err
	}
	return json.NewEncoder(out).Encode(r)
}

// unknown is the error of a question that a part does not know.
func unknown(what string) error { return fmt.Errorf("asked for %q: expected something else", what) }
