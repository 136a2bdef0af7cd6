package schema_test

import (
	"bytes"
	"encoding/json"
	"iter"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/callpop/connector/schema"
)

const asyncAPIFile = "asyncapi.yaml"

type object = map[string]any

// asyncAPI puts the AsyncAPI document together, from what the package does: its
// subjects and topics, the headers that it writes, and the golden bodies.
func asyncAPI(t *testing.T) []byte {
	t.Helper()
	channels, operations, messages := object{}, object{}, object{}
	for kind, about := range asyncAPITypes {
		event := goldenEvent(t, kind)
		for carrier, c := range asyncAPICarriers {
			name := about.name + carrier
			reference := object{"$ref": "#/channels/" + name + "/messages/" + about.name}
			channel := object{
				"title":       about.title + ", on " + carrier,
				"description": about.description,
				"servers":     []any{object{"$ref": "#/servers/" + strings.ToLower(carrier)}},
				"messages":    object{about.name: object{"$ref": "#/components/messages/" + name}},
			}
			c.address(kind, channel)
			channels[name] = channel
			operations["send"+strings.ToUpper(name[:1])+name[1:]] = object{
				"action": "send", "channel": object{"$ref": "#/channels/" + name}, "messages": []any{reference},
				"summary": "The connector publishes; consumers receive.",
			}
			message := object{
				"name": string(kind), "title": about.title, "contentType": schema.ContentType,
				"headers": headersSchema(c, kind, &event),
				"payload": object{
					"schemaFormat": "application/schema+json;version=draft-2020-12",
					"schema":       object{"$ref": "./" + string(kind) + ".json"},
				},
				"examples": []any{object{"name": about.name, "headers": exampleHeaders(c.headers(&event), c.sequence), "payload": asValue(t, event.Body)}},
			}
			if carrier == "Kafka" {
				message["bindings"] = object{"kafka": object{
					"key": object{"type": "string", "description": about.key}, "bindingVersion": "0.5.0",
				}}
			}
			messages[name] = message
		}
	}
	var b bytes.Buffer
	b.WriteString("# Made from the package's types by go test ./schema -update; not to be edited.\n")
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(object{
		"asyncapi": "3.1.0",
		"info": object{
			"title":   "Screen-pop events of LQ-Connect call centres",
			"version": "1.0.0",
			"description": "What the callpop connector publishes: CloudEvents 1.0 in binary mode, bodies in JSON. Every event is delivered at least once; repeats carry the same id. " +
				"Events of one key keep their order within a Kafka partition, and on NATS within the stream. Subjects and topics are the defaults; the connector's configuration can name others.",
			"license": object{"name": "See the repository", "url": "https://github.com/callpop/connector"},
		},
		"defaultContentType": schema.ContentType,
		"servers": object{
			"nats":  object{"host": "nats.example:4222", "protocol": "nats", "description": "A NATS server or cluster with JetStream, or the connector's embedded broker."},
			"kafka": object{"host": "kafka.example:9092", "protocol": "kafka", "description": "An Apache Kafka cluster."},
		},
		"channels": channels, "operations": operations, "components": object{"messages": messages},
	}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

var asyncAPITypes = map[schema.Type]struct{ name, title, description, key, golden string }{
	schema.TypeCallPop: {
		"callPop", "CallPop", "A screen-pop reached an agent.",
		"The event's key, <server>/<serial number> or what stands for it: all pops of one call share it.", "full",
	},
	schema.TypeSessionChanged: {
		"sessionChanged", "SessionChanged", "An agent's session with the LQ server went up or down.",
		"<server>/<agent>.", "full",
	},
	schema.TypeDeadLetter: {
		"deadLetter", "Dead letter", "Something that could not become an event, or an event that a sink will never take.",
		"<server>/<agent>, or <server> where the agent is not known.", "full",
	},
}

// asyncAPICarrier is how one broker carries events.
type asyncAPICarrier struct {
	prefix, sequence string
	headers          func(*schema.Event) iter.Seq2[string, string]
	address          func(schema.Type, object)
}

var asyncAPICarriers = map[string]asyncAPICarrier{
	"NATS": {schema.NATSPrefix, schema.NATSSpoolSequence, (*schema.Event).NATSHeaders, func(kind schema.Type, channel object) {
		parameters := object{"server": object{"description": "The LQ server's name, percent-escaped to one token of letters, digits, hyphens and underscores."}}
		address := string(kind) + ".{server}"
		if kind != schema.TypeDeadLetter {
			address += ".{agent}"
			parameters["agent"] = object{"description": "The agent's operator number, escaped likewise; % where it is not known."}
		}
		channel["address"], channel["parameters"] = address, parameters
		channel["bindings"] = object{"nats": object{}}
	}},
	"Kafka": {schema.KafkaPrefix, schema.KafkaSpoolSequence, (*schema.Event).KafkaHeaders, func(kind schema.Type, channel object) {
		channel["address"] = string(kind)
		channel["bindings"] = object{"kafka": object{"topic": string(kind), "bindingVersion": "0.5.0"}}
	}},
}

// attributeNotes describe the headers, without a carrier's prefix.
var attributeNotes = map[string]string{
	schema.AttributeID:            "The event's id, a UUIDv7: de-duplicate by it.",
	schema.AttributeSource:        "/lq/ and the LQ server's name as one URI path segment.",
	schema.AttributeType:          "The event's type.",
	schema.AttributeSubject:       "The agent's operator number; absent where it is not known.",
	schema.AttributeTime:          "When the event was received or happened: RFC 3339, UTC.",
	schema.AttributeDataSchema:    "The URI of the body's JSON Schema.",
	schema.AttributeSpecVersion:   "The version of CloudEvents.",
	schema.AttributePartitionKey:  "The event's key: what orders and partitions it.",
	schema.AttributeSpoolSequence: "The event's place in the connector's spool, which sorts as text; absent on the embedded broker.",
	"datacontenttype":             "As content-type.",
	schema.HeaderContentType:      "The body's media type.",
	schema.HeaderTraceParent:      "The W3C trace context made when the event was accepted; absent without tracing.",
	schema.HeaderTraceState:       "As traceparent.",
	schema.HeaderOverlap:          "Present where two replicas of the connector may both have received the pop: its fingerprint. Copies have the same value, and ids of their own: drop all but one.",
	schema.HeaderReplay:           "Present on what a replay sent: the replay's name. The id and the body are those of the first time.",
}

// headersSchema is a JSON Schema of the headers: those that are always there are
// required.
func headersSchema(c asyncAPICarrier, kind schema.Type, event *schema.Event) object {
	properties := object{}
	describe := func(name string, rule object) {
		rule["type"] = "string"
		rule["description"] = attributeNotes[strings.TrimPrefix(name, c.prefix)]
		properties[name] = rule
	}
	for name, value := range c.headers(event) {
		rule := object{}
		switch strings.TrimPrefix(name, c.prefix) {
		case schema.AttributeType, schema.AttributeDataSchema, schema.AttributeSpecVersion, schema.HeaderContentType, "datacontenttype":
			rule["const"] = value
		case schema.AttributeTime:
			rule["format"] = "date-time"
		case schema.AttributeID:
			rule["format"] = "uuid"
		}
		describe(name, rule)
	}
	describe(c.sequence, object{})
	describe(schema.HeaderReplay, object{})
	if kind == schema.TypeCallPop {
		describe(schema.HeaderOverlap, object{"pattern": "^[0-9a-f]{32}$"})
	}
	bare := schema.Event{Type: kind, ID: event.ID, Key: event.Key, Server: event.Server, Time: event.Time}
	always := maps.Collect(c.headers(&bare))
	return object{"type": "object", "properties": properties, "required": slices.Sorted(maps.Keys(always))}
}

func exampleHeaders(headers iter.Seq2[string, string], sequence string) object {
	example := object{sequence: "0190c42e71a3-00000000000000000042"}
	for name, value := range headers {
		example[name] = value
	}
	return example
}

// goldenEvent is the event of a type's fullest golden body, traced.
func goldenEvent(t *testing.T, kind schema.Type) schema.Event {
	t.Helper()
	g := goldens()[string(kind)+"."+asyncAPITypes[kind].golden+".golden.json"]
	var event schema.Event
	switch body := g.body.(type) {
	case *schema.CallPop:
		event = body.Event()
	case *schema.SessionChanged:
		event = body.Event()
	case *schema.DeadLetter:
		event = body.Event()
	default:
		t.Fatalf("a golden body is a %T", body)
	}
	event.TraceParent, event.TraceState = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "vendor=1"
	return event
}

func asValue(t *testing.T, body []byte) any {
	t.Helper()
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestTheAsyncAPIDocumentIsThatOfTheTypes(t *testing.T) {
	want := asyncAPI(t)
	if *update {
		if err := os.WriteFile(asyncAPIFile, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(asyncAPIFile)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is not that of the types: run go test ./schema -update, and read what changed", asyncAPIFile)
	}
	if !*update && !bytes.Equal(schema.AsyncAPI(), got) {
		t.Errorf("the document built in is not the file")
	}
}

func TestTheAsyncAPIDocumentNamesWhereEventsGo(t *testing.T) {
	var document struct {
		Channels map[string]struct{ Address string }
	}
	if err := yaml.Unmarshal(asyncAPI(t), &document); err != nil {
		t.Fatal(err)
	}
	for kind, about := range asyncAPITypes {
		event := goldenEvent(t, kind)
		address := strings.NewReplacer("{server}", schema.Token(event.Server), "{agent}", schema.Token(event.Agent)).
			Replace(document.Channels[about.name+"NATS"].Address)
		if want := event.Subject(); address != want {
			t.Errorf("%s: the document's NATS address is %s, the event's subject %s", kind, address, want)
		}
		if got := document.Channels[about.name+"Kafka"].Address; got != string(kind) {
			t.Errorf("%s: the document's topic is %s", kind, got)
		}
	}
	if files, err := filepath.Glob("callpop*.json"); err != nil || len(files) != len(asyncAPITypes) {
		t.Errorf("%d schemas, %d types in the document", len(files), len(asyncAPITypes))
	}
}
