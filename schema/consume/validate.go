package consume

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/callpop/connector/schema"
)

// schemas are compiled once, when the first event is read.
var schemas = sync.OnceValues(func() (map[schema.Type]*jsonschema.Schema, error) {
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiled := map[schema.Type]*jsonschema.Schema{}
	for _, kind := range schema.Types {
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.JSONSchema(kind)))
		if err != nil {
			return nil, err
		}
		if err := compiler.AddResource(kind.DataSchema(), document); err != nil {
			return nil, err
		}
		if compiled[kind], err = compiler.Compile(kind.DataSchema()); err != nil {
			return nil, err
		}
	}
	return compiled, nil
})

// validate says where a body differs from its schema, and how; never with what.
func validate(kind schema.Type, body []byte) error {
	compiled, err := schemas()
	if err != nil {
		return fmt.Errorf("compile the schema: %w", err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return place(err)
	}
	err = compiled[kind].Validate(value)
	var wrong *jsonschema.ValidationError
	if errors.As(err, &wrong) {
		return violation(wrong)
	}
	return err
}

// violation names the first field that breaks a rule, and the rule: the
// validator's own text quotes the value.
func violation(e *jsonschema.ValidationError) error {
	for len(e.Causes) > 0 {
		e = e.Causes[0]
	}
	path := ""
	for _, key := range e.InstanceLocation {
		path += "/" + key
	}
	rule := "schema"
	if keywords := e.ErrorKind.KeywordPath(); len(keywords) > 0 {
		rule = keywords[len(keywords)-1]
	}
	return fmt.Errorf("at %q: breaks the rule %q", cut(path), rule)
}

// place says where a body stops being JSON, or a field of another type than its
// own; the text of such an error may quote the body.
func place(err error) error {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("no JSON from byte %d on", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Errorf("field %s is no %s", cut(kind.Field), kind.Type)
	default:
		return errors.New("no JSON")
	}
}
