package schema

import _ "embed" // for the schemas

var (
	//go:embed callpop.v1.json
	callPopSchema string
	//go:embed callpop.session.v1.json
	sessionChangedSchema string
	//go:embed callpop.dlq.v1.json
	deadLetterSchema string
)

// JSONSchema returns the JSON Schema, draft 2020-12, of the bodies of a type: a
// copy, or nil for a type that is not of this package. Its content is open: a
// consumer accepts fields that it does not know, since additions keep version 1.
func JSONSchema(t Type) []byte {
	switch t {
	case TypeCallPop:
		return []byte(callPopSchema)
	case TypeSessionChanged:
		return []byte(sessionChangedSchema)
	case TypeDeadLetter:
		return []byte(deadLetterSchema)
	default:
		return nil
	}
}
