package main

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nyaruka/phonenumbers"

	"github.com/callpop/connector/examples/internal/exampletest"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/lqsim"
)

// simulation is an hour at the call centre on each of two days, of which the second
// begins its serial numbers anew, and what happened in it.
type simulation struct {
	zone     *time.Location
	days     [2]time.Time         // when they begin
	pops     [2][]exampletest.Pop // each day's, in their order
	sessions []schema.Event
	calls    []simulated
	// reached is, for each agent, each second of the two days: u, d, or a space.
	reached map[string][]byte
}

// simulated is a call as the simulator made it.
type simulated struct {
	day  int
	pops []exampletest.Pop
}

// opens is when the agents begin, in seconds of the day; calls come ten minutes later
// and for an hour, and for a few minutes in the afternoon.
const opens = 8*3600 + 50*60

const daySeconds = 24 * 3600

func simulate(t *testing.T) *simulation {
	part := 1
	if testing.Short() {
		part = 10 // the race detector makes SQLite slow
	}
	zone, err := time.LoadLocation("Asia/Shanghai") // without summer time
	if err != nil {
		t.Fatal(err)
	}
	s := &simulation{zone: zone, reached: map[string][]byte{}}
	now := time.Now().In(zone)
	agents := strings.Fields("99 801 802 803 804 805 806 807 808 809 810 811")
	for day := range s.days {
		s.days[day] = time.Date(now.Year(), now.Month(), now.Day()-2+day, 0, 0, 0, 0, zone)
		o := exampletest.Options{
			Agents: agents, Pops: 7600 / part, Rate: 2.2, Seed: uint64(day + 1), Format: lqsim.Mixed,
			Start: s.days[day].Add((opens + 600) * time.Second),
		}
		s.happen(day, exampletest.Simulate(t, o))
		// The same seed: the morning's callers call again, under its serial numbers.
		o.Start, o.Pops = o.Start.Add(5*time.Hour), 600/part
		s.happen(day, exampletest.Simulate(t, o))
	}
	if len(s.calls) < 10_000/part {
		t.Fatalf("%d calls: want %d", len(s.calls), 10_000/part)
	}
	rng := rand.New(rand.NewPCG(3, 0))
	for _, agent := range agents {
		s.attend(agent, rng)
	}
	return s
}

// happen adds pops, of which those with one serial number are a call.
func (s *simulation) happen(day int, pops []exampletest.Pop) {
	s.pops[day] = append(s.pops[day], pops...)
	at := map[string]int{} // in s.calls
	for _, p := range pops {
		i, known := at[p.Pop.SN]
		if !known {
			i = len(s.calls)
			at[p.Pop.SN] = i
			s.calls = append(s.calls, simulated{day: day})
		}
		s.calls[i].pops = append(s.calls[i].pops, p)
	}
}

// attend makes up an agent's sessions: on both days, with breaks; some agents'
// connector was killed on the first day and found that out on the second.
func (s *simulation) attend(agent string, rng *rand.Rand) {
	reached := []byte(strings.Repeat(" ", 2*daySeconds))
	mark := func(from, to int, as byte) {
		for i := from; i < to; i++ {
			reached[i] = as
		}
	}
	say := func(at int, state schema.SessionState, gap ...int) {
		c := schema.SessionChanged{
			Version: schema.Version, Server: exampletest.Server, Agent: agent, State: state, OCXCode: state.OCXCode(),
			At: s.days[0].Add(time.Duration(at) * time.Second).UTC(), Source: schema.Source{Type: "session", Name: exampletest.Server},
		}
		c.ID = schema.NewID(c.At)
		if gap != nil {
			c.Gap = &schema.Gap{From: s.days[0].Add(time.Duration(gap[0]) * time.Second).UTC(), To: s.days[0].Add(time.Duration(gap[1]) * time.Second).UTC()}
		}
		s.sessions = append(s.sessions, c.Event())
	}
	killed := rng.IntN(3) == 0
	lost := 0 // when a killed connector last heard
	for day := range s.days {
		at := day*daySeconds + opens
		say(at, schema.Connecting)
		since := at
		if lost > 0 {
			since = lost
		}
		up := at + 1 + rng.IntN(5)
		mark(since, up, 'd')
		say(up, schema.Connected, since, up)
		end := at + 20_000 + rng.IntN(100)
		for {
			down := up + 100 + rng.IntN(9000)
			if down >= end {
				break
			}
			mark(up, down, 'u')
			if rng.IntN(4) == 0 { // memory was full for five seconds
				mark(down-10, down-5, 'd')
				say(down-4, schema.Connected, down-10, down-5)
			}
			found := down + rng.IntN(60)
			say(found, []schema.SessionState{schema.Expired, schema.Reconnecting, schema.Failed}[rng.IntN(3)])
			up = found + 1 + rng.IntN(120)
			mark(down, up, 'd')
			say(up, schema.Connected, down, up)
		}
		mark(up, end, 'u')
		if day == 0 && killed {
			lost = end
			continue
		}
		say(end, schema.Closed)
	}
	s.reached[agent] = reached
}

// availability is the seconds of a day in which an agent was up and down, and how
// often up became down.
func (s *simulation) availability(agent string, day int) (up, down, drops int) {
	seconds := s.reached[agent][day*daySeconds : (day+1)*daySeconds]
	for i, now := range seconds {
		switch now {
		case 'u':
			up++
		case 'd':
			down++
			if i > 0 && seconds[i-1] == 'u' {
				drops++
			}
		}
	}
	return up, down, drops
}

// caller is the number of who called, in its international form where it has one;
// empty where it is withheld.
func (s *simulated) caller() string {
	c := s.pops[0].CallPop.Customer
	if c.E164 != "" {
		return c.E164
	}
	return strings.TrimPrefix(s.pops[0].Pop.Number, "anonymous")
}

// region is where the simulator had the number from, by the first digits of those
// that it makes up. Of a mobile it does not know; there the table is asked.
func (s *simulated) region() string {
	number := s.pops[0].Pop.Number
	if s.pops[0].CallPop.Customer.E164 == "" {
		return "unknown"
	}
	for prefix, region := range map[string]string{
		"010": "Beijing", "020": "Guangdong", "021": "Shanghai", "0512": "Jiangsu", "0551": "Anhui", "0571": "Zhejiang", "0755": "Guangdong",
		"0550": "Anhui", "0552": "Anhui", "0835": "Sichuan", "0855": "Guizhou", "400": "China, other",
	} {
		if strings.HasPrefix(number, prefix) {
			return region
		}
	}
	if len(number) == 8 { // of the place itself, whose area code is 025
		return "Jiangsu"
	}
	parsed, err := phonenumbers.Parse(number, "CN")
	if err != nil {
		return "unknown"
	}
	place, err := phonenumbers.GetGeocodingForNumber(parsed, "en")
	if err != nil {
		return "unknown"
	}
	_, province, found := strings.Cut(place, ", ")
	if !found {
		province = place
	}
	if province == "China" {
		return "China, other"
	}
	return province
}
