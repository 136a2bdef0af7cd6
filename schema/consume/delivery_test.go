package consume_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/segmentio/kafka-go"
	"go.opentelemetry.io/otel/trace"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/schema/consume"
)

const (
	traceParent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	sequence    = "0190c42e-00000000000000000042"
)

// golden is an event with the body of one of the contract's golden files.
func golden(t testing.TB, kind schema.Type, name string) schema.Event {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("..", "testdata", string(kind)+"."+name+".golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	var head struct {
		ID, Server, Key string
		ReceivedAt, At  time.Time
	}
	if err := json.Unmarshal(body, &head); err != nil {
		t.Fatal(err)
	}
	return schema.Event{
		Type: kind, ID: head.ID, Key: head.Key, Server: head.Server, Agent: "801",
		Time: time.Date(2026, 11, 23, 1, 2, 3, 4, time.UTC), Body: body,
		TraceParent: traceParent, TraceState: "vendor=1",
	}
}

// fromNATS sends an event through the types of nats.go.
func fromNATS(e *schema.Event, more ...string) (consume.Delivery, error) {
	m := nats.NewMsg("callpop.v1.hq.801")
	for name, value := range e.NATSHeaders() {
		m.Header[name] = []string{value}
	}
	for i := 0; i+1 < len(more); i += 2 {
		m.Header[more[i]] = []string{more[i+1]}
	}
	return consume.FromNATS(m.Header, e.Body)
}

// fromKafka sends an event through the types of kafka-go.
func fromKafka(e *schema.Event, more ...string) (consume.Delivery, error) {
	var m kafka.Message
	for name, value := range e.KafkaHeaders() {
		m.Headers = append(m.Headers, kafka.Header{Key: name, Value: []byte(value)})
	}
	for i := 0; i+1 < len(more); i += 2 {
		m.Headers = append(m.Headers, kafka.Header{Key: more[i], Value: []byte(more[i+1])})
	}
	return consume.FromKafka(kafkaHeaders(m.Headers), e.Body)
}

func kafkaHeaders(headers []kafka.Header) iter.Seq2[string, []byte] {
	return func(yield func(string, []byte) bool) {
		for _, h := range headers {
			if !yield(h.Key, h.Value) {
				return
			}
		}
	}
}

var carriers = map[string]struct {
	from     func(*schema.Event, ...string) (consume.Delivery, error)
	sequence string
}{
	"NATS":  {fromNATS, schema.NATSSpoolSequence},
	"Kafka": {fromKafka, schema.KafkaSpoolSequence},
}

func TestEveryGoldenBodyIsReadFromBothBrokers(t *testing.T) {
	files, err := filepath.Glob(filepath.Join("..", "testdata", "*.golden.json"))
	if err != nil || len(files) < 20 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, file := range files {
		for _, kind := range schema.Types {
			name, ours := strings.CutPrefix(strings.TrimSuffix(filepath.Base(file), ".golden.json"), string(kind)+".")
			if !ours {
				continue
			}
			for carrier, c := range carriers {
				event := golden(t, kind, name)
				d, err := c.from(&event, c.sequence, sequence)
				if err != nil {
					t.Errorf("%s, %s: %v", carrier, file, err)
					continue
				}
				if !reflect.DeepEqual(d.Event, event) || d.SpoolSequence != sequence || d.Replay != "" {
					t.Errorf("%s, %s: read %+v, want %+v", carrier, file, d.Event, event)
				}
				again := reencode(t, &d)
				if want := bytes.TrimSpace(event.Body); !bytes.Equal(again, want) {
					t.Errorf("%s, %s: the body's struct gives\n%s, want\n%s", carrier, file, again, want)
				}
			}
		}
	}
}

// reencode writes the one body that is set as the connector does.
func reencode(t *testing.T, d *consume.Delivery) []byte {
	t.Helper()
	var bodies [][]byte
	if d.CallPop != nil {
		bodies = append(bodies, d.CallPop.AppendJSON(nil))
	}
	if d.SessionChanged != nil {
		bodies = append(bodies, d.SessionChanged.AppendJSON(nil))
	}
	if d.DeadLetter != nil {
		bodies = append(bodies, d.DeadLetter.AppendJSON(nil))
	}
	if len(bodies) != 1 {
		t.Fatalf("%d bodies are set, want 1", len(bodies))
	}
	return bodies[0]
}

func TestTheCaseOfANATSHeaderDoesNotMatter(t *testing.T) {
	event := golden(t, schema.TypeCallPop, "full")
	header := map[string][]string{}
	for name, value := range event.NATSHeaders() {
		header[strings.ToUpper(name)] = []string{value}
	}
	if d, err := consume.FromNATS(header, event.Body); err != nil || d.CallPop == nil || d.Event.TraceParent != traceParent {
		t.Errorf("got %+v, %v", d.Event, err)
	}
}

func TestTheLastKafkaHeaderOfANameCounts(t *testing.T) {
	event := golden(t, schema.TypeCallPop, "full")
	d, err := fromKafka(&event, schema.HeaderReplay, "first", schema.HeaderReplay, "second")
	if err != nil || d.Replay != "second" {
		t.Errorf("replay is %q, %v", d.Replay, err)
	}
}

func TestWhatIsNoEventIsInvalidAndQuotesNothing(t *testing.T) {
	const number = "13812345678"
	full := golden(t, schema.TypeCallPop, "full")
	with := func(change func(body map[string]any)) func(*schema.Event) {
		return func(e *schema.Event) {
			var body map[string]any
			if err := json.Unmarshal(e.Body, &body); err != nil {
				t.Fatal(err)
			}
			change(body)
			e.Body, _ = json.Marshal(body)
		}
	}
	for _, c := range []struct {
		name   string
		change func(*schema.Event)
		want   string
		is     error
	}{
		{"no id", func(e *schema.Event) { e.ID = "" }, "id is missing", consume.ErrInvalid},
		{"no JSON", func(e *schema.Event) { e.Body = []byte(`{"customer":"` + number) }, "no JSON", consume.ErrInvalid},
		{"an empty body", func(e *schema.Event) { e.Body = nil }, "no JSON", consume.ErrInvalid},
		{"something behind the body", func(e *schema.Event) { e.Body = append(bytes.TrimSpace(e.Body), number...) }, "no JSON", consume.ErrInvalid},
		{"a list", func(e *schema.Event) { e.Body = []byte("[]") }, `breaks the rule "type"`, consume.ErrInvalid},
		{"a missing field", with(func(b map[string]any) { delete(b, "key") }), `breaks the rule "required"`, consume.ErrInvalid},
		{"a wrong type", with(func(b map[string]any) { b["customer"] = number }), `at "/customer": breaks the rule "type"`, consume.ErrInvalid},
		{"an empty string", with(func(b map[string]any) { b["customer"] = map[string]any{"number": ""} }), `at "/customer/number": breaks the rule "minLength"`, consume.ErrInvalid},
		{"another version", with(func(b map[string]any) { b["version"] = 2 }), `at "/version"`, consume.ErrInvalid},
		{"a time that is none", with(func(b map[string]any) { b["received_at"] = number }), `at "/received_at": breaks the rule "format"`, consume.ErrInvalid},
		{"another id in the body", with(func(b map[string]any) { b["id"] = "019a0000-0000-7000-8000-000000000000" }), "the id of the headers is not that of the body", consume.ErrInvalid},
		{"a body that is too long", func(e *schema.Event) { e.Body = make([]byte, consume.MaxBody+1) }, "1048577 bytes: expected at most 1048576", consume.ErrInvalid},
		{"a later version's type", func(e *schema.Event) { e.Type = "callpop.v2" }, `"callpop.v2"`, consume.ErrUnknownType},
	} {
		for carrier, from := range carriers {
			event := full
			c.change(&event)
			_, err := from.from(&event)
			if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), number) {
				t.Errorf("%s, %s: got %v, want %v with %s", carrier, c.name, err, c.is, c.want)
			}
		}
	}
	for name, from := range map[string]func() (consume.Delivery, error){
		"NATS":  func() (consume.Delivery, error) { return consume.FromNATS(nil, full.Body) },
		"Kafka": func() (consume.Delivery, error) { return consume.FromKafka(kafkaHeaders(nil), full.Body) },
	} {
		if _, err := from(); !errors.Is(err, consume.ErrInvalid) {
			t.Errorf("%s without headers: %v", name, err)
		}
	}
}

func TestAnOverlapIsThatOfTheBody(t *testing.T) {
	for name, c := range carriers {
		event := golden(t, schema.TypeCallPop, "full")
		event.Overlap = "09709ed97e43c4775f918bb594808c20" // as the golden body has it
		if d, err := c.from(&event); err != nil || d.Event.Overlap != event.Overlap {
			t.Errorf("%s: read %q, %v", name, d.Event.Overlap, err)
		}
		event.Overlap = strings.Repeat("0", 32)
		if _, err := c.from(&event); !errors.Is(err, consume.ErrInvalid) || !strings.Contains(err.Error(), "callpop-overlap is not the fingerprint of the body") {
			t.Errorf("%s: another fingerprint: %v", name, err)
		}
		session := golden(t, schema.TypeSessionChanged, "full")
		session.Overlap = event.Overlap
		if _, err := c.from(&session); !errors.Is(err, consume.ErrInvalid) {
			t.Errorf("%s: a session with an overlap: %v", name, err)
		}
	}
}

func TestAFieldThatALaterVersionAddsIsLetThrough(t *testing.T) {
	event := golden(t, schema.TypeCallPop, "full")
	event.Body = append([]byte(`{"mood":"good",`), bytes.TrimSpace(event.Body)[1:]...)
	if d, err := fromNATS(&event); err != nil || d.CallPop == nil {
		t.Errorf("got %v", err)
	}
}

func TestAnEventIsLateByItsOwnTime(t *testing.T) {
	event := golden(t, schema.TypeCallPop, "full")
	d, err := fromNATS(&event)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		now  time.Time
		age  time.Duration
		late bool
	}{
		{event.Time.Add(-time.Hour), 0, false}, // the other clock is ahead
		{event.Time, 0, false},
		{event.Time.Add(time.Minute), time.Minute, false},
		{event.Time.Add(time.Minute + 1), time.Minute + 1, true},
	} {
		if age, late := d.Age(c.now), d.Late(c.now, time.Minute); age != c.age || late != c.late {
			t.Errorf("at %v: age %v, late %v", c.now, age, late)
		}
	}
}

func TestTheTraceGoesOn(t *testing.T) {
	event := golden(t, schema.TypeCallPop, "full")
	for name, c := range carriers {
		d, err := c.from(&event)
		if err != nil {
			t.Fatal(err)
		}
		got := trace.SpanContextFromContext(d.Context(t.Context()))
		if got.TraceID().String() != traceParent[3:35] || got.SpanID().String() != traceParent[36:52] ||
			!got.IsSampled() || !got.IsRemote() || got.TraceState().Get("vendor") != "1" {
			t.Errorf("%s: the context has %+v", name, got)
		}
		if link := d.Link(); !link.SpanContext.Equal(got) {
			t.Errorf("%s: the link leads to %+v", name, link.SpanContext)
		}
	}
	event.TraceParent, event.TraceState = "", ""
	d, err := fromNATS(&event)
	if err != nil {
		t.Fatal(err)
	}
	if d.Link().SpanContext.IsValid() || trace.SpanContextFromContext(d.Context(context.Background())).IsValid() {
		t.Error("there is a trace that nobody made")
	}
}

func FuzzNothingPanics(f *testing.F) {
	event := golden(f, schema.TypeCallPop, "full")
	f.Add(string(event.Type), event.ID, event.Body)
	f.Fuzz(func(_ *testing.T, kind, id string, body []byte) {
		e := schema.Event{Type: schema.Type(kind), ID: id, Server: "hq", Body: body}
		for _, c := range carriers {
			if d, err := c.from(&e); err == nil && d.Event.ID != id {
				panic("another id")
			}
		}
	})
}

func BenchmarkFromNATS(b *testing.B) {
	event := golden(b, schema.TypeCallPop, "full")
	m := nats.NewMsg("x")
	for name, value := range event.NATSHeaders() {
		m.Header[name] = []string{value}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := consume.FromNATS(m.Header, event.Body); err != nil {
			b.Fatal(err)
		}
	}
}
