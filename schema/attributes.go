package schema

import (
	"iter"
	"net/url"
	"time"
	"unicode/utf8"
)

// SpecVersion is the version of CloudEvents that the attributes follow.
const SpecVersion = "1.0"

// ContentType is the content type of every body.
const ContentType = "application/json"

// Names of the CloudEvents attributes of an event.
const (
	AttributeID           = "id"
	AttributeSource       = "source"
	AttributeType         = "type"
	AttributeSubject      = "subject"
	AttributeTime         = "time"
	AttributeDataSchema   = "dataschema"
	AttributeSpecVersion  = "specversion"
	AttributePartitionKey = "partitionkey"
	// AttributeSpoolSequence is added by sinks, who know it: the event's place in
	// the spool, "<spool id>-<number, zero-padded>", which sorts as text.
	AttributeSpoolSequence = "spoolsequence"
)

// sourcePrefix begins the source attribute; the server's name follows.
const sourcePrefix = "/lq/"

// schemaBase is where the JSON Schemas are published; a type's name and .json
// follow.
const schemaBase = "https://github.com/callpop/connector/schema/"

// DataSchema returns the URI of the type's JSON Schema, which is also the
// schema's $id: CloudEvents' dataschema. It is empty for a type that is not of
// this package.
func (t Type) DataSchema() string {
	switch t {
	case TypeCallPop:
		return schemaBase + "callpop.v1.json"
	case TypeSessionChanged:
		return schemaBase + "callpop.session.v1.json"
	case TypeDeadLetter:
		return schemaBase + "callpop.dlq.v1.json"
	default:
		return ""
	}
}

// Attributes yields the CloudEvents attributes of the event, names without a
// prefix and values unescaped, in a fixed order: id, source, type, subject, time,
// dataschema, specversion, partitionkey. An attribute without a value is left
// out: subject where the agent is not known.
//
// source is /lq/ and the server's name as one URI path segment; subject is the
// agent; time is RFC 3339 in UTC; partitionkey is the key. Bytes that are not
// UTF-8 become U+FFFD each, as in the body.
func (e *Event) Attributes() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i, name := range attributeNames {
			if value := e.attribute(i); value != "" && !yield(name, value) {
				return
			}
		}
	}
}

// attributeNames is in the order of [Event.Attributes]; the header names of both
// brokers are in the same order.
var attributeNames = [...]string{
	attrID:           AttributeID,
	attrSource:       AttributeSource,
	attrType:         AttributeType,
	attrSubject:      AttributeSubject,
	attrTime:         AttributeTime,
	attrDataSchema:   AttributeDataSchema,
	attrSpecVersion:  AttributeSpecVersion,
	attrPartitionKey: AttributePartitionKey,
}

// Indexes into attributeNames.
const (
	attrID = iota
	attrSource
	attrType
	attrSubject
	attrTime
	attrDataSchema
	attrSpecVersion
	attrPartitionKey
	attrCount
)

// attribute returns the value of the attribute with an index of attributeNames.
func (e *Event) attribute(i int) string {
	switch i {
	case attrID:
		return valid(e.ID)
	case attrSource:
		return sourcePrefix + url.PathEscape(valid(e.Server))
	case attrType:
		return valid(string(e.Type))
	case attrSubject:
		return valid(e.Agent)
	case attrTime:
		var stack [40]byte
		if text, ok := appendRFC3339(stack[:0], e.Time.UTC()); ok {
			return string(text)
		}
		return e.Time.UTC().Format(time.RFC3339Nano)
	case attrDataSchema:
		return e.Type.DataSchema()
	case attrSpecVersion:
		return SpecVersion
	default:
		return valid(e.Key)
	}
}

// valid returns s with U+FFFD for each byte that is not UTF-8.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}
