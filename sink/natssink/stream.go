package natssink

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ensure creates the stream of a route if it may and must.
func (s *Sink) ensure(ctx context.Context, session *session, r *route) error {
	if !s.config.Create || r.exists.Load() {
		return nil
	}
	ctx, cancel := session.bound(ctx, s.config.PublishTimeout)
	defer cancel()
	_, err := s.lookUp(ctx, session, r.stream)
	if errors.Is(err, ErrNoStream) {
		_, err = session.js.CreateStream(ctx, s.streamConfig(r))
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			err = nil // another one was faster; its settings stand
		} else if err != nil {
			err = fmt.Errorf("create stream %s: %w", r.stream, err)
		} else {
			s.link.log.InfoContext(ctx, "created a stream", slog.String("stream", r.stream), slog.String("subjects", r.subject+".>"))
		}
	}
	if errors.Is(err, ErrNoPermission) {
		// We may not look, which does not mean that we may not publish.
		err = nil
	}
	r.exists.Store(err == nil)
	return err
}

func (s *Sink) streamConfig(r *route) jetstream.StreamConfig {
	c := s.config
	config := jetstream.StreamConfig{
		Name:        r.stream,
		Description: "CallPop events of type " + string(r.typ),
		Subjects:    []string{r.subject + ".>"},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		MaxAge:      c.MaxAge,
		MaxBytes:    int64(c.MaxBytes),
		Replicas:    c.Replicas,
		Duplicates:  c.Duplicates,
	}
	if config.MaxBytes == 0 {
		config.MaxBytes = -1 // no limit
	}
	return config
}

// lookUp asks for a stream. Its error is one of this package's, where one fits.
func (s *Sink) lookUp(ctx context.Context, session *session, stream string) (*jetstream.StreamInfo, error) {
	type answer struct {
		stream jetstream.Stream
		err    error
	}
	ctx, cancel := context.WithCancel(ctx)
	asked := time.Now()
	answered := make(chan answer, 1)
	defer func() { cancel(); <-answered }() // the question ends with us
	go func() {
		defer close(answered)
		st, err := session.js.Stream(ctx, stream)
		answered <- answer{st, err}
	}()
	subject := "$JS.API.STREAM.INFO." + stream
	for {
		denied, denial := s.link.denial(subject, asked)
		if denial != nil {
			return nil, fmt.Errorf("look up stream %s: %w", stream, denial)
		}
		select {
		case a := <-answered:
			if a.err != nil {
				if cause := context.Cause(ctx); errors.Is(cause, nats.ErrDisconnected) {
					a.err = cause
				}
				return nil, fmt.Errorf("look up stream %s: %w", stream, lookUpError(a.err))
			}
			return a.stream.CachedInfo(), nil
		case <-denied:
		}
	}
}

func lookUpError(err error) error {
	var api *jetstream.APIError
	switch {
	case errors.Is(err, nats.ErrNoResponders),
		errors.Is(err, jetstream.ErrJetStreamNotEnabled),
		errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("%w: %w", ErrNoJetStream, err)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("%w: %w", ErrNoStream, err)
	case errors.As(err, &api):
		return err
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("%w: %w", ErrNoAnswer, err)
	default:
		return err
	}
}

// explain finds out why a subject had no responders.
func (s *Sink) explain(ctx context.Context, session *session, r *route, subject string) error {
	ctx, cancel := session.bound(ctx, s.config.PublishTimeout)
	defer cancel()
	info, err := s.lookUp(ctx, session, r.stream)
	switch {
	case errors.Is(err, ErrNoPermission):
		return fmt.Errorf("%w: no stream takes the subject, or the stream is down (%w)", ErrStreamUnavailable, err)
	case err != nil:
		return err
	case !covers(info.Config.Subjects, subject):
		return fmt.Errorf("%w: stream %s takes %s", ErrSubjectNotInStream, r.stream, strings.Join(info.Config.Subjects, ", "))
	case info.Cluster != nil && info.Cluster.Leader == "":
		return fmt.Errorf("%w: it has no leader", ErrStreamUnavailable)
	default:
		return ErrStreamUnavailable
	}
}

// covers reports whether one of a stream's subjects, which may have wildcards,
// matches all that subject matches, which may have wildcards too.
func covers(patterns []string, subject string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		p, s := strings.Split(pattern, "."), strings.Split(subject, ".")
		for i, token := range p {
			switch {
			case token == ">":
				return i < len(s)
			case i >= len(s):
				return false
			case token == "*":
				if s[i] == ">" {
					return false
				}
			case token != s[i]:
				return false
			}
		}
		return len(p) == len(s)
	})
}
