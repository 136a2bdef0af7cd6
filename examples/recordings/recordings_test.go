package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/callpop/connector/examples/internal/exampletest"
	"github.com/callpop/connector/examples/internal/sqlite"
	"github.com/callpop/connector/internal/kafkatest"
	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/lqsim"
	"github.com/callpop/connector/source/pop"
)

var shared kafkatest.Shared

func TestMain(m *testing.M) { goleak.VerifyTestMain(shared.Around(m)) }

// simulated is a call as the simulator made it.
type simulated struct {
	pops []exampletest.Pop
}

// two days at the call centre, of which the second begins its serial numbers anew.
type days struct {
	pops  [2][]exampletest.Pop
	calls []*simulated
}

func newDays(t *testing.T) *days {
	d := &days{}
	for day := range d.pops {
		d.pops[day] = exampletest.Simulate(t, exampletest.Options{
			Agents: []string{"801", "802", "803", "804", "805", "806"}, Pops: exampletest.Share(7300), Rate: 50, Seed: uint64(day + 1),
			Format: lqsim.Mixed, Start: time.Now().Add(time.Duration(day-2) * 24 * time.Hour),
		})
		of := map[string]*simulated{}
		for _, p := range d.pops[day] {
			if of[p.Pop.SN] == nil {
				of[p.Pop.SN] = &simulated{}
				d.calls = append(d.calls, of[p.Pop.SN])
			}
			of[p.Pop.SN].pops = append(of[p.Pop.SN].pops, p)
		}
	}
	if len(d.calls) < exampletest.Share(10_000) {
		t.Fatalf("%d calls: want ten thousand, or a quarter with -short", len(d.calls))
	}
	return d
}

// want is what the answer should say of a call; its ids' pattern is checked apart.
func (s *simulated) want() call {
	first := s.pops[0]
	c := call{
		Key: first.Event.Key, Server: exampletest.Server, Number: first.CallPop.Customer.Number, E164: first.CallPop.Customer.E164,
		StartedAt: first.Pop.StartedAt, FirstPop: first.At.UTC(), LastPop: s.pops[len(s.pops)-1].At.UTC(),
	}
	if first.Format < pop.T1V4 {
		c.IDs = []string{first.Pop.ID}
		c.Recording = &recording{ID: first.Pop.ID, Derived: first.Format == pop.T1V1}
	} else {
		c.StartedAt = c.StartedAt.Truncate(time.Second)
	}
	for i, p := range s.pops {
		h := hop{Event: p.Event.ID, At: p.At.UTC(), Agent: p.Agent, Mode: p.Mode(), Kind: popped}
		if p.Format < pop.T1V4 {
			h.ID = p.Pop.ID
			if i == 0 {
				h.Kind = ring
			}
		} else {
			_, direction := schema.ModeOf(p.Pop.Mode)
			if c.Direction == "" {
				c.Direction = direction
			}
			h.From = p.Pop.From
			switch {
			case p.RePop:
				h.Kind = rePop
			case p.Pop.From != "":
				h.Kind = transfer
			case i > 0:
				h.Kind = conference
			default:
				h.Kind = ring
			}
		}
		if !slices.Contains(c.Agents, p.Agent) {
			c.Agents = append(c.Agents, p.Agent)
		}
		c.Hops = append(c.Hops, h)
	}
	return c
}

// client asks the program.
type client struct {
	url   string
	token string
}

type page struct {
	Calls []call
	Next  string
	Error *problem
}

func (c *client) get(t *testing.T, query string) (p page, status int) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.url+"/calls?"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+c.token)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(&p); err != nil {
		t.Fatal(err)
	}
	return p, response.StatusCode
}

// address waits until the program says where it answers.
func address(t *testing.T, out *outputtest.Output) string {
	t.Helper()
	var found []string
	exampletest.Until(t, "the program answers", func() bool {
		found = regexp.MustCompile(`(http://\S+)/calls\?key`).FindStringSubmatch(out.String())
		return found != nil
	})
	return found[1]
}

func noEnvironment(string) string { return "" }

func TestTenThousandCallsAreFoundWithTheirHops(t *testing.T) {
	d := newDays(t)
	exampletest.EachBroker(t, &shared, func(t *testing.T, b *exampletest.Broker) {
		db := filepath.Join(t.TempDir(), "recordings.db")
		var out, log outputtest.Output
		start := func() (stop func()) {
			out = outputtest.Output{}
			args := append([]string{"-db", db, "-listen", "127.0.0.1:0"}, b.Flags...)
			return exampletest.Start(t, func(ctx context.Context) error { return run(ctx, args, noEnvironment, &out, &log) })
		}
		reader, err := sqlite.Open(t.Context(), db, tables)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = reader.Close() }()
		kept := func() (n int) {
			if err := reader.QueryRowContext(t.Context(), `SELECT count(*) FROM hops`).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}

		var behind, early []exampletest.Pop
		for i, p := range d.pops[0] {
			if i%40 == 3 {
				behind = append(behind, p) // as a redelivery may come
			} else {
				early = append(early, p)
			}
		}
		b.Send(t, exampletest.Events(early), 0.1, 1)
		stop := start()
		exampletest.Until(t, "some pops are kept", func() bool { return kept() > exampletest.Share(2000) })
		stop() // with events under way
		b.Send(t, exampletest.Events(early[:exampletest.Share(1000)]), 0, 2)
		b.Send(t, exampletest.Events(d.pops[1]), 0.1, 3)
		b.Send(t, exampletest.Events(behind), 0.5, 4)
		stop = start()
		all := len(d.pops[0]) + len(d.pops[1])
		exampletest.Until(t, "all pops are kept", func() bool { return kept() >= all })
		if n := kept(); n != all {
			t.Errorf("%d pops are kept, want %d", n, all)
		}
		c := &client{url: address(t, &out)}
		d.checkKeys(t, c)
		d.checkNumbers(t, c)
		stop()
		http.DefaultClient.CloseIdleConnections()
		if text := log.String(); text != "" {
			t.Errorf("the program logged: %s", text)
		}
	})
}

// checkKeys asks for every key.
func (d *days) checkKeys(t *testing.T, c *client) {
	byKey := map[string][]*simulated{} // newest first
	for _, s := range slices.Backward(d.calls) {
		key := s.pops[0].Event.Key
		byKey[key] = append(byKey[key], s)
	}
	again, patterns := 0, 0
	for key, want := range byKey {
		answer, _ := c.get(t, "key="+url.QueryEscape(key))
		if len(answer.Calls) != len(want) {
			t.Fatalf("key %s: %d calls, want %d", key, len(answer.Calls), len(want))
		}
		again += len(want) - 1
		for i, got := range answer.Calls {
			want, id := want[i].want(), want[i].pops[0].Pop.ID
			if want.Recording == nil {
				patterns++
				if ok, err := path.Match(got.Recording.IDPattern, id); !ok || err != nil || got.Recording.ID != "" {
					t.Fatalf("recording %+v, want a pattern of %s", got.Recording, id)
				}
				want.Recording = got.Recording
			}
			if !got.StartedAt.Equal(want.StartedAt) {
				t.Fatalf("key %s: started at %v, want %v", key, got.StartedAt, want.StartedAt)
			}
			want.StartedAt = got.StartedAt // the same time in another zone
			gotJSON, _ := json.Marshal(got)
			if wantJSON, _ := json.Marshal(want); string(gotJSON) != string(wantJSON) {
				t.Fatalf("a call:\ngot  %s\nwant %s", gotJSON, wantJSON)
			}
		}
	}
	if again < exampletest.Share(500) || patterns < exampletest.Share(500) {
		t.Errorf("%d keys came again and %d calls have no id: too few to be a test", again, patterns)
	}
}

// checkNumbers asks for the callers who called most, page by page, and for some of
// the others in the forms in which people write their number.
func (d *days) checkNumbers(t *testing.T, c *client) {
	byNumber := map[string][]string{} // calls, by their first event, newest last pop first
	e164 := map[string]string{}
	calls := slices.Clone(d.calls)
	slices.SortFunc(calls, func(a, b *simulated) int { return b.pops[len(b.pops)-1].At.Compare(a.pops[len(a.pops)-1].At) })
	for _, s := range calls {
		customer := s.pops[0].CallPop.Customer
		if customer.Number != "" {
			byNumber[customer.Number] = append(byNumber[customer.Number], s.pops[0].Event.ID)
			e164[customer.Number] = customer.E164
		}
	}
	asked, pages := 0, 0
	for number, want := range byNumber {
		if len(want) < 20 && asked > 300 {
			continue
		}
		forms := []string{number}
		if long := e164[number]; long != "" {
			forms = append(forms, long, long[:3]+" "+long[3:])
		}
		for _, form := range forms {
			asked++
			var got []string
			for query := "limit=7&number=" + url.QueryEscape(form); ; pages++ {
				answer, _ := c.get(t, query)
				for _, found := range answer.Calls {
					got = append(got, found.Hops[0].Event)
				}
				if answer.Next == "" {
					break
				}
				query = "limit=7&number=" + url.QueryEscape(form) + "&before=" + answer.Next
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%d calls of a number, want %d; or in another order", len(got), len(want))
			}
		}
	}
	if asked < 300 || pages < exampletest.Share(20) {
		t.Errorf("asked %d times, %d of them for a further page: too few to be a test", asked, pages)
	}
}

func TestAKeyThatWasIdleForHoursIsAnotherCall(t *testing.T) {
	at := time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC)
	hops := func(after ...time.Duration) (all []hop) {
		for i, d := range after {
			all = append(all, hop{Event: fmt.Sprint(i), At: at.Add(d), Agent: "801"})
		}
		return all
	}
	for _, test := range []struct {
		after []time.Duration
		want  []int
	}{
		{nil, nil},
		{[]time.Duration{0}, []int{1}},
		{[]time.Duration{0, 2 * time.Hour}, []int{2}},
		{[]time.Duration{0, 2*time.Hour + 1}, []int{1, 1}},
		{[]time.Duration{0, time.Hour, 3 * time.Hour, 6 * time.Hour}, []int{3, 1}},
	} {
		var got []int
		for _, c := range stitch(hops(test.after...), 2*time.Hour) {
			got = append(got, len(c.Hops))
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("after %v: got calls of %v pops, want %v", test.after, got, test.want)
		}
	}
}
