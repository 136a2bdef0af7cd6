package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/callpop/connector/internal/secret"
	"github.com/callpop/connector/schema"
)

// tailOptions are the flags of tail.
type tailOptions struct {
	url, credentials, userFile string
	kafka                      []string
	group                      string
	config, sink               string
	server, agent              string
	all                        bool
	count                      int
	output                     string
}

func tailCommand(w *world) *cobra.Command {
	var o tailOptions
	c := &cobra.Command{
		Use:   "tail",
		Short: "Show events live from a broker",
		Long: `Show CallPop events as a broker delivers them: NATS, the connector's own
(embedded.listen) or another, or Kafka. It reads the broker and not the
connector, so a restart of the connector does not end it.

With --config and --sink it reads the brokers of a Kafka sink with that sink's
login, encryption and topics.`,
		Example: `  connector tail --agent 801
  connector tail --nats nats://nats:4222 --credentials-file reader.creds -o json
  connector tail --kafka kafka:9092 --group lunch -o json`,
		Args: noArguments,
		RunE: func(command *cobra.Command, _ []string) error {
			if err := checkOutput(o.output); err != nil {
				return err
			}
			ctx, cancel := w.stopping(command.Context())
			defer cancel()
			kafka, err := o.kafkaConfig(w)
			switch {
			case err != nil:
				return err
			case kafka != nil:
				return tailKafka(ctx, w, o, *kafka)
			default:
				return tailNATS(ctx, w, o)
			}
		},
	}
	outputFlag(c, &o.output)
	c.Flags().StringVar(&o.url, "nats", "nats://127.0.0.1:4222", "the broker's URL, or several with commas between")
	c.Flags().StringVar(&o.credentials, "credentials-file", "", "NATS credentials file")
	c.Flags().StringVar(&o.userFile, "user-file", "", "file with user:password, or a token")
	c.Flags().StringSliceVar(&o.kafka, "kafka", nil, "Kafka brokers, host:port, instead of NATS")
	c.Flags().StringVar(&o.group, "group", "", "Kafka consumer group that keeps its place; none = what comes from now on")
	c.Flags().StringVar(&o.config, "config", "", "configuration file with the Kafka sink to read")
	c.Flags().StringVar(&o.sink, "sink", "", "name of that sink")
	c.MarkFlagsMutuallyExclusive("nats", "kafka", "config")
	c.MarkFlagsRequiredTogether("config", "sink")
	c.Flags().StringVar(&o.server, "server", "", "only this LQ server's events")
	c.Flags().StringVar(&o.agent, "agent", "", "only this agent's events")
	c.Flags().BoolVar(&o.all, "all", false, "session events and dead letters too")
	c.Flags().IntVar(&o.count, "count", 0, "end after so many events; 0 = never")
	return c
}

// tailNATS shows events until ctx is done or the count is reached.
func tailNATS(ctx context.Context, w *world, o tailOptions) error {
	login, err := o.login()
	if err != nil {
		return err
	}
	lost := make(chan error, 1)
	nc, err := nats.Connect(o.url, append(login,
		nats.Name("connector tail"),
		nats.MaxReconnects(-1),
		nats.Timeout(5*time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				w.tell("connector: the broker went away: %v; trying again\n", err)
			}
		}),
		nats.ReconnectHandler(func(nc *nats.Conn) {
			w.tell("connector: connected again to %s\n", nc.ConnectedUrlRedacted())
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if errors.Is(err, nats.ErrPermissionViolation) {
				select {
				case lost <- err:
				default:
				}
				return
			}
			w.tell("connector: %v\n", err)
		}),
	)...)
	if err != nil {
		return fmt.Errorf("connect to %s: %w", redacted(o.url), err)
	}
	defer nc.Close()
	events := make(chan *nats.Msg, 1024)
	for _, subject := range o.subjects() {
		if _, err := nc.ChanSubscribe(subject, events); err != nil {
			return fmt.Errorf("subscribe to %s: %w", subject, err)
		}
	}
	if err := nc.FlushTimeout(5 * time.Second); err != nil {
		return fmt.Errorf("subscribe at %s: %w", nc.ConnectedUrlRedacted(), err)
	}
	w.tell("waiting for events from %s; interrupt to end\n", nc.ConnectedUrlRedacted())
	v := newView(w, o.output)
	for shown := 0; o.count == 0 || shown < o.count; shown++ {
		select {
		case m := <-events:
			if err := v.show(subjectType(m.Subject), m.Data); err != nil {
				return err
			}
		case err := <-lost:
			return err
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func (o *tailOptions) login() ([]nats.Option, error) {
	switch {
	case o.credentials != "":
		return []nats.Option{nats.UserCredentials(o.credentials)}, nil
	case o.userFile != "":
		login, err := secret.ReadFile(o.userFile)
		if err != nil {
			return nil, fmt.Errorf("--user-file: %w", err)
		}
		if user, password, ok := strings.Cut(login.Reveal(), ":"); ok {
			return []nats.Option{nats.UserInfo(user, password)}, nil
		}
		return []nats.Option{nats.Token(login.Reveal())}, nil
	}
	return nil, nil
}

// subjects are what to subscribe to.
func (o *tailOptions) subjects() []string {
	token := func(name string) string {
		if name == "" {
			return "*"
		}
		return schema.Token(name)
	}
	server, agent := token(o.server), token(o.agent)
	subjects := []string{fmt.Sprintf("%s.%s.%s", schema.TypeCallPop, server, agent)}
	if o.all {
		subjects = append(subjects,
			fmt.Sprintf("%s.%s.%s", schema.TypeSessionChanged, server, agent),
			fmt.Sprintf("%s.%s", schema.TypeDeadLetter, server))
	}
	return subjects
}

// subjectType is the event type whose subject this is.
func subjectType(subject string) schema.Type {
	for _, t := range schema.Types {
		if strings.HasPrefix(subject, string(t)+".") {
			return t
		}
	}
	return schema.TypeCallPop
}

// redacted is a list of URLs without their passwords.
func redacted(urls string) string {
	list := strings.Split(urls, ",")
	for i, text := range list {
		u, err := url.Parse(strings.TrimSpace(text))
		switch {
		case err != nil:
			list[i] = "a malformed URL"
		case u.User != nil:
			u.User = url.User("[redacted]")
			list[i] = u.String()
		}
	}
	return strings.Join(list, ",")
}
