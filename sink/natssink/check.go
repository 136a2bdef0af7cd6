package natssink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/sink"
)

// Check implements [sink.Checker]: connection, streams, subjects and permissions.
// It waits for the connection until ctx is done. To see whether it may publish it
// sends each stream a message that demands a last sequence which no stream has:
// the stream refuses it, and so proves that it would get it.
func (s *Sink) Check(ctx context.Context) []sink.Finding {
	session, err := s.link.get(ctx)
	if err != nil {
		return []sink.Finding{{What: "connection", Detail: s.link.urls, Err: err}}
	}
	findings := []sink.Finding{{
		What:   "connection",
		Detail: fmt.Sprintf("%s, nats-server %s", session.nc.ConnectedUrlRedacted(), session.nc.ConnectedServerVersion()),
	}}
	for _, t := range s.Types() {
		findings = append(findings, s.checkStream(ctx, session, s.routes[t]))
	}
	return findings
}

func (s *Sink) checkStream(ctx context.Context, session *session, r *route) sink.Finding {
	finding := sink.Finding{What: "stream " + r.stream}
	subjects := r.subject + ".>"
	info, err := s.lookUp(ctx, session, r.stream)
	switch {
	case errors.Is(err, ErrNoStream) && s.config.Create:
		finding.Detail = "does not exist, will be created for " + subjects
		return finding
	case errors.Is(err, ErrNoPermission):
		finding.Detail = "may not be looked at"
	case err != nil:
		finding.Err = err
		return finding
	default:
		c := info.Config
		finding.Detail = fmt.Sprintf("%s, %d messages, %d replicas, duplicates known for %v", strings.Join(c.Subjects, ", "), info.State.Msgs, c.Replicas, c.Duplicates)
		if !covers(c.Subjects, subjects) {
			finding.Err = fmt.Errorf("%w: it takes %s and is to get %s", ErrSubjectNotInStream, strings.Join(c.Subjects, ", "), subjects)
			return finding
		}
	}
	finding.Err = s.checkPublish(ctx, session, r)
	return finding
}

// impossibleSequence is a last sequence that no stream has.
const impossibleSequence = "9223372036854775807"

// checkPublish sees whether a message would reach the stream.
func (s *Sink) checkPublish(ctx context.Context, session *session, r *route) error {
	subject := r.subject + ".connector"
	if r.typ != schema.TypeDeadLetter {
		subject += ".check"
	}
	ctx, cancel := session.bound(ctx, s.config.PublishTimeout)
	defer cancel()
	sent := time.Now()
	future, err := session.js.PublishMsgAsync(&nats.Msg{Subject: subject, Header: nats.Header{
		jetstream.ExpectedLastSeqHeader: {impossibleSequence},
		jetstream.ExpectedStreamHeader:  {r.stream},
	}}, jetstream.WithRetryAttempts(0))
	if err != nil {
		return fmt.Errorf("try subject %s: %w", subject, err)
	}
	err = s.await(ctx, pending{sent: sent, future: future}, nil)
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant):
		return nil
	case err == nil:
		return fmt.Errorf("try subject %s: the stream took a message that it had to refuse", subject)
	case errors.Is(err, jetstream.ErrNoStreamResponse):
		err = s.explain(ctx, session, r, subject)
	}
	return fmt.Errorf("try subject %s: %w", subject, err)
}
