package spool

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema"
)

// forbidden reports whether err is the gate's; not every call of the client
// library keeps the API's error whole.
func forbidden(err error) bool {
	return err != nil && strings.Contains(err.Error(), "code=403") && strings.Contains(err.Error(), "not permitted")
}

// What a client may not do, each tried in the client library's own way. The
// answer comes from the gate, at once, and says why.
func TestAClientMayNotChangeTheLog(t *testing.T) {
	s, conn := listening(t)
	want := emitN(t, s, 5)
	ctx := testContext(t)
	if err := s.SetCursor(ctx, "lake", schema.TypeCallPop, 3); err != nil {
		t.Fatal(err)
	}
	js := jetStream(t, conn)
	stream, err := js.Stream(ctx, "CALLPOP")
	if err != nil {
		t.Fatal(err)
	}
	push := jetstream.ConsumerConfig{Durable: "push", DeliverSubject: "callpop.v1.hq.1"}
	for what, err := range map[string]error{
		"delete a stream":         js.DeleteStream(ctx, "CALLPOP"),
		"delete the cursors":      js.DeleteStream(ctx, "KV_"+cursorBucket),
		"purge a stream":          stream.Purge(ctx),
		"delete a message":        stream.DeleteMsg(ctx, 1),
		"erase a message":         stream.SecureDeleteMsg(ctx, 2),
		"create a push consumer":  second(js.CreatePushConsumer(ctx, "CALLPOP", push)),
		"update a stream":         second(js.UpdateStream(ctx, jetstream.StreamConfig{Name: "CALLPOP", Subjects: []string{"callpop.v1.>"}, MaxMsgs: 1})),
		"create a stream":         second(js.CreateStream(ctx, jetstream.StreamConfig{Name: "MINE", Subjects: []string{"mine"}})),
		"source the streams":      second(js.CreateStream(ctx, jetstream.StreamConfig{Name: "COPY", Sources: []*jetstream.StreamSource{{Name: "CALLPOP"}}})),
		"create a bucket":         second(js.CreateKeyValue(ctx, jetstream.KeyValueConfig{Bucket: "mine"})),
		"look at the cursors":     second(js.KeyValue(ctx, cursorBucket)),
		"consume the cursors":     second(js.CreateConsumer(ctx, "KV_"+cursorBucket, jetstream.ConsumerConfig{Durable: "x"})),
		"look at another stream":  second(js.Stream(ctx, "KV_"+cursorBucket)),
		"delete another consumer": js.DeleteConsumer(ctx, "KV_"+cursorBucket, "x"),
	} {
		if !forbidden(err) {
			t.Errorf("%s: %v", what, err)
		}
	}
	for _, subject := range []string{
		"SERVER.REMOVE", "META.LEADER.STEPDOWN", "META.RESCUE", "ACCOUNT.PURGE.SPOOL", "STREAM.SNAPSHOT.CALLPOP", "STREAM.RESTORE.CALLPOP",
		"STREAM.PEER.REMOVE.CALLPOP", "STREAM.LEADER.STEPDOWN.CALLPOP", "CONSUMER.LEADER.STEPDOWN.CALLPOP.x",
	} {
		answer, err := conn.RequestWithContext(ctx, apiPrefix+subject, []byte("{}"))
		if err != nil || !strings.Contains(string(answer.Data), "not permitted") {
			t.Errorf("%s: %v", subject, err)
		}
	}
	if got := idsOf(take(t, read(t, s, schema.TypeCallPop, 0), len(want))); !slices.Equal(got, want) {
		t.Errorf("events = %q, want %q", got, want)
	}
	if seq, ok, err := s.Cursor(ctx, "lake", schema.TypeCallPop); seq != 3 || !ok || err != nil {
		t.Errorf("cursor = %d, %v, %v", seq, ok, err)
	}
}

func second[T any](_ T, err error) error { return err }

// A client may publish to the API and to nothing else.
func TestAClientMayNotPublish(t *testing.T) {
	s, _ := listening(t)
	violations := make(chan error, 100)
	conn := client(t, s, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err }))
	refused := func(what string) {
		t.Helper()
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-violations:
			if !errors.Is(err, nats.ErrPermissionViolation) {
				t.Errorf("%s: %v", what, err)
			}
		case <-time.After(patience):
			t.Errorf("%s was let pass", what)
		}
	}
	for _, subject := range []string{
		"callpop.v1.hq.801", "callpop.session.v1.hq.801", "callpop.dlq.v1.hq", "callpop.x",
		"$KV." + cursorBucket + ".lake.CALLPOP", "_INBOX.somebody", "gate.api.STREAM.INFO.CALLPOP", "gate.ack.CALLPOP.x",
		"$SYS.REQ.SERVER.PING", "$JS.FC.CALLPOP.x", "$JS.EVENT.ADVISORY.API", "anything",
	} {
		if err := conn.Publish(subject, []byte("forged")); err != nil {
			t.Fatal(err)
		}
		refused("publish on " + subject)
	}
	for _, subject := range []string{">", "$JS.>", "gate.>", "$KV.>", "$SYS.>", "_R_.>"} {
		sub, err := conn.SubscribeSync(subject)
		if err != nil {
			t.Fatal(err)
		}
		refused("subscribe to " + subject)
		_ = sub.Unsubscribe()
	}
	for _, st := range streams {
		state, err := s.State(testContext(t), st.typ)
		if err != nil {
			t.Fatal(err)
		}
		if state.Last != 0 {
			t.Errorf("stream %s holds %d messages", st.name, state.Last)
		}
	}
}

// Where the server would publish for a client: answers to a reply subject of the
// client's choice, traces, a consumer's deliveries, the next message of an ack.
func TestAClientCannotHaveTheServerPublishForIt(t *testing.T) {
	s, _ := listening(t)
	attacker := client(t, s, nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))
	ctx := testContext(t)
	emitN(t, s, 3)
	consumer, err := jetStream(t, attacker).CreateConsumer(ctx, "CALLPOP", jetstream.ConsumerConfig{Durable: "attacker", AckPolicy: jetstream.AckExplicitPolicy})
	if err != nil {
		t.Fatal(err)
	}
	victim := client(t, s)
	seen, err := victim.SubscribeSync("callpop.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Flush(); err != nil {
		t.Fatal(err)
	}
	purge := apiPrefix + "STREAM.PURGE.CALLPOP"
	for _, reply := range []string{
		"callpop.v1.hq.801", "callpop.session.v1.hq.801", "$KV." + cursorBucket + ".lake.CALLPOP", purge,
		"gate.api.STREAM.PURGE.CALLPOP", "_INBOX.>", "_INBOX.*.x", "callpop.>",
	} {
		for _, request := range []struct{ subject, body string }{
			{"$JS.API.INFO", ""},
			{"$JS.API.STREAM.INFO.CALLPOP", ""},
			{"$JS.API.STREAM.DELETE.CALLPOP", ""},
			{"$JS.API.STREAM.MSG.GET.CALLPOP", `{"seq":1}`},
			{"$JS.API.DIRECT.GET.CALLPOP", `{"seq":1,"batch":3}`},
			{"$JS.API.DIRECT.GET.CALLPOP.callpop.v1.hq.801", ""},
			{"$JS.API.CONSUMER.MSG.NEXT.CALLPOP.attacker", `{"batch":3,"expires":1000000000}`},
			{"$JS.API.CONSUMER.INFO.CALLPOP.attacker", ""},
			{"$JS.API.CONSUMER.CREATE.CALLPOP.attacker", `{"stream_name":"CALLPOP","config":{"deliver_subject":"` + reply + `","ack_policy":"none"}}`},
			{"$JS.ACK.CALLPOP.attacker.1.1.1.1.1", "+NXT"},
		} {
			if err := attacker.PublishRequest(request.subject, reply, []byte(request.body)); err != nil {
				t.Fatal(err)
			}
			// The server checks where a trace goes; the gate sees the rest.
			m := &nats.Msg{Subject: request.subject, Data: []byte(request.body), Header: nats.Header{"Nats-Trace-Dest": {reply}}}
			if err := attacker.PublishMsg(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	// Consumers that deliver by themselves, in every spelling that two JSON readers
	// could differ on.
	for _, config := range []string{
		`"deliver_subject":"callpop.session.v1.x"`,
		`"deliver_subject":"` + purge + `"`,
		`"DELIVER_SUBJECT":"callpop.session.v1.x"`,
		`"deliver_subject":"","deliver_subject":"callpop.session.v1.x"`,
		`"deliver_subject":"callpop.session.v1.x","direct":true`,
		`"direct":true,"sourcing":true`,
		`"deliver_group":"g"`,
	} {
		for _, body := range []string{
			`{"stream_name":"CALLPOP","config":{"durable_name":"push",` + config + `}}`,
			`{"stream_name":"CALLPOP","config":{"durable_name":"push"}}{"config":{` + config + `}}`,
		} {
			for _, subject := range []string{"CONSUMER.CREATE.CALLPOP", "CONSUMER.CREATE.CALLPOP.push", "CONSUMER.DURABLE.CREATE.CALLPOP.push"} {
				answer, err := attacker.RequestWithContext(ctx, apiPrefix+subject, []byte(body))
				if err != nil {
					t.Fatal(err)
				}
				var got struct {
					Error *jetstream.APIError `json:"error"`
				}
				if err := json.Unmarshal(answer.Data, &got); err != nil || got.Error == nil {
					t.Errorf("%s %s: %s", subject, body, answer.Data)
				}
			}
		}
	}
	if err := attacker.Flush(); err != nil {
		t.Fatal(err)
	}
	// Everything the attacker sent is done when a later request of its is.
	if _, err := consumer.Info(ctx); err != nil {
		t.Fatal(err)
	}
	last := newEvent(99)
	emit(t, s, last)
	m, err := seen.NextMsg(patience)
	if err != nil {
		t.Fatal(err)
	}
	if got := m.Header.Get("ce-id"); got != last.ID {
		t.Errorf("a client saw %q with %q", m.Subject, m.Data)
	}
	for _, st := range streams {
		state, err := s.State(ctx, st.typ)
		if err != nil {
			t.Fatal(err)
		}
		if want := map[string]uint64{"CALLPOP": 4}[st.name]; state.Last != want || state.Messages != want {
			t.Errorf("stream %s holds %d messages up to %d, want %d", st.name, state.Messages, state.Last, want)
		}
	}
	if cursors, err := s.Cursors(ctx); err != nil || len(cursors) != 0 {
		t.Errorf("cursors = %v, %v", cursors, err)
	}
}

func TestADirectGetOfAClientIsBounded(t *testing.T) {
	for _, c := range []struct{ body, want string }{
		{`{"seq":1,"batch":1000000}`, `"max_bytes":1048576`},
		{`{"seq":1,"batch":10,"max_bytes":999999999}`, `"max_bytes":1048576`},
		{`{"seq":1,"batch":10,"max_bytes":1000}`, `"max_bytes":1000`},
	} {
		got, err := checkRequest("DIRECT.GET.CALLPOP", []byte(c.body))
		if err != nil || !strings.Contains(string(got), c.want) {
			t.Errorf("%s became %s, %v; want %s in it", c.body, got, err, c.want)
		}
	}
	if _, err := checkRequest("CONSUMER.CREATE.CALLPOP", make([]byte, maxRequest+1)); err == nil {
		t.Error("an oversized request was let pass")
	}
}

// Whatever a client sends, what is passed on makes no consumer that delivers by
// itself, and asks for no more than the bound, also to a reader that takes one
// JSON value after another, as the server's does.
func FuzzRequestsArePassedOnSafely(f *testing.F) {
	f.Add("CONSUMER.CREATE.CALLPOP", []byte(`{"stream_name":"CALLPOP","config":{"deliver_subject":"x","ack_policy":"explicit"}}`))
	f.Add("CONSUMER.CREATE.CALLPOP.a", []byte(`{"stream_name":"CALLPOP","config":{"name":"a","max_deliver":3,"backoff":[1]},"action":"create"}`))
	f.Add("CONSUMER.DURABLE.CREATE.CALLPOP.a", []byte(`{"config":{}}{"config":{"Deliver_Subject":"x"}}`))
	f.Add("DIRECT.GET.CALLPOP", []byte(`{"seq":1,"batch":99}`))
	f.Add("STREAM.PURGE.CALLPOP", []byte(`{}`))
	f.Fuzz(func(t *testing.T, subject string, body []byte) {
		out, err := checkRequest(subject, body)
		if err != nil {
			return
		}
		switch {
		case strings.Contains(subject, ".CREATE."):
			var got server.CreateConsumerRequest
			for d := json.NewDecoder(bytes.NewReader(out)); d.Decode(&got) == nil; {
			}
			if c := got.Config; c.DeliverSubject != "" || c.Direct || c.Sourcing {
				t.Errorf("%q became %q", body, out)
			}
		case strings.HasPrefix(subject, "DIRECT.GET.") && len(out) > 0:
			var got server.JSApiMsgGetRequest
			for d := json.NewDecoder(bytes.NewReader(out)); d.Decode(&got) == nil; {
			}
			if got.MaxBytes < 1 || got.MaxBytes > maxDirectBytes {
				t.Errorf("%q became %q", body, out)
			}
		}
	})
}

func TestSubjectsMatchAsNATSMatchesThem(t *testing.T) {
	for _, c := range []struct {
		pattern, subject string
		want             bool
	}{
		{"INFO", "INFO", true},
		{"INFO", "INFO.x", false},
		{"A.*", "A.b", true},
		{"A.*", "A", false},
		{"A.*", "A.b.c", false},
		{"A.*", "A.", false},
		{"A.>", "A.b.c", true},
		{"A.>", "A", false},
		{"A.>", "A.", false},
		{"A.B", "A.BB", false},
	} {
		if got := matches(c.pattern, c.subject); got != c.want {
			t.Errorf("matches(%q, %q) = %v", c.pattern, c.subject, got)
		}
	}
}
