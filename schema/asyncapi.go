package schema

import _ "embed" // for the document

//go:embed asyncapi.yaml
var asyncAPI string

// AsyncAPI returns the AsyncAPI 3.1 document of all that the connector publishes,
// in YAML: channels of both brokers, messages, headers, examples. It refers to the
// files that [JSONSchema] gives, next to it, as <type>.json.
func AsyncAPI() []byte { return []byte(asyncAPI) }
