package spool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema"
)

// scripted is the server's end of a writer's connection, in a test's hands.
type scripted struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	w    *writer
	lost chan error
}

// script logs a writer in to a server that the test plays, in a synctest bubble.
func script(t *testing.T) *scripted {
	t.Helper()
	ours, theirs := net.Pipe()
	s := &scripted{t: t, conn: theirs, r: bufio.NewReader(theirs), lost: make(chan error, 2)}
	var welcome sync.WaitGroup
	welcome.Go(func() {
		s.say("INFO {\"nonce\":\"abc\",\"headers\":true}\r\n")
		for _, begin := range []string{"CONNECT {", "SUB _INBOX.emit.* 1", "PING"} {
			if line := s.line(); !strings.HasPrefix(line, begin) {
				t.Errorf("the login says %q, want %s", line, begin)
			}
		}
		s.say("+OK\r\nPONG\r\n")
	})
	l, err := newLogin()
	if err != nil {
		t.Fatal(err)
	}
	if s.w, err = newWriter(ours, l, func(err error) { s.lost <- err }); err != nil {
		t.Fatal(err)
	}
	welcome.Wait()
	t.Cleanup(s.w.close)
	return s
}

func (s *scripted) say(text string) {
	s.t.Helper()
	if _, err := io.WriteString(s.conn, text); err != nil {
		s.t.Error(err)
	}
}

func (s *scripted) line() string {
	s.t.Helper()
	line, err := s.r.ReadString('\n')
	if err != nil {
		s.t.Error(err)
	}
	return strings.TrimRight(line, "\r\n")
}

// published takes an event, and returns the subject of the answer to it.
func (s *scripted) published() (answer string) {
	s.t.Helper()
	fields := strings.Fields(s.line())
	if len(fields) != 5 || fields[0] != "HPUB" {
		s.t.Fatalf("the writer says %q", fields)
	}
	size, err := strconv.Atoi(fields[4])
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := s.r.Discard(size + 2); err != nil {
		s.t.Fatal(err)
	}
	return fields[2]
}

func (s *scripted) answer(subject, text string) {
	s.t.Helper()
	s.say(fmt.Sprintf("MSG %s 1 %d\r\n%s\r\n", subject, len(text), text))
}

// emit publishes in the background.
func (s *scripted) emit(ctx context.Context, n int) <-chan ack {
	done := make(chan ack, 1)
	e := newEvent(n)
	go func() {
		sequence, err := s.w.publish(ctx, &e, time.Minute)
		done <- ack{sequence, err}
	}()
	return done
}

func stored(n int) string { return fmt.Sprintf(`{"stream":"CALLPOP","seq":%d}`, n) }

func TestEachCallGetsTheAnswerToItsEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script(t)
		first := s.emit(t.Context(), 1)
		one := s.published()
		second := s.emit(t.Context(), 2)
		two := s.published()
		s.say("PING\r\nINFO {}\r\n")
		if line := s.line(); line != "PONG" {
			t.Errorf("a ping is answered by %q", line)
		}
		s.answer("_INBOX.other", stored(9)) // nobody's
		s.answer(answers+"99", stored(9))
		s.answer(two, `{"stream":"CALLPOP","seq":8,"duplicate":true}`)
		s.answer(one, stored(7))
		if got := <-first; got != (ack{sequence: 7}) {
			t.Errorf("the first: %+v", got)
		}
		if got := <-second; got != (ack{sequence: 8}) {
			t.Errorf("the second: %+v", got)
		}
	})
}

func TestRefusalsAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script(t)
		var api *jetstream.APIError
		for text, is := range map[string]func(error) bool{
			`{"error":{"code":503,"err_code":10077,"description":"insufficient"}}`: func(err error) bool { return errors.As(err, &api) && api.Code == 503 },
			`{"stream":"CALLPOP"}`: func(err error) bool { return errors.Is(err, errBadAck) },
			`x`:                    func(err error) bool { return errors.Is(err, errBadAck) },
			``:                     func(err error) bool { return errors.Is(err, errBadAck) },
		} {
			done := s.emit(t.Context(), 1)
			s.answer(s.published(), text)
			if got := <-done; !is(got.err) {
				t.Errorf("%q is %v", text, got.err)
			}
		}
		done := s.emit(t.Context(), 1)
		s.say(fmt.Sprintf("HMSG %s 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n", s.published()))
		if got := <-done; !errors.Is(got.err, nats.ErrNoResponders) {
			t.Errorf("no responders: %v", got.err)
		}
	})
}

func TestALateAnswerIsNobodyElses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script(t)
		slow := s.emit(t.Context(), 1)
		late := s.published()
		if got := <-slow; !errors.Is(got.err, errNoAck) { // after the bubble's minute
			t.Errorf("without an answer: %+v", got)
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := s.emit(ctx, 2)
		later := s.published()
		cancel()
		if got := <-left; !errors.Is(got.err, context.Canceled) {
			t.Errorf("a caller who left: %+v", got)
		}
		next := s.emit(t.Context(), 3)
		subject := s.published()
		s.answer(late, stored(1))
		s.answer(later, stored(2))
		s.answer(subject, stored(3))
		if got := <-next; got != (ack{sequence: 3}) {
			t.Errorf("the next caller has %+v", got)
		}
	})
}

func TestALostConnectionEndsAllCallsAndIsToldOnce(t *testing.T) {
	for what, lose := range map[string]func(s *scripted){
		"closed":                 func(s *scripted) { _ = s.conn.Close() },
		"an error of the server": func(s *scripted) { s.say("-ERR 'Slow Consumer'\r\n") },
		"not the protocol":       func(s *scripted) { s.say("HTTP/1.1 400\r\n") },
		"an answer too large":    func(s *scripted) { s.say("MSG _INBOX.emit.1 1 999999999\r\n") },
		"sizes that contradict":  func(s *scripted) { s.say("HMSG _INBOX.emit.1 1 20 10\r\n") },
		"a message without end":  func(s *scripted) { s.say("MSG _INBOX.emit.1 1 1\r\nxyz") },
		"an endless line":        func(s *scripted) { s.say(strings.Repeat("x", 32<<10)) },
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := script(t)
				done := []<-chan ack{s.emit(t.Context(), 1)}
				s.published()
				done = append(done, s.emit(t.Context(), 2))
				s.published()
				lose(s)
				for _, d := range done {
					if got := <-d; !errors.Is(got.err, errConnectionLost) {
						t.Errorf("a call that was under way: %+v", got)
					}
				}
				if err := <-s.lost; !errors.Is(err, errConnectionLost) {
					t.Errorf("told is %v", err)
				}
				if got := <-s.emit(t.Context(), 3); !errors.Is(got.err, errConnectionLost) {
					t.Errorf("a call after it: %+v", got)
				}
				s.w.close()
				synctest.Wait()
				if len(s.lost) > 0 {
					t.Error("it is told again")
				}
			})
		})
	}
}

func TestACloseIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := script(t)
		done := s.emit(t.Context(), 1)
		s.published()
		s.w.close()
		s.w.close()
		if got := <-done; got.err == nil {
			t.Error("the call did not fail")
		}
		synctest.Wait()
		if len(s.lost) > 0 {
			t.Errorf("told is %v", <-s.lost)
		}
	})
}

func TestARefusedLoginIsAnError(t *testing.T) {
	for what, c := range map[string]struct{ greeting, reply, want string }{
		"not NATS": {"SSH-2.0\r\n", "", "not understood"},
		"no JSON":  {"INFO x\r\n", "", "not understood"},
		"refused":  {"INFO {}\r\n", "-ERR 'Authorization Violation'\r\n", "Authorization Violation"},
	} {
		t.Run(what, func(t *testing.T) {
			ours, theirs := net.Pipe()
			defer func() { _ = theirs.Close() }()
			var server sync.WaitGroup
			server.Go(func() {
				_, _ = io.WriteString(theirs, c.greeting)
				r := bufio.NewReader(theirs)
				for c.reply != "" {
					if line, err := r.ReadString('\n'); err != nil || line == "PING\r\n" {
						break
					}
				}
				_, _ = io.WriteString(theirs, c.reply)
			})
			l, err := newLogin()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := newWriter(ours, l, func(error) { t.Error("told as a loss") }); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error = %v, want one with %q", err, c.want)
			}
			server.Wait()
		})
	}
}

func TestOddEventsComeBackFromTheLogAsTheyWere(t *testing.T) {
	o := testOptions(t.TempDir())
	s := openSpool(t, o)
	events := make([]schema.Event, 6)
	for i := range events {
		events[i] = newEvent(i)
	}
	events[0].Agent, events[0].Key = "", "客户\r\nHPUB x 1\r\n"
	events[1].Server, events[1].Agent = "a b.>*", "8\r\n01"
	events[2].Body = []byte("\r\nMSG x 1 1\r\n\r\n")
	events[3].Body = nil
	events[4].TraceParent, events[4].TraceState = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=b,c=d e"
	events[5].ID = "an id\r\nwith: lines"
	emit(t, s, events...)
	closeSpool(t, s)
	s = openSpool(t, o) // without memory of them
	for i, got := range take(t, read(t, s, schema.TypeCallPop, 0), len(events)) {
		want := events[i]
		if got.ID != want.ID || got.Key != want.Key || got.Server != want.Server || got.Agent != want.Agent || !got.Time.Equal(want.Time) ||
			!bytes.Equal(got.Body, want.Body) || got.TraceParent != want.TraceParent || got.TraceState != want.TraceState {
			t.Errorf("got %+v, want %+v", got.Event, want)
		}
	}
}

// FuzzAnEventIsOneMessage has whatever an event holds be one message to the server,
// from which the same event can be made.
func FuzzAnEventIsOneMessage(f *testing.F) {
	f.Add("id", "hq", "801", "hq/1", "a=b", []byte("{}"))
	f.Add("i\r\nd", "h q", "8\n0", "\x00", "\r", []byte("\r\n"))
	f.Fuzz(func(t *testing.T, id, server, agent, key, state string, body []byte) {
		e := newEvent(1)
		e.ID, e.Server, e.Agent, e.Key, e.Body = id, server, agent, key, body
		e.TraceParent, e.TraceState = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", state
		headers, err := appendHeaders(nil, &e)
		if err != nil {
			return
		}
		text := appendPublish(nil, 12, headers, &e)
		line, rest, _ := bytes.Cut(text, []byte("\r\n"))
		var subject, answer string
		var head, size int
		if _, err := fmt.Sscanf(string(line), "HPUB %s %s %d %d", &subject, &answer, &head, &size); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if want := fmt.Sprintf("HPUB %s _INBOX.emit.12 %d %d", e.Subject(), len(headers), len(headers)+len(body)); string(line) != want {
			t.Errorf("the line is %q, want %q", line, want)
		}
		if len(rest) != size+2 || !bytes.HasSuffix(rest, []byte("\r\n")) || !bytes.Equal(rest[head:size], body) {
			t.Fatalf("%d and %d bytes, and %q", head, size, rest)
		}
		if n := bytes.Count(rest[:head], []byte("\n")); n != bytes.Count(rest[:head], []byte("\r\n")) || bytes.Index(rest, []byte("\r\n\r\n")) != head-4 {
			t.Fatalf("the headers are %q", rest[:head])
		}
		parsed, err := nats.DecodeHeadersMsg(rest[:head])
		if err != nil {
			t.Fatal(err)
		}
		got, err := schema.FromNATSHeaders(func(name string) string { return parsed.Get(name) }, body)
		for _, name := range []string{id, server, agent, key} {
			if !utf8.ValidString(name) {
				return
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		if got.ID != id || got.Server != server || got.Agent != agent || got.Key != key {
			t.Errorf("got %+v, want %+v", got, e)
		}
	})
}

// FuzzTheServersWords has no words of the server do more than end the connection.
func FuzzTheServersWords(f *testing.F) {
	f.Add([]byte("INFO {}\r\nMSG _INBOX.emit.1 1 29\r\n{\"stream\":\"CALLPOP\",\"seq\":7}\r\nPING\r\n"))
	f.Add([]byte("HMSG _INBOX.emit.1 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"))
	f.Add([]byte("MSG _INBOX.emit.-1 1 -5\r\n"))
	f.Add([]byte("-ERR 'x'\r\n"))
	f.Fuzz(func(t *testing.T, words []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(words), 32<<10)
		for range len(words) + 1 {
			m, err := readMessage(r)
			if err != nil {
				return
			}
			if m.ack.err == nil && !m.ping && m.ack.sequence == 0 {
				t.Errorf("%+v", m)
			}
		}
		t.Error("there is no end")
	})
}
