package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/callpop/connector/examples/internal/exampletest"
	"github.com/callpop/connector/internal/kafkatest"
	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/source/lqsim"
)

var shared kafkatest.Shared

func TestMain(m *testing.M) { goleak.VerifyTestMain(shared.Around(m)) }

// crmServer is a CRM that takes calls by their Idempotency-Key, with the faults
// that web hooks have.
type crmServer struct {
	*httptest.Server

	mu       sync.Mutex // guards what follows
	calls    map[string]call
	requests int
	down     bool
	refuse   string // the event that it refuses
	refusals int
}

func startCRM(t *testing.T) *crmServer {
	c := &crmServer{calls: map[string]call{}}
	c.Server = httptest.NewServer(c)
	t.Cleanup(c.Close)
	return c
}

func (c *crmServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.requests++
	var got call
	key := r.Header.Get("Idempotency-Key")
	switch {
	case err != nil, json.Unmarshal(body, &got) != nil, got.Event != key, r.Header.Get("Authorization") != "Bearer of the ring":
		http.Error(w, "what is this?", http.StatusTeapot)
	case c.down, c.requests%997 == 0:
		http.Error(w, "not now", http.StatusServiceUnavailable)
	case key == c.refuse:
		c.refusals++
		http.Error(w, "not this one", http.StatusUnprocessableEntity)
	default:
		c.calls[key] = got
		if c.requests%1499 == 0 {
			panic(http.ErrAbortHandler) // it took the call, and its answer is lost
		}
	}
}

func (c *crmServer) set(down bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.down = down
}

func (c *crmServer) taken() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls)
}

// day is what happened, and what the CRM should know of it.
type day struct {
	late, pops []exampletest.Pop
	names      map[string]string // customers' by number
}

func newDay(t *testing.T) *day {
	d := &day{names: map[string]string{}}
	o := exampletest.Options{Agents: []string{"801", "802", "803", "804", "805"}, Pops: 1000, Rate: 50, Seed: 1, Format: lqsim.Mixed}
	o.Start = time.Now().Add(-48 * time.Hour)
	d.late = exampletest.Simulate(t, o)
	o.Start, o.Pops, o.Seed = time.Now(), exampletest.Share(14000), 2
	d.pops = exampletest.Simulate(t, o)
	if n := exampletest.Calls(d.late) + exampletest.Calls(d.pops); n < exampletest.Share(10_000) {
		t.Fatalf("%d calls: want ten thousand, or a quarter with -short", n)
	}
	for i, p := range d.pops {
		n := number(&p.CallPop)
		if i%3 == 0 && strings.Trim(n, "+0123456789") == "" && n != "" {
			d.names[n] = fmt.Sprintf("Customer %d\x1b[2J", i)
		}
	}
	return d
}

// file writes the customers as the program reads them.
func (d *day) file(t *testing.T) string {
	var lines strings.Builder
	lines.WriteString("number,name,company\n")
	for n, name := range d.names {
		fmt.Fprintf(&lines, "%s,%s,\n", n, name)
	}
	path := filepath.Join(t.TempDir(), "customers.csv")
	if err := os.WriteFile(path, []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// want is the call that the hook should get for a pop.
func (d *day) want(p exampletest.Pop, late bool) call {
	n := number(&p.CallPop)
	c := call{
		Event: p.Event.ID, Key: p.Event.Key, Server: exampletest.Server, Agent: p.Agent, Mode: string(p.Mode()),
		Number: n, At: p.At.UTC(), Late: late,
	}
	if name, known := d.names[n]; known {
		c.Customer = &customer{Number: n, Name: name}
	}
	return c
}

func TestTheCRMGetsTenThousandCallsOnce(t *testing.T) {
	d := newDay(t)
	customers := d.file(t)
	exampletest.EachBroker(t, &shared, func(t *testing.T, b *exampletest.Broker) {
		server := startCRM(t)
		half := len(d.pops) / 2
		server.refuse = d.pops[half+1].Event.ID
		var cards, log outputtest.Output
		db := filepath.Join(t.TempDir(), "crm ?%.db")
		start := func() (stop func()) {
			args := append([]string{"-db", db, "-customers", customers, "-hook", server.URL, "-late", "24h"}, b.Flags...)
			env := func(name string) string { return map[string]string{tokenVariable: "of the ring"}[name] }
			return exampletest.Start(t, func(ctx context.Context) error { return run(ctx, args, env, &cards, &log) })
		}
		shown := func() int { return strings.Count(cards.String(), "┌─") }

		b.Send(t, exampletest.Events(d.late), 0.1, 1)
		b.Send(t, exampletest.Events(d.pops[:half]), 0.1, 2)
		stop := start()
		exampletest.Until(t, "some calls are there", func() bool { return shown() > 1000 && server.taken() > 1000 })
		stop() // with events under way

		server.set(true)
		stop = start()
		exampletest.Until(t, "the cards are shown while the CRM is down", func() bool { return shown() >= half })
		stop()

		b.Send(t, exampletest.Events(d.pops[half-1000:half]), 0, 3) // late repeats
		b.Send(t, exampletest.Events(d.pops[half:]), 0.1, 4)
		server.set(false)
		stop = start()
		all := len(d.late) + len(d.pops) - 1
		exampletest.Until(t, "all is there", func() bool { return shown() >= len(d.pops) && server.taken() >= all })
		stop()

		server.Close() // and wait for its last requests
		got := server.calls
		if len(got) != all || server.refusals != 1 {
			t.Errorf("the CRM has %d calls and refused %d times, want %d and once", len(got), server.refusals, all)
		}
		check := func(pops []exampletest.Pop, late bool) {
			for _, p := range pops {
				got, want := got[p.Event.ID], d.want(p, late)
				if p.Event.ID == server.refuse {
					continue
				}
				gotJSON, _ := json.Marshal(got)
				if wantJSON, _ := json.Marshal(want); string(gotJSON) != string(wantJSON) {
					t.Fatalf("a call: got %s, want %s", gotJSON, wantJSON)
				}
			}
		}
		check(d.late, true)
		check(d.pops, false)
		d.checkCards(t, cards.String())
		d.checkPrivacy(t, cards.String()+log.String())
	})
}

// heads are how a card begins: the agent and the customer.
var heads = regexp.MustCompile(`(?m)^┌─ \S+  agent (\S+)\n│ customer  (.*)$`)

func (d *day) checkCards(t *testing.T, text string) {
	got, want := map[string]int{}, map[string]int{}
	for _, head := range heads.FindAllStringSubmatch(text, -1) {
		got[head[1]+" "+head[2]]++
	}
	for _, p := range d.pops {
		name := "not known"
		if known, ok := d.names[number(&p.CallPop)]; ok {
			name = strings.ReplaceAll(known, "\x1b", "\uFFFD")
		}
		want[p.Agent+" "+name]++
	}
	if !maps.Equal(got, want) {
		t.Errorf("%d kinds of cards, want %d; or not as many of each", len(got), len(want))
	}
}

func (d *day) checkPrivacy(t *testing.T, text string) {
	numbers := map[string]bool{}
	for _, p := range d.pops {
		numbers[p.CallPop.Customer.Number] = true
		numbers[strings.TrimPrefix(p.CallPop.Customer.E164, "+")] = true
	}
	for _, digits := range regexp.MustCompile(`[0-9]{7,}`).FindAllString(text, -1) {
		if numbers[digits] {
			t.Fatal("a customer's number is in what the program writes")
		}
	}
	if strings.ContainsRune(text, '\x1b') {
		t.Error("an escape reaches the terminal")
	}
}
