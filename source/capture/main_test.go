package capture

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/lqsim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what should come at once.
const patience = 20 * time.Second

// quiet is the log of tests that look at none.
var quiet = slog.New(slog.DiscardHandler)

// buffer is an output that may be read while it is written.
type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
	// before may hold up or refuse a write.
	before func(p []byte) error
}

func (b *buffer) Write(p []byte) (int, error) {
	if b.before != nil {
		if err := b.before(p); err != nil {
			return 0, err
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func loopback(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// recording in a test: a recorder that runs.
type running struct {
	t    testing.TB
	addr string
	out  *buffer
	end  func() error
}

// record starts a recorder in front of upstream.
func record(t testing.TB, upstream string, change func(*RecordOptions)) *running {
	t.Helper()
	r := &running{t: t, out: &buffer{}}
	o := RecordOptions{Listen: loopback(t), Upstream: upstream, Out: r.out, Logger: quiet}
	if change != nil {
		change(&o)
	}
	r.addr = o.Listen.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- Record(ctx, o) }()
	r.end = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(patience):
			return errors.New("the recorder does not end")
		}
	})
	t.Cleanup(func() { _ = r.end() })
	return r
}

// transcript ends the recorder and reads what it wrote.
func (r *running) transcript() *Transcript {
	r.t.Helper()
	if err := r.end(); err != nil {
		r.t.Fatal(err)
	}
	return read(r.t, r.out.String())
}

func read(t testing.TB, text string) *Transcript {
	t.Helper()
	transcript, err := Read(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in %.2000s", err, text)
	}
	return transcript
}

// simulator runs an LQ server until the test ends.
func simulator(t testing.TB, o lqsim.Options) *lqsim.Server {
	t.Helper()
	server, err := lqsim.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- server.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return server
}

// vendor is a client of the vendor's: it registers and answers heartbeats.
type vendor struct {
	conn net.Conn
	done chan struct{}
	mu   sync.Mutex
	got  []byte
}

func connect(t testing.TB, address string, registration []byte) *vendor {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		t.Fatal(err)
	}
	v := &vendor{conn: conn, done: make(chan struct{})}
	if _, err := conn.Write(registration); err != nil {
		t.Fatal(err)
	}
	go v.run()
	t.Cleanup(v.close)
	return v
}

func (v *vendor) run() {
	defer close(v.done)
	var decoder frame.Decoder
	for {
		b := decoder.Buffer()
		n, err := v.conn.Read(b)
		v.mu.Lock()
		v.got = append(v.got, b[:n]...)
		v.mu.Unlock()
		decoder.Wrote(n)
		for f, ok := decoder.Next(); ok; f, ok = decoder.Next() {
			if f.Kind == frame.Heartbeat {
				if _, err := io.WriteString(v.conn, frame.Reply); err != nil {
					return
				}
			}
		}
		if err != nil {
			return
		}
	}
}

func (v *vendor) close() {
	_ = v.conn.Close()
	<-v.done
}

// received is what came so far.
func (v *vendor) received() []byte {
	v.mu.Lock()
	defer v.mu.Unlock()
	return bytes.Clone(v.got)
}

// await waits until as much came.
func (v *vendor) await(t testing.TB, n int) []byte {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got := v.received()
		if len(got) >= n {
			return got
		}
		if time.Now().After(deadline) {
			t.Fatalf("only %d of %d bytes came: %q", len(got), n, got)
		}
		time.Sleep(time.Millisecond)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
