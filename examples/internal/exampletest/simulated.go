// Package exampletest gives the examples' tests a day at a simulated call centre:
// its pops as the connector's events, on a real broker, with the duplicates and
// redeliveries that consumers have to live with.
package exampletest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/lqsim"
	"github.com/callpop/connector/source/pop"
)

// Pop is one pop that happened.
type Pop struct {
	// Offer is what the simulator says of it.
	lqsim.Offer
	// Event is what the connector makes of it.
	Event schema.Event
	// CallPop is the event's body.
	CallPop schema.CallPop
	// At is when it came.
	At time.Time
}

// Server is the name of the simulated LQ server.
const Server = "sim"

// Options describe the traffic.
type Options struct {
	Agents []string
	// Pops is how many there are; Rate is how many come in a second.
	Pops int
	Rate float64
	Seed uint64
	// Start is when the first call comes.
	Start time.Time
	// Format is t1v1 to t1v5, or [lqsim.Mixed]; t1v5 if it is empty.
	Format string
}

// Simulate gives the pops of a time at the call centre, in the order in which they
// come. The same options give the same pops, but for the events' ids.
func Simulate(t testing.TB, o Options) []Pop {
	t.Helper()
	zone := time.FixedZone("UTC+8", 8*60*60)
	traffic, err := lqsim.NewTraffic(lqsim.TrafficOptions{
		Agents: o.Agents, Rate: o.Rate, Count: o.Pops, Seed: o.Seed, Start: o.Start, Location: zone, Format: o.Format,
	})
	if err != nil {
		t.Fatal(err)
	}
	decoding, err := source.NewDecoding(pop.Auto, "Asia/Shanghai", "025")
	if err != nil {
		t.Fatal(err)
	}
	assembler := source.NewAssembler()
	var pops []Pop
	for offer, more := traffic.Next(); more; offer, more = traffic.Next() {
		at := o.Start.Add(offer.Offset)
		event, _, err := assembler.Pop(&source.Origin{
			Server: Server, Agent: offer.Agent, Type: "session", Name: Server, Decoding: decoding,
		}, at, offer.Raw)
		if err != nil {
			t.Fatal(err)
		}
		p := Pop{Offer: offer, Event: event, At: at}
		if err := json.Unmarshal(event.Body, &p.CallPop); err != nil {
			t.Fatal(err)
		}
		pops = append(pops, p)
	}
	return pops
}

// Events are the pops' events.
func Events(pops []Pop) []schema.Event {
	events := make([]schema.Event, len(pops))
	for i, p := range pops {
		events[i] = p.Event
	}
	return events
}

// Calls is how many calls the simulator made for the pops of one [Simulate].
func Calls(pops []Pop) int {
	serials := map[string]bool{}
	for _, p := range pops {
		serials[p.Pop.SN] = true
	}
	return len(serials)
}

// Share is n, or a quarter of it with -short, as the race detector runs the tests:
// with it SQLite takes ten times as long.
func Share(n int) int {
	if testing.Short() {
		return n / 4
	}
	return n
}

// Mode is the pop's mode as its format can carry it: t1v1 to t1v3 do not say.
func (p *Pop) Mode() schema.Mode {
	if p.Format < pop.T1V4 {
		return ""
	}
	mode, _ := schema.ModeOf(p.Pop.Mode)
	return mode
}
