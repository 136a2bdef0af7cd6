package capture

import (
	"bytes"
	"slices"
	"strings"
	"time"

	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/pop"
)

// stepKind is what one step of a dialogue is.
type stepKind uint8

const (
	stepRegistration stepKind = iota // the client's first message
	stepReply                        // TRY_REP
	stepClient                       // anything else that the client sent
	stepHeartbeat                    // TRY_REQ
	stepPop
	stepEmpty
	stepSkipped // framing was lost
	stepRest    // an unfinished frame
	stepLost    // not recorded
	stepEnd     // of one side
)

// step is one thing that one side said.
type step struct {
	at       time.Time
	kind     stepKind
	ofClient bool
	data     []byte
	lost     int
	cause    string
	// took is how long the reply to a heartbeat took, for a reply.
	took time.Duration
}

// dialogue is a connection taken apart.
type dialogue struct {
	connection *Connection
	steps      []step
	// registration is what the client sent before its first TRY_REP; nil where it
	// sent nothing. answered says that the server spoke in the middle of it.
	registration []byte
	answered     bool
	// agents are those that the pops name, the most frequent first.
	agents []string
	// incomplete says that bytes are missing, so that frames may be wrong.
	incomplete bool
}

// takeApart takes a connection apart. It keeps slices of the transcript's bytes.
func takeApart(c *Connection) *dialogue {
	d := &dialogue{connection: c}
	t := taker{dialogue: d}
	for i := range c.Entries {
		e := &c.Entries[i]
		switch e.Kind {
		case Client:
			t.client(e.At, e.Data)
		case Server:
			t.server(e.At, e.Data)
		case Lost:
			d.incomplete = true
			t.add(step{at: e.At, kind: stepLost, ofClient: e.Of == Client, lost: e.Lost})
		case ClientEnd:
			t.flush()
			t.add(step{at: e.At, kind: stepEnd, ofClient: true, cause: e.Cause})
		case ServerEnd:
			t.rest(e.At)
			t.add(step{at: e.At, kind: stepEnd, cause: e.Cause})
		}
	}
	t.flush()
	t.rest(t.last)
	d.countAgents()
	return d
}

// taker cuts both streams of a connection.
type taker struct {
	*dialogue
	decoder frame.Decoder
	last    time.Time

	// pending is what the client sent and is not yet told apart; since is when its
	// first byte came.
	pending []byte
	since   time.Time
	said    bool // the client has said something that is no reply
	// heard says that the server has spoken since pending began, late how long
	// pending was when the client went on after that; -1 if it did not.
	heard bool
	late  int
	// asked are the heartbeats without a reply.
	asked []time.Time
}

func (t *taker) add(s step) {
	t.last = s.at
	t.steps = append(t.steps, s)
}

var reply = []byte(frame.Reply)

// client tells replies from what is none. A reply may be cut anywhere.
func (t *taker) client(at time.Time, data []byte) {
	if len(t.pending) == 0 {
		t.since, t.heard, t.late = at, false, -1
	} else if t.heard && t.late < 0 {
		t.late = len(t.pending)
	}
	t.pending = append(t.pending, data...)
	for {
		i := bytes.Index(t.pending, reply)
		if i < 0 {
			break
		}
		t.say(t.pending[:i])
		s := step{at: at, kind: stepReply, ofClient: true}
		if len(t.asked) > 0 {
			s.took = at.Sub(t.asked[0])
			t.asked = t.asked[1:]
		}
		t.add(s)
		t.pending = t.pending[i+len(reply):]
		t.since, t.heard, t.late = at, false, -1
	}
	// What came after the registration is shown when it comes.
	if t.said && len(t.pending) > 0 && !bytes.HasPrefix(reply, t.pending) {
		t.flush()
	}
}

// say books what the client said that is no reply.
func (t *taker) say(data []byte) {
	if len(data) == 0 {
		return
	}
	s := step{at: t.since, kind: stepClient, ofClient: true, data: slices.Clone(data)}
	if !t.said {
		t.said = true
		s.kind, t.registration = stepRegistration, s.data
		t.answered = t.late >= 0 && t.late < len(data)
		// It goes where it began: before what the server has answered to it.
		at := len(t.steps)
		for at > 0 && t.steps[at-1].at.After(s.at) {
			at--
		}
		t.steps = slices.Insert(t.steps, at, s)
		return
	}
	t.add(s)
}

func (t *taker) flush() {
	t.say(t.pending)
	t.pending = nil
}

func (t *taker) server(at time.Time, data []byte) {
	t.heard = true
	for len(data) > 0 {
		n := copy(t.decoder.Buffer(), data)
		t.decoder.Wrote(n)
		data = data[n:]
		for f, ok := t.decoder.Next(); ok; f, ok = t.decoder.Next() {
			s := step{at: at, data: slices.Clone(f.Data)}
			switch f.Kind {
			case frame.Heartbeat:
				s.kind = stepHeartbeat
				t.asked = append(t.asked, at)
			case frame.Pop:
				s.kind = stepPop
			case frame.Empty:
				s.kind = stepEmpty
			case frame.Skipped:
				s.kind = stepSkipped
			}
			t.add(s)
		}
	}
}

func (t *taker) rest(at time.Time) {
	if t.decoder.Pending() > 0 {
		t.add(step{at: at, kind: stepRest, data: slices.Clone(t.decoder.Rest())})
		t.decoder = frame.Decoder{}
	}
}

// countAgents finds the agents that the pops name.
func (d *dialogue) countAgents() {
	var decoder pop.Decoder
	var p pop.Pop
	count := map[string]int{}
	for i := range d.steps {
		if s := &d.steps[i]; s.kind == stepPop && decoder.Decode(s.data, &p) == nil && p.Agent != "" {
			agent := strings.Clone(p.Agent)
			if count[agent] == 0 {
				d.agents = append(d.agents, agent)
			}
			count[agent]++
		}
	}
	slices.SortStableFunc(d.agents, func(a, b string) int { return count[b] - count[a] })
}
