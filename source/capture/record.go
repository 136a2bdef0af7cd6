package capture

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"sync"
	"syscall"
	"time"
)

const (
	// DefaultMaxBytes is the default limit of a transcript: some weeks of one
	// desktop, or a day of fifty.
	DefaultMaxBytes = 64 << 20
	minMaxBytes     = 64 << 10
	dialTimeout     = 10 * time.Second
	readSize        = 16 << 10
)

// RecordOptions configure [Record].
type RecordOptions struct {
	// Listen takes the clients' connections; Record closes it.
	Listen net.Listener
	// Upstream is the LQ server's host and port.
	Upstream string
	// Out takes the transcript, each record with one Write. It is not closed.
	Out io.Writer
	// MaskNumbers keeps customers' numbers out of the transcript.
	MaskNumbers bool
	// MaxBytes ends the transcript, but not the connections. 0 is
	// DefaultMaxBytes; at most [MaxBytes].
	MaxBytes int64
	Logger   *slog.Logger
}

// Record passes every byte between clients and the LQ server, both ways, unchanged
// and as they come, and records it. The connections come first: a transcript that
// cannot be written, or is full, is logged and costs them nothing. It returns when
// ctx is done and all connections are closed; an error then is the transcript's,
// one before is the listener's.
func Record(ctx context.Context, o RecordOptions) error {
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.MaxBytes < minMaxBytes || o.MaxBytes > MaxBytes {
		_ = o.Listen.Close()
		return fmt.Errorf("the limit of the transcript is %d bytes: expected %d to %d", o.MaxBytes, minMaxBytes, MaxBytes)
	}
	numbers := numbersPlain
	if o.MaskNumbers {
		numbers = numbersMasked
	}
	version := Version
	tape, err := newTape(o.Out, o.MaxBytes, o.Logger, header{
		Version: &version, Started: time.Now().UTC(), Upstream: o.Upstream, Numbers: numbers,
	})
	if err != nil {
		_ = o.Listen.Close()
		return err
	}
	written := make(chan error, 1)
	go func() { written <- tape.run() }()
	r := &recorder{options: o, tape: tape}
	err = r.accept(ctx)
	tape.end()
	return errors.Join(err, <-written)
}

type recorder struct {
	options RecordOptions
	tape    *tape
}

// accept takes connections until ctx is done, and waits for all of them.
func (r *recorder) accept(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = r.options.Listen.Close() })
	defer stop()
	places := make(chan struct{}, MaxConnections)
	var pause time.Duration
	for number := int64(1); ; {
		conn, err := r.options.Listen.Accept()
		switch {
		case err == nil:
			pause = 0
		case ctx.Err() != nil:
			return nil
		case isTemporary(err):
			// Out of descriptors: those that end make room.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		default:
			_ = r.options.Listen.Close()
			return fmt.Errorf("capture: accept at %s: %w", r.options.Listen.Addr(), err)
		}
		select {
		case places <- struct{}{}:
		default:
			r.options.Logger.Warn("capture: too many connections: one is turned away", "limit", MaxConnections)
			_ = conn.Close()
			continue
		}
		this := number
		number++
		all.Go(func() {
			defer func() { <-places }()
			r.serve(ctx, this, conn)
		})
	}
}

// isTemporary tells what accept gets over from a broken listener.
func isTemporary(err error) bool {
	return slices.ContainsFunc([]error{syscall.EMFILE, syscall.ENFILE, syscall.ECONNABORTED, syscall.ENOBUFS, syscall.ENOMEM},
		func(temporary error) bool { return errors.Is(err, temporary) })
}

// serve passes one connection on until both sides have ended.
func (r *recorder) serve(ctx context.Context, number int64, client net.Conn) {
	defer func() { _ = client.Close() }()
	log := r.options.Logger.With("connection", number, "from", client.RemoteAddr().String())
	server, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "tcp", r.options.Upstream)
	if err != nil {
		r.tape.put(line{Connection: number, Event: Refused, From: client.RemoteAddr().String(), Cause: err.Error()})
		log.Warn("capture: the LQ server cannot be reached", "error", err)
		reset(client) // as near to a refusal as can be, once it was taken
		return
	}
	defer func() { _ = server.Close() }()
	log.Info("capture: connected")
	r.tape.put(line{Connection: number, Event: Open, From: client.RemoteAddr().String()})
	stop := context.AfterFunc(ctx, func() {
		_ = client.Close()
		_ = server.Close()
	})
	defer stop()

	var masking *masker
	if r.options.MaskNumbers {
		masking = &masker{}
	}
	var sides sync.WaitGroup
	sides.Go(func() {
		r.pass(ctx, server, client, number, Client, nil)
	})
	sides.Go(func() {
		r.pass(ctx, client, server, number, Server, masking)
	})
	sides.Wait()
	log.Info("capture: ended")
}

// pass passes what comes from one side to the other until it ends, and its end too.
// It records before it passes: what is said in answer is recorded later.
func (r *recorder) pass(ctx context.Context, to, from net.Conn, number int64, kind Kind, masking *masker) {
	record := func(data []byte) {
		if len(data) > 0 {
			r.tape.put(line{Connection: number, Event: kind, Bytes: slices.Clone(data)})
		}
	}
	buffer := make([]byte, readSize)
	var err error
	for err == nil {
		var n int
		n, err = from.Read(buffer)
		if masking == nil {
			record(buffer[:n])
		} else {
			record(masking.take(buffer[:n]))
		}
		if n > 0 {
			if _, writeErr := to.Write(buffer[:n]); writeErr != nil {
				// The other side takes no more: let this one know.
				err = writeErr
				break
			}
		}
	}
	if masking != nil {
		record(masking.rest())
	}
	end := ClientEnd
	if kind == Server {
		end = ServerEnd
	}
	cause := causeClosed
	switch {
	case ctx.Err() != nil:
		cause = causeStopped
	case !errors.Is(err, io.EOF):
		cause = err.Error()
	}
	r.tape.put(line{Connection: number, Event: end, Cause: cause})
	if errors.Is(err, io.EOF) {
		if half, ok := to.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
			return // the other way goes on
		}
	}
	reset(to)
	reset(from)
}

// The causes of an end that are not an error's text.
const (
	causeClosed  = "closed"
	causeStopped = "the recording ended"
)

// reset breaks a connection, as one that was broken on the other side.
func reset(c net.Conn) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
