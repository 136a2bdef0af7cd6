package subscribe_test

import (
	"context"
	"errors"
	"flag"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/callpop/connector/examples/internal/exampletest"
	"github.com/callpop/connector/examples/internal/subscribe"
	"github.com/callpop/connector/internal/kafkatest"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/schema/consume"
)

var shared kafkatest.Shared

func TestMain(m *testing.M) { goleak.VerifyTestMain(shared.Around(m)) }

// spoiled is an event whose body is none.
func spoiled(e schema.Event) schema.Event {
	e.Body = []byte("no event")
	return e
}

func TestEveryEventIsHandledThroughFailuresAndRestarts(t *testing.T) {
	exampletest.EachBroker(t, &shared, func(t *testing.T, b *exampletest.Broker) {
		events := []schema.Event{exampletest.Session("801", time.Now(), schema.Connected)}
		for n, p := range exampletest.Simulate(t, exampletest.Options{Agents: []string{"801", "802"}, Pops: 60, Start: time.Now()}) {
			if n%20 == 7 {
				events = append(events, spoiled(p.Event)) // and whole, behind it
			}
			events = append(events, p.Event)
		}
		b.Send(t, events, 0.1, 1)
		want := map[string]bool{}
		for _, e := range events {
			want[e.ID] = true
		}

		o := subscribe.Options{Name: "test", Types: schema.Types[:2]}
		flags := flag.NewFlagSet("test", flag.ContinueOnError)
		o.Flags(flags)
		if err := flags.Parse(b.Flags); err != nil {
			t.Fatal(err)
		}
		handled := map[string]bool{}
		failed := 0
		for run := 0; len(handled) < len(want); run++ {
			ctx, stop := context.WithTimeout(t.Context(), exampletest.Patience)
			var inside sync.Mutex
			err := o.Run(ctx, func(_ context.Context, d *consume.Delivery) error {
				if !inside.TryLock() {
					t.Error("two calls overlap")
				}
				defer inside.Unlock()
				if failed < 3 {
					failed++
					return errors.New("not now")
				}
				if (d.CallPop != nil) == (d.SessionChanged != nil) {
					t.Errorf("a delivery without its body: %+v", d)
				}
				handled[d.Event.ID] = true
				if run == 0 && len(handled) == 20 || len(handled) == len(want) {
					stop() // in the middle, and at the end
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if ctx.Err() == context.DeadlineExceeded {
				t.Fatalf("%d of %d events came", len(handled), len(want))
			}
			stop()
		}
		if !maps.Equal(handled, want) || failed != 3 {
			t.Errorf("handled %d events, want %d", len(handled), len(want))
		}
	})
}

func TestABrokerThatIsAwayAtTheStartIsAnError(t *testing.T) {
	o := subscribe.Options{NATS: "nats://127.0.0.1:1", Name: "test", Types: schema.Types[:1]}
	if err := o.Run(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "connect to NATS at nats://127.0.0.1:1") {
		t.Errorf("got %v", err)
	}
}
