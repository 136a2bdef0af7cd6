package main

import (
	"context"
	"database/sql"
	"time"

	"github.com/callpop/connector/examples/internal/sqlite"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/schema/consume"
)

// crm does for each pop what a CRM would.
type crm struct {
	outbox *outbox
	posts  bool // whether there is a hook
	late   time.Duration
	screen *screen
}

// card is a customer's card to show.
type card struct {
	pop *schema.CallPop
	who *customer
}

// handle puts the calls into the outbox and shows them. It is called again for
// events that it returned an error for, and for those that were not acknowledged
// before a restart: the outbox knows each by its id. In one transaction with it an
// event is either new or not: each is in the outbox once, and, as the screen comes
// after, on the screen once at most.
func (c *crm) handle(ctx context.Context, all []*consume.Delivery) error {
	var cards []card
	err := sqlite.InTx(ctx, c.outbox.db, func(ctx context.Context, tx *sql.Tx) error {
		for _, d := range all {
			who, err := findCustomer(ctx, tx, d.CallPop.Customer)
			if err != nil {
				return err
			}
			late := d.Late(time.Now(), c.late)
			fresh, err := c.put(ctx, tx, d, who, late)
			if err != nil {
				return err
			}
			if fresh && !late {
				cards = append(cards, card{d.CallPop, who})
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	select {
	case c.outbox.filled <- struct{}{}:
	default: // it is known already
	}
	for _, shown := range cards {
		if err := c.screen.show(shown.pop, shown.who); err != nil {
			return err
		}
	}
	return nil
}

func (c *crm) put(ctx context.Context, tx *sql.Tx, d *consume.Delivery, who *customer, late bool) (fresh bool, err error) {
	event := d.Event.ID
	if d.Replay != "" {
		event += ".replay." + d.Replay // an operator wants it handled once more
	}
	p, s := d.CallPop, waiting
	if !c.posts {
		s = done
	}
	return put(ctx, tx, event, &call{
		Event: p.ID, Key: p.Key, Server: p.Server, Agent: p.Agent.ID, Mode: string(p.Pop.Mode),
		Number: number(p), At: p.ReceivedAt, Late: late, Customer: who,
	}, s)
}
