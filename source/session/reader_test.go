package session

import (
	"errors"
	"io"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/frame"
)

// taken collects pops.
type taken struct{ pops []string }

func (t *taken) Pop(_ *source.Origin, _ time.Time, raw []byte) { t.pops = append(t.pops, string(raw)) }

func (t *taken) DeadLetter(*source.Origin, time.Time, []byte, string, string) {}

func TestASessionThatTookPopsGoesOnWithANewStackAfterTheNextHeartbeat(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	pops, heard := &taken{}, 0
	r := &reader{
		sessions: &sessions{
			intake: pops, expiry: NewExpiry(time.Minute), start: time.Now(), live: map[*reader]struct{}{},
			counters: &counters{answers: make(chan time.Duration, 10)},
		},
		origin: &source.Origin{Agent: "801"}, conn: conn.(*net.TCPConn),
	}
	beat := []byte(frame.Request)
	pop := func(text string) []byte {
		framed, err := frame.AppendPop(nil, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return framed
	}
	read := func(want error, sent ...[]byte) {
		t.Helper()
		if _, err := server.Write(slices.Concat(sent...)); err != nil {
			t.Fatal(err)
		}
		if err := r.Read(func() { heard++ }); !errors.Is(err, want) {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
	read(source.ErrAgain, beat, beat) // it may have begun with a large one
	read(source.ErrAgain, beat, pop("H=t1v5,sn=1,"), pop("H=t1v5,sn=2,"), beat, pop("H=t1v5,sn=3,"))
	read(source.ErrAgain, beat) // because of the third
	if _, err := server.Write(slices.Concat(beat, beat)); err != nil {
		t.Fatal(err)
	}
	if err := server.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	var ended *source.Ended
	if err := r.Read(nil); !errors.As(err, &ended) || ended.Reason != "closed_by_server" {
		t.Errorf("got %v, want the end of the session", err)
	}
	if want := []string{"H=t1v5,sn=1,", "H=t1v5,sn=2,", "H=t1v5,sn=3,"}; !slices.Equal(pops.pops, want) || heard != 1 {
		t.Errorf("pops %q, heard %d times, want %q and once", pops.pops, heard, want)
	}
	answers, err := io.ReadAll(server)
	if want := 7 * len(frame.Reply); err != nil || len(answers) != want {
		t.Errorf("%d bytes of answers, %v, want %d", len(answers), err, want)
	}
}
