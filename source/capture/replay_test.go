package capture

import (
	"bytes"
	"context"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/lqsim"
)

// replay serves a transcript until the test ends.
func replay(t testing.TB, transcript *Transcript, o ReplayOptions) (*Replay, string) {
	t.Helper()
	if o.Listener == nil {
		o.Listener = loopback(t)
	}
	o.Logger = quiet
	r, err := NewReplay(transcript, o)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r, o.Listener.Addr().String()
}

func TestWhatIsRecordedIsPlayedByteForByte(t *testing.T) {
	for _, s := range shapes() {
		t.Run(s.name, func(t *testing.T) {
			transcript := captured(t, s)
			var mu sync.Mutex
			var played []int64
			r, address := replay(t, transcript, ReplayOptions{Strict: true, OnPlayed: func(p Played) {
				mu.Lock()
				defer mu.Unlock()
				played = append(played, p.Connection)
			}})
			// In the other order: each gets its own.
			for i, agent := range []string{"802", "801"} {
				v := connect(t, address, s.message(agent, []string{"12", "-1"}[i]))
				var want []byte
				for _, e := range transcript.Connections[1-i].Entries {
					if e.Kind == Server {
						want = append(want, e.Data...)
					}
				}
				if got := v.await(t, len(want)); !bytes.Equal(got[:len(want)], want) {
					t.Errorf("agent %s got %q, want %q", agent, got, want)
				}
				v.close()
			}
			select {
			case <-r.Done():
			case <-time.After(patience):
				t.Error("not all was played")
			}
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(played, []int64{2, 1}) {
				t.Errorf("played %v", played)
			}
		})
	}
}

func TestAStrictReplayTurnsAwayWhatItDoesNotKnow(t *testing.T) {
	_, address := replay(t, site(t), ReplayOptions{Strict: true})
	for _, registration := range []string{"op=801;ch=-1;\r\n", "hello", "op=801,ch=-1;\r\nop=801,ch=-1;\r\n"} {
		v := connect(t, address, []byte(registration))
		select {
		case <-v.done:
		case <-time.After(patience):
			t.Fatalf("%q was not turned away", registration)
		}
		if got := v.received(); len(got) > 0 {
			t.Errorf("%q got %q", registration, got)
		}
	}
	// Another agent registers by the same template: no calls were recorded for it.
	v := connect(t, address, []byte("op=899,ch=3;\r\n"))
	select {
	case <-v.done:
		t.Error("an agent without calls was turned away")
	case <-time.After(2 * settle):
	}
}

func TestAnUnknownClientGetsWhatWasRecordedNext(t *testing.T) {
	_, address := replay(t, site(t), ReplayOptions{Loop: true})
	for _, want := range []string{"sn=1234", "t1v5", "sn=1234"} {
		v := connect(t, address, []byte("something else"))
		deadline := time.Now().Add(patience)
		for !strings.Contains(string(v.received()), want) {
			if time.Now().After(deadline) {
				t.Fatalf("got %q, want %s", v.received(), want)
			}
			time.Sleep(time.Millisecond)
		}
		v.close()
	}
}

func TestAClosedConnectionIsClosedAgain(t *testing.T) {
	_, address := replay(t, site(t), ReplayOptions{})
	v := connect(t, address, []byte("op=802,ch=12;\r\n"))
	select {
	case <-v.done:
	case <-time.After(patience):
		t.Fatal("the server did not close, as it did in the recording")
	}
	if got := v.received(); !bytes.HasSuffix(got, []byte("\x4eH=t1v3,ph=8630")) {
		t.Errorf("ends with %q", got)
	}
}

// pipes is a listener in memory, for a clock that is not the world's.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func TestThePausesAreThoseRecordedOrAsManyTimesShorter(t *testing.T) {
	for speed, want := range map[float64][]time.Duration{
		1:  {10 * time.Second, 11 * time.Second, 12 * time.Second, 22 * time.Second, 32 * time.Second, 44 * time.Second, 56 * time.Second},
		10: {time.Second, 1100 * time.Millisecond, 1200 * time.Millisecond, 2200 * time.Millisecond, 3200 * time.Millisecond, 15200 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			listener := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
			r, err := NewReplay(site(t), ReplayOptions{Listener: listener, Speed: speed, Logger: quiet})
			must(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan error, 1)
			go func() { done <- r.Run(ctx) }()
			client, server := net.Pipe()
			listener.conns <- server
			begun := time.Now()
			_, err = io.WriteString(client, "op=801,ch=-1;\r\n")
			must(t, err)
			var decoder frame.Decoder
			var got []time.Duration
			for len(got) < len(want) {
				n, err := client.Read(decoder.Buffer())
				must(t, err)
				decoder.Wrote(n)
				for _, ok := decoder.Next(); ok; _, ok = decoder.Next() {
					got = append(got, time.Since(begun).Round(10*time.Millisecond))
				}
			}
			// The last ones are heartbeats that keep the session up.
			for i := range want {
				if diff := got[i] - want[i]; diff < -settle || diff > 2*settle {
					t.Errorf("speed %v: frame %d came after %v, want %v", speed, i, got[i], want[i])
				}
			}
			cancel()
			_ = client.Close()
			must(t, <-done)
		})
	}
}

func TestAReplayNeedsSomethingToPlay(t *testing.T) {
	for _, c := range []struct {
		text  string
		speed float64
		want  string
	}{
		{headerLine, 1, "no connection to play"},
		{headerLine + strings.ReplaceAll(openLine, "open", "refused"), 1, "no connection to play"},
		{headerLine + openLine, -1, "speed is -1"},
	} {
		if _, err := NewReplay(read(t, c.text), ReplayOptions{Speed: c.speed, Logger: quiet}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want %q", err, c.want)
		}
	}
}

func TestACaptureOfAReplayIsTheSameAgain(t *testing.T) {
	server := simulator(t, lqsim.Options{Heartbeat: 10 * time.Millisecond})
	first := record(t, server.Addr().String(), nil)
	v := connect(t, first.addr, []byte("op=801,ch=-1;"))
	must(t, server.WaitAgent(within(t), "801", func(a lqsim.Agent) bool { return a.Replies > 3 }))
	must(t, server.Send("801", []byte("H=t1v3,ch=2,ph=1,op=801,sn=1;")))
	v.await(t, len(v.received()))
	must(t, server.Close("801"))
	<-v.done
	one := first.transcript()

	_, address := replay(t, one, ReplayOptions{})
	second := record(t, address, nil)
	v = connect(t, second.addr, []byte("op=801,ch=-1;"))
	<-v.done
	two := second.transcript()
	sent := func(transcript *Transcript) (all []byte) {
		for _, e := range transcript.Connections[0].Entries {
			if e.Kind == Server {
				all = append(all, e.Data...)
			}
		}
		return all
	}
	if !bytes.Equal(sent(one), sent(two)) {
		t.Errorf("first %q, then %q", sent(one), sent(two))
	}
}
