package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// publisherOptions make a program that only publishes.
type publisherOptions struct {
	Sink  string   `json:"sink"`
	NATS  string   `json:"nats,omitempty"`
	Kafka []string `json:"kafka,omitempty"`
	// Partitions of the topic, as many as the sink's has.
	Partitions int `json:"partitions"`
	// Window is how many messages may be on their way: the sink's.
	Window int `json:"window"`
	// Plan is what is published, at its rate; Count 0 publishes for Duration.
	Plan     Plan          `json:"plan"`
	Duration time.Duration `json:"duration"`
	// Run names what is made in the broker for this run.
	Run string `json:"run"`
}

// published is what came of it.
type published struct {
	Messages int           `json:"messages"`
	Elapsed  time.Duration `json:"elapsed"`
	// Latency is from when a message was due to its acknowledgement.
	Latency *Latency `json:"latency"`
}

// publisher is the process that the connector's publishing is compared with.
type publisher struct {
	o   publisherOptions
	way publishing
}

// publishing is one client's own way to publish.
type publishing interface {
	// publish publishes what next gives, until it gives nothing, and calls acked
	// with the numbers that were acknowledged. next blocks until a message is due;
	// with hurry it does not, and gives nothing where none is due now.
	publish(ctx context.Context, next func(hurry bool) (n int, ok bool), acked func(n int)) error
	close() error
}

// readyMessages are made before the clock runs; more messages than these carry the
// bodies again, with ids of their own.
const readyMessages = 4096

func startPublisher(ctx context.Context, options json.RawMessage) (Part, any, error) {
	p := &publisher{}
	if err := json.Unmarshal(options, &p.o); err != nil {
		return nil, nil, err
	}
	m, err := newMaker("bench", p.o.Plan)
	if err != nil {
		return nil, nil, err
	}
	switch p.o.Sink {
	case SinkNATS:
		p.way, err = newNATSPublishing(ctx, &p.o, m)
	case SinkKafka:
		p.way, err = newKafkaPublishing(ctx, &p.o, m)
	default:
		err = fmt.Errorf("nothing publishes to %q", p.o.Sink)
	}
	if err != nil {
		return nil, nil, err
	}
	return p, nil, nil
}

// Ask answers publish, once all is published.
func (p *publisher) Ask(ctx context.Context, what string, with json.RawMessage) (any, error) {
	if what != "publish" {
		return nil, unknown(what)
	}
	plan := p.o.Plan
	if err := json.Unmarshal(with, &plan.Rate); err != nil {
		return nil, err
	}
	var (
		result published
		mu     sync.Mutex // guards late: acknowledgements come from another goroutine
		late   = newHistogram()
		due    = make(map[int]time.Time)
		pace   = newPacer()
	)
	defer pace.stop()
	start := time.Now()
	next := func(hurry bool) (int, bool) {
		n := result.Messages + 1
		at := start.Add(plan.Due(n))
		if plan.Count > 0 && n > plan.Count || plan.Count == 0 && time.Since(start) >= p.o.Duration {
			return 0, false
		}
		if hurry && plan.Rate > 0 && time.Until(at) > 0 || plan.Rate > 0 && !pace.until(ctx, at) {
			return 0, false
		}
		if plan.Rate == 0 && plan.Count == 0 {
			at = time.Now() // as fast as it goes, nothing is due
		}
		mu.Lock()
		due[n] = at
		mu.Unlock()
		result.Messages = n
		return n, true
	}
	err := p.way.publish(ctx, next, func(n int) {
		now := time.Now()
		mu.Lock()
		defer mu.Unlock()
		late.add(now.Sub(due[n]))
		delete(due, n)
	})
	result.Elapsed = time.Since(start)
	result.Latency = late.latency()
	if err == nil && len(due) > 0 {
		err = fmt.Errorf("%d messages were not acknowledged", len(due))
	}
	return result, err
}

// Close closes the client.
func (p *publisher) Close() error { return p.way.close() }
