package spool

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/callpop/connector/schema"
)

// inbox takes a reader's answers from one engine.
type inbox struct {
	engine *engine
	// prefix is that of the answers' subjects; a request's number follows.
	prefix   string
	requests uint64
	sub      *nats.Subscription
	// answers has room for a whole answer and its end: nats.go drops what a
	// subscriber has no room for.
	answers chan *nats.Msg
}

// open makes the reader's inbox in engine e.
func (r *Reader) open(e *engine) (*inbox, error) {
	if r.inbox != nil && r.inbox.engine == e {
		return r.inbox, nil
	}
	r.drop()
	in := &inbox{engine: e, prefix: e.reads.NewInbox() + ".", answers: make(chan *nats.Msg, maxGet+1)}
	var err error
	if in.sub, err = e.reads.ChanSubscribe(in.prefix+"*", in.answers); err != nil {
		return nil, err
	}
	r.inbox = in
	return in, nil
}

// drop lets go of the inbox. After an error in the middle of an answer the rest
// of it may still come: the next request gets an inbox of its own.
func (r *Reader) drop() {
	if r.inbox != nil {
		// An error means that the connection is gone, and the inbox with it.
		_ = r.inbox.sub.Unsubscribe()
		r.inbox = nil
	}
}

// answer is that to one get.
type answer struct {
	records []Record
	// pending is how many records of the stream came after them.
	pending uint64
}

// get asks for the records after r.last and moves it. None means that there are
// none yet.
func (r *Reader) get(ctx context.Context, e *engine, batch int) (answer, error) {
	in, err := r.open(e)
	if err != nil {
		return answer{}, err
	}
	return r.ask(ctx, in, server.JSApiMsgGetRequest{Seq: r.last + 1, Batch: batch, MaxBytes: maxBatchBytes})
}

// ask makes one get of several records.
func (r *Reader) ask(ctx context.Context, in *inbox, request server.JSApiMsgGetRequest) (answer, error) {
	in.requests++
	reply := in.prefix + strconv.FormatUint(in.requests, 10)
	body, err := json.Marshal(request)
	if err != nil {
		return answer{}, err
	}
	if err := in.engine.reads.PublishRequest(apiPrefix+"DIRECT.GET."+r.stream.name, reply, body); err != nil {
		return answer{}, err
	}
	return r.collect(ctx, in)
}

// collect takes the messages that answer one get, up to its end.
func (r *Reader) collect(ctx context.Context, in *inbox) (answer, error) {
	timer := time.NewTimer(readTimeout)
	defer timer.Stop()
	var records []Record
	last, previous := r.last, uint64(0)
	var lost losses
	var holes [][2]uint64 // first and last sequence of each
	for {
		var m *nats.Msg
		select {
		case m = <-in.answers:
		case <-in.engine.retired:
			return answer{}, ErrRestarted
		case <-r.closed:
			return answer{}, ErrClosed
		case <-ctx.Done():
			return answer{}, ctx.Err()
		case <-timer.C:
			return answer{}, fmt.Errorf("no answer within %v", readTimeout)
		}
		switch status := m.Header.Get("Status"); status {
		case "":
		case "404":
			return answer{}, nil
		case "204": // the end
			if header(m, nats.JSLastSequence) != previous {
				return answer{}, errTorn
			}
			if len(holes) > 0 {
				state, err := streamState(ctx, in.engine, r.stream)
				if err != nil {
					return answer{}, err
				}
				for _, hole := range holes {
					lost = lost.plus(r.spool.lossesBetween(r.stream, hole[0], hole[1], state.First))
				}
			}
			r.last, r.lost = last, r.lost.plus(lost)
			return answer{records, header(m, server.JSNumPending)}, nil
		default:
			return answer{}, fmt.Errorf("get: %s %s", status, m.Header.Get("Description"))
		}
		// Each record names the one before it: an answer is whole or an error,
		// never a silent gap.
		sequence := header(m, nats.JSSequence)
		if header(m, nats.JSLastSequence) != previous || sequence <= last {
			return answer{}, errTorn
		}
		if sequence > last+1 {
			holes = append(holes, [2]uint64{last + 1, sequence - 1})
		}
		previous, last = sequence, sequence
		event, err := schema.FromNATSHeaders(m.Header.Get, m.Data)
		if err != nil {
			// Damage, or an event of a version to come: one such record must not
			// hold up the line.
			lost = lost.plus(losses{all: 1, damaged: 1})
			r.spool.logger.Error("a record of the spool cannot be read", "stream", r.stream.name, "sequence", sequence, "error", err)
			continue
		}
		records = append(records, Record{Event: event, Sequence: sequence, SpoolSequence: r.spool.sequence(sequence)})
	}
}

// errTorn means that messages of an answer went missing on their way.
var errTorn = errors.New("the answer is not whole")

func header(m *nats.Msg, name string) uint64 {
	// Zero for what is missing or no number; it matches no sequence.
	n, _ := strconv.ParseUint(m.Header.Get(name), 10, 64)
	return n
}

// sequence is the CloudEvents attribute spoolsequence.
func (s *Spool) sequence(n uint64) string {
	var stack [64]byte
	text := append(append(stack[:0], s.id...), "-00000000000000000000"...)
	for at := len(text) - 1; n > 0; at-- {
		text[at] = byte('0' + n%10)
		n /= 10
	}
	return string(text)
}
