//go:build linux

package faults

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/callpop/connector/source/lqsim"
)

// Random calls, with pops that come again and calls that are passed on, meet
// random failures of everything at once: the connector is killed and stopped, both
// brokers go and come, sessions are reset, closed and cut. In the end every pop
// that was read is at both brokers, in the order of its call, under one id. What
// happens is chosen by a seed; when, the machine has a say.
func TestFaultHistory(t *testing.T) {
	t.Parallel()
	first := time.Now().UnixNano()
	for i := range scale(0, 3, 40) {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			notInShort(t)
			t.Parallel()
			seed := uint64(first) + uint64(i)
			t.Logf("seed %d", seed)
			history(t, i, rand.New(rand.NewPCG(seed, 1)))
		})
	}
}

// world is everything that can fail.
type world struct {
	*setup
	random       *rand.Rand
	server       *lqsim.Server
	nats         *natsServer
	kafka        *kafkaServer
	connector    *process
	kills, stops int
}

func history(t *testing.T, i int, random *rand.Rand) {
	lq := startLQ(t, lqsim.Options{})
	w := &world{
		setup: newSetup(t, lq.Addr().String(), agentNumbers(5+random.IntN(30))), random: random,
		server: lq, nats: startNATS(t), kafka: startKafka(t),
	}
	w.sinks = []string{natsSink("nats", w.nats.url()), kafkaSink("kafka", w.kafka.address())}
	w.more = "shutdown_timeout: 2s" // or most of the time would go by draining
	log, sessions := follow(t, w.embedded(), "CALLPOP"), follow(t, w.embedded(), "CALLPOP_SESSION")
	atNATS := follow(t, w.nats.url(), "CALLPOP")
	calls := newCaller(w.setup, lq)
	calls.repeat = 0.1
	w.connector = w.start()
	calls.start(100 + random.IntN(300))
	for end := time.Now().Add(scale(0, 12*time.Second, 40*time.Second)); time.Now().Before(end); {
		pause(time.Duration(random.Int64N(int64(600 * time.Millisecond))))
		w.act()
	}
	w.nats.start()
	w.kafka.start()
	began := time.Now()
	w.connector.waitReady()
	w.waitSessions(lq)
	calls.stop()
	settle(t, lq, log)
	held := whole(t, w.embedded(), "CALLPOP")
	atNATS.waitFor(held)
	inKafka := w.kafka.waitFor(held)
	recovery := time.Since(began)
	checkGaps(t, lq.Sent(), held, sessions)
	unread, lost, reordered := received(t, lq.Sent(), held)
	for name, sink := range map[string][]event{"NATS": atNATS.seen(), "Kafka": inKafka} {
		r := delivered(t, fmt.Sprintf("random failures %d, %s", i+1, name), held, sink, 0)
		r.lost += lost
		r.reordered += reordered
		r.recovery = recovery
		r.note = fmt.Sprintf("%d kills, %d stops, %d sessions ended; %d of %d pops sent were still on the wire", w.kills, w.stops, lq.Totals().Ended, unread, len(lq.Sent()))
		rows.add(t, r)
	}
	w.connector.expectExit(w.connector.stop(), 0)
}

// act does one thing to the world.
func (w *world) act() {
	agent := fmt.Sprint(801 + w.random.IntN(len(w.agents)))
	raw := call{agent, "1"}.pop(0) // never whole
	switch w.random.IntN(12) {
	case 0, 1:
		w.kills++
		w.connector.kill()
		w.connector = w.start()
	case 2:
		w.connector.waitReady()
		w.stops++
		w.connector.expectExit(w.connector.stop(), 0)
		w.connector = w.start()
	case 3, 4:
		if w.nats.s != nil {
			w.nats.stop()
		} else {
			w.nats.start()
		}
	case 5:
		if w.kafka.c != nil {
			w.kafka.stop()
		} else {
			w.kafka.start()
		}
	// An agent may have no session just now: then nothing happens.
	case 6, 7:
		_ = w.server.Reset(agent)
	case 8:
		_ = w.server.Close(agent)
	case 9:
		_ = w.server.Cut(agent, raw, w.random.IntN(len(raw)))
	case 10:
		_ = w.server.CutReset(agent, raw, w.random.IntN(len(raw)))
	case 11:
		_ = w.server.SendBytes(agent, []byte("TRY_REQTRY_REQ"))
	}
}
