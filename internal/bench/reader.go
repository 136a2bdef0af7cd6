package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/lqsim"
)

// readerOptions make clients that only read.
type readerOptions struct {
	Address  string `json:"address"`
	Sessions int    `json:"sessions"`
	// Read is the file of the instants at which pops were read; Count its places.
	Read  string `json:"read"`
	Count int    `json:"count"`
}

// readerState is how far the reader has come.
type readerState struct {
	Up   int `json:"up"`
	Read int `json:"read"`
}

// reader is the process that the connector's reading is compared with: it holds
// the sessions, frames, answers heartbeats, and does nothing with a pop.
type reader struct {
	stamps   *Stamps
	conns    []net.Conn
	up, read atomic.Int64
	work     sync.WaitGroup
}

// dialsAtOnce bounds the dials under way: the kernel's queue is what accepts.
const dialsAtOnce = 256

func startReader(ctx context.Context, options json.RawMessage) (Part, any, error) {
	var o readerOptions
	if err := json.Unmarshal(options, &o); err != nil {
		return nil, nil, err
	}
	if err := raiseDescriptors(o.Sessions); err != nil {
		return nil, nil, err
	}
	registration, err := frame.ParseRegistration(lqsim.DefaultRegistration)
	if err != nil {
		return nil, nil, err
	}
	stamps, err := OpenStamps(o.Read, o.Count)
	if err != nil {
		return nil, nil, err
	}
	r := &reader{stamps: stamps, conns: make([]net.Conn, o.Sessions)}
	before := usage(true)
	errs := make(chan error, o.Sessions)
	turns := make(chan struct{}, dialsAtOnce)
	var dialling sync.WaitGroup
	for i := range o.Sessions {
		turns <- struct{}{}
		dialling.Go(func() {
			defer func() { <-turns }()
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", o.Address)
			if err == nil {
				r.conns[i] = conn
				_, err = conn.Write(registration.Append(nil, Agent(i), "-1"))
			}
			if err != nil {
				errs <- fmt.Errorf("dial session %d: %w", i+1, err)
				return
			}
			r.work.Go(func() { r.serve(conn) })
		})
	}
	dialling.Wait()
	close(errs)
	if err := <-errs; err != nil {
		return nil, nil, errors.Join(err, r.Close())
	}
	return r, before, nil
}

// serve reads one session until it ends.
func (r *reader) serve(conn net.Conn) {
	var d frame.Decoder
	first := true
	for {
		n, err := conn.Read(d.Buffer())
		d.Wrote(n)
		if n > 0 && first {
			first = false
			r.up.Add(1)
		}
		for f, ok := d.Next(); ok; f, ok = d.Next() {
			switch f.Kind {
			case frame.Heartbeat:
				if _, err := conn.Write(reply7); err != nil {
					return
				}
			case frame.Pop:
				r.stamps.Set(NumberIn(f.Data), time.Now())
				r.read.Add(1)
			}
		}
		if err != nil {
			return
		}
	}
}

var reply7 = []byte(frame.Reply)

// Ask answers state.
func (r *reader) Ask(_ context.Context, what string, _ json.RawMessage) (any, error) {
	if what != "state" {
		return nil, unknown(what)
	}
	return readerState{Up: int(r.up.Load()), Read: int(r.read.Load())}, nil
}

// Close closes the sessions.
func (r *reader) Close() error {
	for _, c := range r.conns {
		if c != nil {
			_ = c.Close()
		}
	}
	r.work.Wait()
	return r.stamps.Close()
}
