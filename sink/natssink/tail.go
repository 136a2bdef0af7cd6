package natssink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/callpop/connector/schema"
)

// tailBuffer is how many messages may wait for the handler.
const tailBuffer = 1024

// Tail subscribes to the subjects of pops that c publishes to, with c's login and
// encryption, and hands each body to handle, one at a time, until ctx is done (and
// returns nil) or handle returns an error. Ready is called once, as soon as every
// later event will be read. A broker that goes away is waited for; one that cannot
// be reached at the start, or that does not let c's user subscribe, is an error.
func Tail(ctx context.Context, c Config, ready func(), handle func(t schema.Type, body []byte) error) error {
	login, err := c.loginOptions(slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	security, err := c.tlsOptions()
	if err != nil {
		return err
	}
	denied := make(chan error, 1)
	nc, err := nats.Connect(c.URL, slices.Concat(login, security, []nats.Option{
		nats.Name("connector tail"),
		nats.Timeout(connectTimeout),
		nats.MaxReconnects(-1),
		nats.CustomInboxPrefix(c.InboxPrefix),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				select {
				case denied <- err:
				default:
				}
			}
		}),
	})...)
	if err != nil {
		return fmt.Errorf("connect to NATS to read events: %w", err)
	}
	defer nc.Close()
	events := make(chan *nats.Msg, tailBuffer)
	subject := c.Subject + ".>"
	if _, err := nc.ChanSubscribe(subject, events); err != nil {
		return fmt.Errorf("subscribe to %s: %w", subject, err)
	}
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		return fmt.Errorf("subscribe to %s at %s: %w", subject, nc.ConnectedUrlRedacted(), err)
	}
	ready()
	for {
		select {
		case m := <-events:
			if err := handle(schema.TypeCallPop, m.Data); err != nil {
				return err
			}
		case err := <-denied:
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		case <-ctx.Done():
			return nil
		}
	}
}
