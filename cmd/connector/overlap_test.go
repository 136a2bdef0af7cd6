package main

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/lqsim"
)

// TestReplicasThatConnectBeforeTheyCloseLoseAndDoubleNoPop goes from one replica to
// two and back while the server sends each pop to all sessions of its agent.
func TestReplicasThatConnectBeforeTheyCloseLoseAndDoubleNoPop(t *testing.T) {
	lq, broker := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond, EverySession: true}), startNATS(t)
	text := externalConfig(broker.url()) + "watch: false\nreplicas: {count: 1, index: 0, gain_delay: 6s, connect_before_close: true}\n"
	files := []string{writeConfig(t, text, lq), writeConfig(t, strings.Replace(text, "index: 0", "index: 1", 1), lq)}
	first, second := start(t, files[0]), start(t, files[1])
	holds(t, lq, slices.Clone(everyAgent)...)
	before := sockets(lq)

	ctx, stop := context.WithCancelCause(context.Background())
	var sending sync.WaitGroup
	sent := map[string]bool{}
	sending.Go(func() {
		traffic, err := lqsim.NewTraffic(lqsim.TrafficOptions{Agents: everyAgent, Rate: 200, Format: lqsim.Mixed})
		if err != nil {
			t.Error(err)
			return
		}
		tally, err := traffic.Run(ctx, func(agent string, raw []byte) error {
			if sent[string(raw)] {
				return nil // a re-pop with the same bytes is no different from a copy
			}
			sent[string(raw)] = true
			return lq.Send(agent, raw)
		})
		if !errors.Is(err, errEnough) || tally.Missed > 0 {
			t.Errorf("%+v, %v", tally, err)
		}
	})
	defer sending.Wait()
	defer stop(errEnough)

	resize := func(from, to string, inTurn ...int) {
		t.Helper()
		for _, i := range inTurn {
			change(t, files[i], "count: "+from, "count: "+to)
			if done := []*running{first, second}[i].reload(t.Context(), "test"); done.Outcome != control.Applied {
				t.Fatalf("replica %d: %+v", i, done)
			}
		}
	}
	var stayed, moved []string
	for _, id := range everyAgent {
		if source.Owner("hq", id, 2) == 0 {
			stayed = append(stayed, id)
		} else {
			moved = append(moved, id)
		}
	}
	resize("1", "2", 1, 0) // the one that gains first
	if _, ready := first.ready(t, ""); ready.Roster == nil || ready.Roster.GainsAt.IsZero() || !ready.Roster.LosesAt.After(ready.Roster.GainsAt) {
		t.Errorf("readyz while agents move: %+v", ready.Roster)
	}
	await(t, "the new replica's share", func() bool { return second.held()["hq"].Fleet().Up() == len(moved) })
	holds(t, lq, slices.Clone(everyAgent)...)
	sameSockets(t, lq, before, stayed...)
	// On the heels of that, while agents still count as in overlap; the one that loses
	// first.
	resize("2", "1", 1, 0)
	await(t, "all agents at the first replica", func() bool { return first.held()["hq"].Fleet().Up() == len(everyAgent) })
	holds(t, lq, slices.Clone(everyAgent)...)
	sameSockets(t, lq, before, stayed...)
	for _, id := range everyAgent {
		want := 1
		if slices.Contains(moved, id) {
			want = 2
		}
		if a, _ := lq.Agent(id); a.MostLive != want {
			t.Errorf("agent %s had at most %d sessions at once, want %d", id, a.MostLive, want)
		}
	}
	stop(errEnough)
	sending.Wait()
	for _, d := range []*running{first, second} {
		if err := d.end(); err != nil {
			t.Error(err)
		}
	}
	if copies := len(lq.Sent()) - len(sent); copies == 0 {
		t.Error("no pop came over two sessions")
	} else {
		t.Logf("%d pops, %d of them over two sessions", len(sent), copies)
	}
	eachOnce(t, broker.url(), sent)
}

// errEnough ends a test's traffic.
var errEnough = errors.New("that is enough")

// eachOnce compares a stream with the pops that were sent, all of them different.
func eachOnce(t *testing.T, url string, sent map[string]bool) {
	t.Helper()
	stream, err := jetStream(t, url).Stream(patient(t), "CALLPOP")
	if err != nil {
		t.Fatal(err)
	}
	times, marked := map[string]int{}, 0
	for sequence := range stream.CachedInfo().State.LastSeq {
		m, err := stream.GetMsg(patient(t), sequence+1)
		if err != nil {
			t.Fatal(err)
		}
		var p schema.CallPop
		if err := json.Unmarshal(m.Data, &p); err != nil {
			t.Fatal(err)
		}
		times[p.Raw]++
		id := p.ID
		if overlap := m.Header.Get(schema.HeaderOverlap); overlap != "" {
			marked++
			if id = "overlap." + overlap; overlap != p.Fingerprint {
				t.Errorf("event %s carries the fingerprint %s, and its body %s", p.ID, overlap, p.Fingerprint)
			}
		}
		if got := m.Header.Get(jetstream.MsgIDHeader); got != id {
			t.Errorf("event %s has the message id %s, want %s", p.ID, got, id)
		}
	}
	if marked == 0 || marked == len(times) {
		t.Errorf("%d of %d events say that they may have a copy", marked, len(times))
	}
	for raw := range sent {
		if times[raw] != 1 {
			t.Errorf("%q is in the stream %d times", raw, times[raw])
		}
		delete(times, raw)
	}
	for raw, n := range times {
		t.Errorf("%q was never sent, and is there %d times", raw, n)
	}
}
