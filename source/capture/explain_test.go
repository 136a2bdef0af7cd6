package capture

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/frame"
)

// script builds a transcript with times of its own.
type script struct {
	t    testing.TB
	text []byte
	at   time.Time
}

func newScript(t testing.TB) *script {
	return &script{t: t, text: []byte(headerLine), at: time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)}
}

func (s *script) add(after time.Duration, l line) *script {
	s.t.Helper()
	s.at = s.at.Add(after)
	l.At = s.at
	var err error
	s.text, err = appendLine(s.text, l)
	must(s.t, err)
	return s
}

func (s *script) open(number int64) *script {
	return s.add(time.Second, line{Connection: number, Event: Open, From: "10.0.0.7:51234"})
}

func (s *script) client(number int64, after time.Duration, data string) *script {
	return s.add(after, line{Connection: number, Event: Client, Bytes: []byte(data)})
}

func (s *script) server(number int64, after time.Duration, data string) *script {
	return s.add(after, line{Connection: number, Event: Server, Bytes: []byte(data)})
}

func (s *script) pop(number int64, after time.Duration, pop string) *script {
	s.t.Helper()
	wire, err := frame.AppendPop(nil, []byte(pop))
	must(s.t, err)
	return s.server(number, after, string(wire))
}

func (s *script) beat(number int64) *script {
	return s.server(number, 10*time.Second, frame.Request).client(number, 300*time.Microsecond, frame.Reply)
}

func (s *script) read() *Transcript { return read(s.t, string(s.text)) }

// site is a day in little: two agents, three formats, and what goes wrong.
func site(t testing.TB) *Transcript {
	s := newScript(t)
	s.open(1).client(1, 0, "op=801,ch=-1;\r\n").beat(1)
	s.pop(1, time.Second, "H=t1v3,ch=2,ph=86307627,id=12157703713752,tm=080711175931,op=801,sn=1234,dm=0;")
	s.pop(1, time.Second, "H=t1v4,ch=2,ph=013812345678,ty=5,tm=080711175931,op=801,sn=1235,so=802,da=name:\xd5\xc5\xc8\xfd|lvl:3,dm=1;2;")
	s.beat(1).beat(1)
	s.open(2).client(2, 0, "op=802,").client(2, 10*time.Millisecond, "ch=12;\r\n").beat(2)
	s.pop(2, time.Second, "2,02586307627,1000,1208674344953,NA")
	s.pop(2, time.Second, "H=t1v5,ph=10086,op=802,sn=1236,da="+strings.Repeat("x", 200)+";")
	s.pop(2, time.Second, "hello \x1b[31m world")
	s.server(2, 0, "\x00")
	s.client(2, time.Second, "BYE\r\n")
	s.server(2, time.Second, "\x4eH=t1v3,ph=8630")
	s.add(0, line{Connection: 2, Event: ServerEnd, Cause: causeClosed}).add(0, line{Connection: 2, Event: ClientEnd, Cause: causeClosed})
	s.add(time.Second, line{Connection: 3, Event: Refused, From: "10.0.0.8:4", Cause: "dial tcp 10.0.0.6:7628: connection refused"})
	return s.read()
}

func TestAnExplanationIsAsItWas(t *testing.T) {
	for name, o := range map[string]ExplainOptions{
		"plain":  {},
		"masked": {MaskNumbers: true},
	} {
		var got bytes.Buffer
		must(t, Explain(&got, site(t), o))
		golden := filepath.Join("testdata", "explain-"+name+".txt")
		if os.Getenv("UPDATE_GOLDEN") != "" {
			must(t, os.WriteFile(golden, got.Bytes(), 0o600))
		}
		want, err := os.ReadFile(golden)
		must(t, err)
		if !bytes.Equal(got.Bytes(), want) {
			t.Errorf("%s (UPDATE_GOLDEN=1 writes it anew):\n%s", golden, got.String())
		}
		if o.MaskNumbers {
			for _, number := range []string{"86307627", "13812345678", "10086", "02586307627"} {
				if strings.Contains(got.String(), number) {
					t.Errorf("%s is in it", number)
				}
			}
		}
	}
}

func TestASummaryIsForMachinesToo(t *testing.T) {
	s, err := Summarize(site(t), ExplainOptions{})
	must(t, err)
	if s.Connections != 3 || s.Refused != 1 || s.Pops.Count != 5 || s.Pops.Undecodable != 1 || s.Pops.Empty != 1 || s.Pops.NearLimit != 1 ||
		s.Pops.GB18030 != 1 || s.Pops.UTF8 != 0 || s.Pops.Formats["t1v5"] != 2 || s.Pops.Declared["t1v4"] != 1 {
		t.Errorf("got %+v", s.Pops)
	}
	if s.Heartbeats.Count != 4 || s.Heartbeats.Answered != 4 || s.Heartbeats.Interval < 10*time.Second || s.Heartbeats.SlowestReply != 300*time.Microsecond {
		t.Errorf("got %+v", s.Heartbeats)
	}
	body, err := json.Marshal(s)
	must(t, err)
	for _, part := range []string{`"registration":"op={{.Agent}},ch={{.Channel}};\\r\\n"`, `"certainty":"sure"`, `"field":"id"`} {
		if !bytes.Contains(body, []byte(part)) {
			t.Errorf("no %s in %s", part, body)
		}
	}
}

func TestTheConfigurationQuotesWhatYAMLWouldTakeOtherwise(t *testing.T) {
	for in, want := range map[string]string{
		`op={{.Agent}};`: `'op={{.Agent}};'`,
		`it's`:           `'it''s'`,
		`${op}\r\n`:      `'$${op}\r\n'`,
	} {
		if got := yamlQuoted(in); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func TestEventsAreThoseOfARelay(t *testing.T) {
	events, err := Events(site(t), EventOptions{Server: "hq"})
	must(t, err)
	var pops []schema.CallPop
	letters := 0
	for e := range events {
		if e.Err != nil {
			if e.Event.Type != schema.TypeDeadLetter || e.Connection != 2 || e.Frame != 3 || strings.Contains(e.Err.Error(), "hello") {
				t.Errorf("got %+v", e)
			}
			letters++
			continue
		}
		var p schema.CallPop
		must(t, json.Unmarshal(e.Event.Body, &p))
		if !p.ReceivedAt.Equal(e.At) || p.Source.Type != "relay" {
			t.Errorf("got %s", e.Event.Body)
		}
		pops = append(pops, p)
	}
	if len(pops) != 4 || letters != 1 {
		t.Fatalf("%d pops and %d dead letters", len(pops), letters)
	}
	// The t1v1 pop names no agent: it is the one who registered.
	if pops[2].Agent != (schema.Agent{ID: "802", Channel: "12"}) || pops[1].IVR.Fields["name"] != "张三" {
		t.Errorf("got %+v and %+v", pops[2], pops[1])
	}
}
