package capture

import (
	"iter"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
)

// EventOptions say what the events of a transcript are to hold.
type EventOptions struct {
	// Server is the LQ server's name.
	Server string
	// Decoding is the site's; nil: any character set, the time of China.
	Decoding *source.Decoding
	Hints    Hints
}

// Decoded is one frame of a transcript as an event.
type Decoded struct {
	Connection int64
	// Frame counts the connection's pops from 1, those that cannot be decoded too.
	Frame int
	At    time.Time
	// Raw is the pop string.
	Raw []byte
	// Event is a CallPop, or where Err is not nil a DeadLetter.
	Event schema.Event
	// Err says why it cannot be decoded; a *pop.Error.
	Err error
}

// Events gives the pops of a transcript as a relay would have made them, connection
// by connection. The agent of a connection comes from its registration, where a
// template is found, else from its pops.
func Events(t *Transcript, o EventOptions) (iter.Seq[Decoded], error) {
	decoding, err := orDefault(o.Decoding)
	if err != nil {
		return nil, err
	}
	return func(yield func(Decoded) bool) {
		dialogues := takeAllApart(t)
		seats := seatsOf(dialogues, o.Hints)
		assembler := source.NewAssembler()
		for _, d := range dialogues {
			seat := seats[d.connection.Number]
			origin := &source.Origin{
				Type: "relay", Name: "capture", Server: o.Server, Agent: seat.Agent, Channel: seat.Channel, Decoding: decoding,
			}
			frames := 0
			for i := range d.steps {
				s := &d.steps[i]
				if s.kind != stepPop {
					continue
				}
				frames++
				decoded := Decoded{Connection: d.connection.Number, Frame: frames, At: s.at, Raw: s.data}
				decoded.Event, _, decoded.Err = assembler.Pop(origin, s.at, s.data)
				if !yield(decoded) {
					return
				}
			}
		}
	}, nil
}

// seatsOf gives each connection's agent and channel, as far as they are known.
func seatsOf(dialogues []*dialogue, hints Hints) map[int64]Seat {
	templates, _ := infer(dialogues, hints)
	seats := map[int64]Seat{}
	for _, d := range dialogues {
		if len(d.agents) > 0 {
			seats[d.connection.Number] = Seat{Agent: d.agents[0]}
		}
		for i := range templates {
			agent, channel, n, ok, _ := templates[i].registration.Match(d.registration)
			if ok && n == len(d.registration) && n > 0 {
				seats[d.connection.Number] = Seat{agent, channel}
				break
			}
		}
	}
	return seats
}
