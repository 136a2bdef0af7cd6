package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/callpop/connector/internal/spool"
)

// Local does operations in this process, on a spool that it closes.
type Local struct {
	Host *Host
	Dir  string
}

var _ Client = (*Local)(nil)

// Place says that the spool was opened here.
func (l *Local) Place() string { return l.Dir + ", opened directly" }

// Close closes the spool.
func (l *Local) Close(ctx context.Context) error { return l.Host.Spool.Close(ctx) }

func (l *Local) host() *Host { return l.Host }

func (l *Local) request(context.Context, string, any, func(json.RawMessage) error) error {
	return errors.New("a spool in this process takes no requests")
}

// Remote has the process that holds a spool do operations.
type Remote struct {
	dir, holder string
	http        *http.Client
}

var _ Client = (*Remote)(nil)

// NewRemote makes a client of the process that holds the spool in dir; holder
// names it for people. It connects with each operation.
func NewRemote(dir, holder string) *Remote {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dial(ctx, socketPath(dir))
		},
		DisableCompression: true,
	}
	return &Remote{dir: dir, holder: holder, http: &http.Client{Transport: transport}}
}

// Place says which process holds the spool.
func (r *Remote) Place() string { return r.dir + ", through " + r.holder }

// Close lets go of connections.
func (r *Remote) Close(context.Context) error {
	r.http.CloseIdleConnections()
	return nil
}

func (r *Remote) host() *Host { return nil }

// line is one line of an answer, see the package's comment.
type line struct {
	Item  json.RawMessage `json:"item,omitempty"`
	End   bool            `json:"end,omitempty"`
	Error string          `json:"error,omitempty"`
	Wrong bool            `json:"wrong,omitempty"`
}

// ErrUnreachable means that the process which holds the spool does not answer.
var ErrUnreachable = errors.New("it does not answer on its control socket")

func (r *Remote) request(ctx context.Context, name string, request any, yield func(json.RawMessage) error) error {
	body, err := json.Marshal(request)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	post, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://connector/v1/"+name, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	post.Header.Set("Content-Type", "application/json")
	response, err := r.http.Do(post)
	if err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err // the rest of it says the address
		}
		return fmt.Errorf("the spool in %s is in use by %s, and %w: %w: it starts, it stops, or it is another such command; try again", r.dir, r.holder, ErrUnreachable, err)
	}
	defer func() { _ = response.Body.Close() }() // it was read, or is of no more use
	if response.Header.Get("Content-Type") != contentType {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		return fmt.Errorf("%s: the connector that holds the spool in %s answers %s: %s: is it of another version?",
			name, r.dir, response.Status, strings.TrimSpace(string(text)))
	}
	for decoder := json.NewDecoder(response.Body); ; {
		var l line
		err := decoder.Decode(&l)
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err != nil:
			return fmt.Errorf("%s: the connector's answer ends too early: %w", name, err)
		case l.Error != "" && l.Wrong:
			return Wrong(errors.New(l.Error))
		case l.Error != "":
			return errors.New(l.Error)
		case l.End:
			return nil
		}
		if err := yield(l.Item); err != nil {
			return err
		}
	}
}

// OpenOptions say how a spool is opened where nobody has it open.
type OpenOptions struct {
	// Spool is the configuration; the limits of the log stay as they are.
	Spool spool.Options
	// Host makes what operations work on, of the open spool.
	Host func(*spool.Spool) *Host
}

// Open reaches the spool in o.Spool.Config.Dir: by itself where it is free, and
// then nobody else gets it until the client is closed; through the process that
// holds it else. The error wraps [spool.ErrNoSpool] where there is none.
func Open(ctx context.Context, o OpenOptions) (Client, error) {
	var err error
	if o.Spool.Config, err = spool.KeepLimits(o.Spool.Config); err != nil {
		return nil, err
	}
	dir := o.Spool.Config.Dir
	holder, err := spool.CheckDir(dir)
	switch {
	case err != nil:
		return nil, err
	case holder != "":
		return NewRemote(dir, holder), nil
	}
	opened, err := spool.Open(ctx, o.Spool)
	if err != nil {
		// It may have been taken meanwhile.
		if holder, checkErr := spool.CheckDir(dir); checkErr == nil && holder != "" {
			return NewRemote(dir, holder), nil
		}
		return nil, err
	}
	return &Local{Host: o.Host(opened), Dir: dir}, nil
}
