package capture

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/callpop/connector/source/lqsim"
)

// random sends n bytes in pieces of random length, and returns their hash.
func random(conn net.Conn, seed uint64, n int) ([]byte, error) {
	source := rand.New(rand.NewPCG(seed, seed)) //nolint:gosec // a test's bytes
	hash := sha256.New()
	for n > 0 {
		piece := make([]byte, 1+source.IntN(min(n, 40_000)))
		for i := range piece {
			piece[i] = byte(source.Uint32())
		}
		if source.IntN(4) == 0 {
			copy(piece, "TRY_REQ")
		}
		hash.Write(piece)
		if _, err := conn.Write(piece); err != nil {
			return nil, err
		}
		n -= len(piece)
	}
	return hash.Sum(nil), nil
}

func TestEveryByteIsPassedAndRecordedBothWays(t *testing.T) {
	for _, masked := range []bool{false, true} {
		upstream := loopback(t)
		r := record(t, upstream.Addr().String(), func(o *RecordOptions) { o.MaskNumbers = masked })
		client, err := net.Dial("tcp", r.addr)
		must(t, err)
		server, err := upstream.Accept()
		must(t, err)
		_ = upstream.Close()
		const size = 3 << 20
		var all sync.WaitGroup
		var sent, got [2][]byte
		for i, c := range []net.Conn{client, server} {
			_ = c.SetDeadline(time.Now().Add(patience))
			all.Go(func() {
				var err error
				if sent[i], err = random(c, uint64(i+1), size); err != nil {
					t.Error(err)
				}
				if err := c.(*net.TCPConn).CloseWrite(); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				hash := sha256.New()
				if _, err := io.Copy(hash, c); err != nil {
					t.Error(err)
				}
				got[1-i] = hash.Sum(nil)
			})
		}
		all.Wait()
		_, _ = client.Close(), server.Close()
		if !bytes.Equal(sent[0], got[0]) || !bytes.Equal(sent[1], got[1]) {
			t.Errorf("masked %t: what came is not what was sent", masked)
		}
		transcript := r.transcript()
		if transcript.Masked != masked {
			t.Errorf("the header says %t", transcript.Masked)
		}
		recorded, length, lost := [2][]byte{}, 0, 0
		hashes := map[Kind]io.Writer{Client: sha256.New(), Server: sha256.New()}
		for _, e := range transcript.Connections[0].Entries {
			switch e.Kind {
			case Client, Server:
				_, _ = hashes[e.Kind].Write(e.Data)
				length += len(e.Data)
			case Lost:
				lost += e.Lost
			}
		}
		recorded[0] = hashes[Client].(interface{ Sum([]byte) []byte }).Sum(nil)
		recorded[1] = hashes[Server].(interface{ Sum([]byte) []byte }).Sum(nil)
		if length+lost != 2*size {
			t.Errorf("masked %t: %d bytes recorded and %d lost of %d", masked, length, lost, 2*size)
		}
		if lost == 0 && (!bytes.Equal(recorded[0], sent[0]) || !masked && !bytes.Equal(recorded[1], sent[1])) {
			t.Errorf("masked %t: what is recorded is not what was sent", masked)
		}
	}
}

func TestAHalfCloseAndAResetArePassedOn(t *testing.T) {
	upstream := loopback(t)
	defer func() { _ = upstream.Close() }()
	r := record(t, upstream.Addr().String(), nil)
	open := func() (client, server *net.TCPConn) {
		c, err := net.Dial("tcp", r.addr)
		must(t, err)
		s, err := upstream.Accept()
		must(t, err)
		_, _ = c.SetDeadline(time.Now().Add(patience)), s.SetDeadline(time.Now().Add(patience))
		return c.(*net.TCPConn), s.(*net.TCPConn)
	}
	// The client says its last word; the server goes on, then ends too.
	client, server := open()
	_, _ = client.Write([]byte("last word"))
	must(t, client.CloseWrite())
	if got, err := io.ReadAll(server); err != nil || string(got) != "last word" {
		t.Errorf("the server got %q, %v", got, err)
	}
	_, _ = server.Write([]byte("and mine"))
	must(t, server.Close())
	if got, err := io.ReadAll(client); err != nil || string(got) != "and mine" {
		t.Errorf("the client got %q, %v", got, err)
	}
	_ = client.Close()

	for _, serverBreaks := range []bool{true, false} {
		breaking, other := open()
		if serverBreaks {
			breaking, other = other, breaking
		}
		must(t, breaking.SetLinger(0))
		must(t, breaking.Close())
		if _, err := io.ReadAll(other); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("server breaks %t: the other side got %v, want a reset", serverBreaks, err)
		}
		_ = other.Close()
	}
	transcript := r.transcript()
	if len(transcript.Connections) != 3 {
		t.Fatalf("%d connections", len(transcript.Connections))
	}
	first := transcript.Connections[0].Entries
	if got := first[len(first)-1]; got.Kind != ServerEnd || got.Cause != causeClosed {
		t.Errorf("the first ends with %+v", got)
	}
	if !strings.Contains(r.out.String(), "reset") {
		t.Errorf("no reset in %s", r.out)
	}
}

func TestAServerThatIsAwayIsRecorded(t *testing.T) {
	gone := loopback(t)
	_ = gone.Close()
	r := record(t, gone.Addr().String(), nil)
	// The reset may come before the connection is known to be there.
	if c, err := net.Dial("tcp", r.addr); err == nil {
		_ = c.SetDeadline(time.Now().Add(patience))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client got %v, want a reset", err)
		}
		_ = c.Close()
	}
	deadline := time.Now().Add(patience)
	for !strings.Contains(r.out.String(), "refused") && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	transcript := r.transcript()
	if len(transcript.Connections) != 1 || !strings.Contains(transcript.Connections[0].Refused, "refused") {
		t.Errorf("got %+v", transcript.Connections[0])
	}
	var text bytes.Buffer
	must(t, Explain(&text, transcript, ExplainOptions{}))
	if !strings.Contains(text.String(), "could not be reached") {
		t.Errorf("explained as %s", text.String())
	}
}

// echo answers every byte with the same until the test ends.
func echo(t *testing.T) string {
	t.Helper()
	l := loopback(t)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				_, _ = io.Copy(c, c)
				_ = c.Close()
			})
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		all.Wait()
	})
	return l.Addr().String()
}

// there sends n bytes there and back.
func there(t *testing.T, c net.Conn, n int) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(patience))
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1024)
	got := make([]byte, len(sent))
	for ; n > 0; n -= len(sent) {
		_, err := c.Write(sent)
		must(t, err)
		_, err = io.ReadFull(c, got)
		must(t, err)
		if !bytes.Equal(got, sent) {
			t.Fatal("other bytes came back")
		}
	}
}

func TestATranscriptThatCannotBeWrittenCostsTheClientsNothing(t *testing.T) {
	t.Run("the disk is full", func(t *testing.T) {
		log := &buffer{}
		r := record(t, echo(t), func(o *RecordOptions) {
			writes := 0
			o.Logger = slog.New(slog.NewTextHandler(log, nil))
			o.Out.(*buffer).before = func([]byte) error {
				if writes++; writes > 3 {
					return errors.New("no space left on device")
				}
				return nil
			}
		})
		c, err := net.Dial("tcp", r.addr)
		must(t, err)
		there(t, c, 1<<20)
		_ = c.Close()
		if err := r.end(); err == nil || !strings.Contains(err.Error(), "no space left") {
			t.Errorf("ended with %v", err)
		}
		if got := strings.Count(log.String(), "cannot be written any more"); got != 1 {
			t.Errorf("said so %d times: %s", got, log)
		}
		read(t, r.out.String())
	})
	t.Run("the disk stands still", func(t *testing.T) {
		free := make(chan struct{})
		stuck := false
		r := record(t, echo(t), func(o *RecordOptions) {
			o.Out.(*buffer).before = func([]byte) error {
				if stuck {
					<-free
				}
				stuck = true // after the header
				return nil
			}
		})
		c, err := net.Dial("tcp", r.addr)
		must(t, err)
		there(t, c, maxQueued)
		close(free)
		there(t, c, 64<<10) // into the queue that has room again
		_ = c.Close()
		transcript := r.transcript()
		recorded, lost := 0, 0
		for _, e := range transcript.Connections[0].Entries {
			recorded += len(e.Data)
			lost += e.Lost
		}
		if lost == 0 || recorded == 0 || recorded+lost != 2*(maxQueued+64<<10) {
			t.Errorf("%d bytes recorded, %d lost, want %d in all", recorded, lost, 2*(maxQueued+64<<10))
		}
	})
	t.Run("the limit is reached", func(t *testing.T) {
		log := &buffer{}
		r := record(t, echo(t), func(o *RecordOptions) {
			o.MaxBytes, o.Logger = minMaxBytes, slog.New(slog.NewTextHandler(log, nil))
		})
		c, err := net.Dial("tcp", r.addr)
		must(t, err)
		there(t, c, 1<<20)
		_ = c.Close()
		if transcript := r.transcript(); !transcript.Full {
			t.Error("the transcript does not say that it is full")
		}
		if size := len(r.out.String()); size > minMaxBytes+200 {
			t.Errorf("it has %d bytes, the limit is %d", size, minMaxBytes)
		}
		if got := strings.Count(log.String(), "reached its limit"); got != 1 {
			t.Errorf("said so %d times: %s", got, log)
		}
	})
	t.Run("from the start", func(t *testing.T) {
		o := RecordOptions{Listen: loopback(t), Out: &buffer{before: func([]byte) error { return errors.New("read-only") }}, Logger: quiet}
		if err := Record(t.Context(), o); err == nil || !strings.Contains(err.Error(), "read-only") {
			t.Errorf("got %v", err)
		}
		o = RecordOptions{Listen: loopback(t), Out: &buffer{}, MaxBytes: 10, Logger: quiet}
		if err := Record(t.Context(), o); err == nil || !strings.Contains(err.Error(), "limit of the transcript is 10") {
			t.Errorf("got %v", err)
		}
	})
}

func TestARecordIsOneWriteSoThatAKilledRecorderLosesAtMostItsLast(t *testing.T) {
	server := simulator(t, lqsim.Options{})
	r := record(t, server.Addr().String(), func(o *RecordOptions) {
		o.Out.(*buffer).before = func(p []byte) error {
			if !bytes.HasSuffix(p, []byte("}\n")) {
				t.Errorf("wrote %q", p)
			}
			return nil
		}
	})
	v := connect(t, r.addr, []byte("op=801,ch=-1;"))
	must(t, server.WaitAgent(within(t), "801", func(a lqsim.Agent) bool { return a.Replies > 0 }))
	v.close()
	must(t, r.end())
	whole := r.out.String()
	for end := len(mark) + 100; end < len(whole); end++ {
		transcript := read(t, whole[:end])
		if cut := whole[end-1] != '\n' && whole[end] != '\n'; transcript.Cut != cut {
			t.Errorf("cut at byte %d: Cut is %t", end, transcript.Cut)
		}
	}
}

func TestMaskedNumbersAreNowhereInTheTranscript(t *testing.T) {
	const number = "013812345678"
	server := simulator(t, lqsim.Options{})
	r := record(t, server.Addr().String(), func(o *RecordOptions) { o.MaskNumbers = true })
	v := connect(t, r.addr, []byte("op=801,ch=-1;"))
	must(t, server.WaitAgent(within(t), "801", func(a lqsim.Agent) bool { return a.Live == 1 && a.Replies > 0 }))
	pops := []string{
		"H=t1v5,ch=2,ph=" + number + ",ty=1,tm=080711175931,op=801,sn=1,da=tel:" + number + "|n:\xd5\xc5,dm=1;2;;",
		"2," + number + ",1000,1208674344953,NA",
		"H=t1v2,ph=10086,id=12157703713752;",
		number,
		"xx," + number + "," + number + "," + number,
	}
	for _, pop := range pops {
		before := len(v.received())
		must(t, server.Send("801", []byte(pop)))
		got := v.await(t, before+1+len(pop))
		if string(got[before+1:before+1+len(pop)]) != pop {
			t.Errorf("the client got %q, want %q", got[before+1:], pop)
		}
	}
	v.close()
	transcript := r.transcript()
	var all []byte
	for _, e := range transcript.Connections[0].Entries {
		all = append(all, e.Data...)
	}
	if bytes.Contains(all, []byte("12345678")) || bytes.Contains(all, []byte("10086")) {
		t.Errorf("a number is in %q", all)
	}
	for _, kept := range []string{"op=801", "id=12157703713752", "1208674344953", "tm=080711175931", "013*****5678", "dm=1;2;;"} {
		if !bytes.Contains(all, []byte(kept)) {
			t.Errorf("%q is not in %q", kept, all)
		}
	}
	frames := 0
	for _, s := range takeApart(transcript.Connections[0]).steps {
		if s.kind == stepPop {
			if len(s.data) != len(pops[frames]) {
				t.Errorf("%q has become %q", pops[frames], s.data)
			}
			frames++
		}
	}
	if frames != len(pops) {
		t.Errorf("%d pops recorded, want %d", frames, len(pops))
	}
}
