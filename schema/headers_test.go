package schema_test

import (
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/callpop/connector/schema"
)

// style is one of the two ways to carry an event.
type style struct {
	name    string
	prefix  string
	headers func(*schema.Event) iter.Seq2[string, string]
	from    func(get func(string) string, body []byte) (schema.Event, error)
	decode  func(string) string
}

var styles = []style{
	{"NATS", schema.NATSPrefix, (*schema.Event).NATSHeaders, schema.FromNATSHeaders, percentDecoded},
	{"Kafka", schema.KafkaPrefix, (*schema.Event).KafkaHeaders, schema.FromKafkaHeaders, func(s string) string { return s }},
}

// percentDecoded is a second implementation of the HTTP binding's decoding.
func percentDecoded(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b.WriteByte(s[i])
			continue
		}
		var c byte
		if _, err := fmt.Sscanf(s[i+1:i+3], "%02X", &c); err != nil {
			panic(err)
		}
		b.WriteByte(c)
		i += 2
	}
	return b.String()
}

func testEvents() []schema.Event {
	at := time.Date(2026, 11, 22, 8, 0, 0, 123456789, time.FixedZone("", 8*3600))
	var events []schema.Event
	for _, kind := range schema.Types {
		for i, name := range append(slices.Clone(awkward), "801") {
			events = append(events, schema.Event{
				Type: kind, ID: schema.NewID(at), Key: schema.AgentKey(name, "sn "+name), Server: name, Agent: awkward[(i+1)%len(awkward)],
				Time: at.Add(time.Duration(i)), Body: []byte(`{"id":"1"}`),
				TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", TraceState: "vendor=a b,c=d",
			})
			if i%2 == 0 {
				events[len(events)-1].Overlap = schema.Fingerprint(name, name, nil)
			}
		}
		events = append(events, schema.Event{Type: kind, ID: "1", Key: "hq", Server: "hq", Time: time.Unix(0, 0), Body: []byte("{}")})
	}
	return events
}

// awkward names of servers and agents, all of them UTF-8.
var awkward = []string{
	"a b", `say "no"`, "张三", "x\r\nNats-Msg-Id: 1", "x\nce-type: y", "50%", "%0D%0A", "a/b", "../..", "?q#f", "\t", "\x00\x7f", "😀", "=,;:@&", " lead", "trail ",
}

func headerMap(t *testing.T, seq iter.Seq2[string, string]) map[string]string {
	t.Helper()
	m := make(map[string]string)
	for name, value := range seq {
		if _, ok := m[name]; ok {
			t.Fatalf("header %s comes twice", name)
		}
		m[name] = value
	}
	return m
}

func lookup(m map[string]string) func(string) string {
	return func(name string) string { return m[name] }
}

func TestAnEventComesBackFromItsHeaders(t *testing.T) {
	for _, s := range styles {
		for _, want := range testEvents() {
			got, err := s.from(lookup(headerMap(t, s.headers(&want))), want.Body)
			if err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			want.Time = want.Time.UTC()
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s:\n got %+v\nwant %+v", s.name, got, want)
			}
		}
	}
}

func TestANATSHeaderValueNeverNeedsASecondLine(t *testing.T) {
	for _, event := range testEvents() {
		event.TraceState = "a\r\nb=c"
		for name, value := range event.NATSHeaders() {
			if i := strings.IndexFunc(value, func(r rune) bool { return r < 0x21 || r > 0x7E || r == '"' }); i >= 0 {
				t.Errorf("%s has %q in its value", name, value[i])
			}
			if name == schema.HeaderTraceState {
				t.Error("a trace state with a line end got through")
			}
		}
		event.TraceParent = "00-\n"
		for name := range event.KafkaHeaders() {
			if name == schema.HeaderTraceParent {
				t.Error("a trace parent with a line end got through")
			}
		}
	}
}

func TestHeadersAreTheAttributesInTheirOrder(t *testing.T) {
	event := schema.Event{
		Type: schema.TypeCallPop, ID: "01", Key: "h q/1", Server: "h q", Agent: "张",
		Time: time.Date(2026, 11, 22, 8, 0, 0, 5, time.FixedZone("", 8*3600)), TraceParent: "00-a-b-01", TraceState: "c=d e",
		Overlap: "09709ed97e43c4775f918bb594808c20",
	}
	for _, c := range []struct {
		name string
		seq  iter.Seq2[string, string]
		want string
	}{
		{"attributes", event.Attributes(), `id=01
source=/lq/h%20q
type=callpop.v1
subject=张
time=2026-11-22T00:00:00.000000005Z
dataschema=https://github.com/callpop/connector/schema/callpop.v1.json
specversion=1.0
partitionkey=h q/1
`},
		{"NATS", event.NATSHeaders(), `content-type=application/json
ce-datacontenttype=application/json
ce-id=01
ce-source=/lq/h%2520q
ce-type=callpop.v1
ce-subject=%E5%BC%A0
ce-time=2026-11-22T00:00:00.000000005Z
ce-dataschema=https://github.com/callpop/connector/schema/callpop.v1.json
ce-specversion=1.0
ce-partitionkey=h%20q/1
callpop-overlap=09709ed97e43c4775f918bb594808c20
traceparent=00-a-b-01
tracestate=c=d e
`},
		{"Kafka", event.KafkaHeaders(), `content-type=application/json
ce_id=01
ce_source=/lq/h%20q
ce_type=callpop.v1
ce_subject=张
ce_time=2026-11-22T00:00:00.000000005Z
ce_dataschema=https://github.com/callpop/connector/schema/callpop.v1.json
ce_specversion=1.0
ce_partitionkey=h q/1
callpop-overlap=09709ed97e43c4775f918bb594808c20
traceparent=00-a-b-01
tracestate=c=d e
`},
	} {
		var b strings.Builder
		for name, value := range c.seq {
			fmt.Fprintf(&b, "%s=%s\n", name, value)
		}
		if got := b.String(); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
		// A consumer may stop at any place.
		for stop := range strings.Count(c.want, "\n") {
			seen := 0
			for range c.seq {
				if seen++; seen > stop {
					break
				}
			}
			if seen != stop+1 {
				t.Errorf("%s: stopped after %d, want %d", c.name, seen, stop+1)
			}
		}
	}
}

func TestAttributesWithoutAValueAreLeftOut(t *testing.T) {
	event := schema.Event{Type: "other.v9", ID: "1", Server: "hq"}
	for _, seq := range []iter.Seq2[string, string]{event.Attributes(), event.NATSHeaders(), event.KafkaHeaders()} {
		m := headerMap(t, seq)
		for name, value := range m {
			if value == "" {
				t.Errorf("%s is empty", name)
			}
			for _, absent := range []string{"subject", "dataschema", "partitionkey", "traceparent", "tracestate"} {
				if strings.HasSuffix(name, absent) {
					t.Errorf("%s is there, with %q", name, value)
				}
			}
		}
	}
}

func TestBytesThatAreNotUTF8BecomeReplacementCharacters(t *testing.T) {
	for _, s := range styles {
		event := schema.Event{Type: schema.TypeCallPop, ID: "1", Key: "k\xff\xfe", Server: "s\xff", Agent: "张\xe5\xbc", Time: time.Unix(0, 0)}
		for name, value := range s.headers(&event) {
			if !utf8.ValidString(s.decode(value)) {
				t.Errorf("%s: %s is not UTF-8: %q", s.name, name, value)
			}
		}
		got, err := s.from(lookup(headerMap(t, s.headers(&event))), nil)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if got.Key != "k\ufffd\ufffd" || got.Server != "s\ufffd" || got.Agent != "张\ufffd\ufffd" {
			t.Errorf("%s: got key %q, server %q, agent %q", s.name, got.Key, got.Server, got.Agent)
		}
	}
}

func TestHeadersThatAreNoEventAreAnError(t *testing.T) {
	for _, s := range styles {
		event := testEvents()[0]
		good := headerMap(t, s.headers(&event))
		for _, c := range []struct{ attribute, value, want string }{
			{"id", "", "is missing"},
			{"source", "", "is missing"},
			{"type", "", "is missing"},
			{"time", "", "is missing"},
			{"specversion", "", "is missing"},
			{"specversion", "0.3", "is not 1.0"},
			{"time", "yesterday", "is not an RFC 3339 time"},
			{"time", "1215770371375", "is not an RFC 3339 time"},
			{"source", "/lq", "one path segment"},
			{"source", "/lq/a/b", "one path segment"},
			{"source", "hq", "one path segment"},
			{"partitionkey", "\xff", "is not UTF-8"},
			{"id", "\xc0\xa0", "is not UTF-8"},
		} {
			bad := maps.Clone(good)
			bad[s.prefix+c.attribute] = c.value
			_, err := s.from(lookup(bad), nil)
			if err == nil {
				t.Errorf("%s: %s %q: no error", s.name, c.attribute, c.value)
				continue
			}
			if got := err.Error(); !strings.HasPrefix(got, "read event headers: "+s.prefix+c.attribute) || !strings.Contains(got, c.want) {
				t.Errorf("%s: %s %q: got %q, want the header's name and %q", s.name, c.attribute, c.value, got, c.want)
			}
			if strings.Contains(err.Error(), "yesterday") {
				t.Errorf("%s: the error quotes the value: %v", s.name, err)
			}
		}
	}
}

func TestAnOverlapIsAFingerprintOrAnError(t *testing.T) {
	event := testEvents()[1]
	for _, s := range styles {
		for _, bad := range []string{"1", strings.Repeat("0", 33), strings.Repeat("A", 32), strings.Repeat("0", 31) + "\n", strings.Repeat("é", 16)} {
			event.Overlap = bad
			headers := headerMap(t, s.headers(&event))
			if got, there := headers[schema.HeaderOverlap]; there {
				t.Errorf("%s: %q was written", s.name, got)
			}
			headers[schema.HeaderOverlap] = bad
			if _, err := s.from(lookup(headers), nil); err == nil || err.Error() != "read event headers: callpop-overlap is not a fingerprint" {
				t.Errorf("%s: %q: got %v", s.name, bad, err)
			}
		}
	}
}

func TestNATSValuesDecodeAsTheBindingAsks(t *testing.T) {
	event := testEvents()[0]
	for _, c := range []struct{ value, want string }{
		{"%e5%bc%a0", "张"},
		{"%41BC", "ABC"},
		{`"a b"`, "a b"},
		{`"a \"b\" \\ %20c"`, `a "b" \  c`},
		{`Euro%20%E2%82%AC%20%F0%9F%98%80`, "Euro € 😀"},
	} {
		headers := headerMap(t, event.NATSHeaders())
		headers["ce-partitionkey"] = c.value
		got, err := schema.FromNATSHeaders(lookup(headers), nil)
		if err != nil || got.Key != c.want {
			t.Errorf("value %q: got %q, %v, want %q", c.value, got.Key, err, c.want)
		}
	}
	for _, value := range []string{"%", "%4", "%zz", `"`, `"a`, `"a"b"`, `"a\"`, "%C0%A0", "%FF"} {
		headers := headerMap(t, event.NATSHeaders())
		headers["ce-partitionkey"] = value
		if got, err := schema.FromNATSHeaders(lookup(headers), nil); err == nil {
			t.Errorf("value %q: got the key %q, want an error", value, got.Key)
		}
	}
}

func TestAnEventCarriesWhatItsBodySays(t *testing.T) {
	r := newRandom(8)
	pop, session, letter := r.callPop(), r.sessionChanged(), r.deadLetter()
	for _, c := range []struct{ got, want schema.Event }{
		{pop.Event(), schema.Event{Type: "callpop.v1", ID: pop.ID, Key: pop.Key, Server: pop.Server, Agent: pop.Agent.ID, Time: pop.ReceivedAt, Body: pop.AppendJSON(nil)}},
		{session.Event(), schema.Event{Type: "callpop.session.v1", ID: session.ID, Key: schema.AgentKey(session.Server, session.Agent), Server: session.Server, Agent: session.Agent, Time: session.At, Body: session.AppendJSON(nil)}},
		{letter.Event(), schema.Event{Type: "callpop.dlq.v1", ID: letter.ID, Key: schema.AgentKey(letter.Server, letter.Agent), Server: letter.Server, Agent: letter.Agent, Time: letter.ReceivedAt, Body: letter.AppendJSON(nil)}},
	} {
		if !reflect.DeepEqual(c.got, c.want) {
			t.Errorf("got %+v, want %+v", c.got, c.want)
		}
	}
}

func TestAnEventKeepsNoneOfThePopsMemoryButNames(t *testing.T) {
	const id, key = "019a0000-0000-7000-8000-000000000000", "hq/<\"\u2028\\>"
	memory := []byte(id + key)
	text := unsafe.String(&memory[0], len(memory))
	pop := schema.CallPop{ID: text[:len(id)], Key: text[len(id):], Server: "hq", Format: schema.T1V5}
	event := pop.Event()
	clear(memory)
	if event.ID != id || event.Key != key {
		t.Errorf("got id %q and key %q, want %q and %q", event.ID, event.Key, id, key)
	}
}

// Whatever names an event has, its NATS headers stay on their lines and it comes
// back from both kinds of headers; whatever headers come in, nothing panics, and
// what is read as an event is read the same again.
func FuzzHeaders(f *testing.F) {
	for _, name := range awkward {
		f.Add(name, name, name, "/lq/"+name)
	}
	f.Fuzz(func(t *testing.T, server, agent, key, source string) {
		event := schema.Event{Type: schema.TypeCallPop, ID: "1", Key: key, Server: server, Agent: agent, Time: time.Unix(1, 1).UTC()}
		for _, s := range styles {
			headers := headerMap(t, s.headers(&event))
			for name, value := range headers {
				if s.name == "NATS" && strings.ContainsAny(value, "\r\n\x00") {
					t.Fatalf("%s is %q", name, value)
				}
			}
			got, err := s.from(lookup(headers), nil)
			if err != nil {
				t.Fatalf("%s: %v", s.name, err)
			}
			if utf8.ValidString(server) && utf8.ValidString(agent) && utf8.ValidString(key) && !reflect.DeepEqual(got, event) {
				t.Fatalf("%s: got %+v, want %+v", s.name, got, event)
			}
			headers[s.prefix+"source"], headers[s.prefix+"subject"] = source, agent
			if first, err := s.from(lookup(headers), nil); err == nil {
				second, err := s.from(lookup(headerMap(t, s.headers(&first))), nil)
				if err != nil || !reflect.DeepEqual(first, second) {
					t.Fatalf("%s: read %+v, then %+v, %v", s.name, first, second, err)
				}
			}
		}
	})
}
