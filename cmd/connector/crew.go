package main

import (
	"context"
	"slices"
	"sync"
)

// task is something that a crew runs.
type task struct {
	stop context.CancelFunc
	done chan struct{}
}

// crew runs parts that may come and go meanwhile, such as the sources. Of one name
// there is one at a time: a successor begins when the one before it has ended.
type crew struct {
	ctx  context.Context
	fail func(error)

	running sync.WaitGroup
	mu      sync.Mutex               // guards leaving
	leaving map[string]chan struct{} // by name, those that were stopped and may still run
}

// newCrew makes a crew that works until ctx is done. fail is called with each
// error.
func newCrew(ctx context.Context, fail func(error)) *crew {
	return &crew{ctx: ctx, fail: fail, leaving: map[string]chan struct{}{}}
}

// start runs a part until its task is stopped or the crew's context is done.
// before are parts that have to end first. It must not be called once the
// context is done.
func (c *crew) start(name string, t *task, run func(context.Context) error, before ...<-chan struct{}) {
	ctx, stop := context.WithCancel(c.ctx)
	t.stop, t.done = stop, make(chan struct{})
	c.mu.Lock()
	if former := c.leaving[name]; former != nil {
		before = append(before, former)
	}
	c.mu.Unlock()
	c.running.Go(func() {
		defer close(t.done)
		defer stop()
		for _, ended := range before {
			<-ended
		}
		c.fail(run(ctx))
	})
}

// dismiss stops a part and has after called when it has ended.
func (c *crew) dismiss(name string, t *task, after func()) {
	gone := make(chan struct{})
	c.mu.Lock()
	c.leaving[name] = gone
	c.mu.Unlock()
	t.stop()
	c.running.Go(func() {
		<-t.done
		after()
		c.mu.Lock()
		if c.leaving[name] == gone {
			delete(c.leaving, name)
		}
		c.mu.Unlock()
		close(gone)
	})
}

// departing are the parts that were dismissed and may still run.
func (c *crew) departing() (all []<-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, gone := range c.leaving {
		all = append(all, gone)
	}
	return all
}

// wait waits until all parts have ended.
func (c *crew) wait() { c.running.Wait() }

func (d *daemon) openSinks() []*delivery {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.sinks)
}

func (d *daemon) openSources() []*supply {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.sources)
}
