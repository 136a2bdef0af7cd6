package schema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/invopop/jsonschema"
	validator "github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/callpop/connector/schema"
)

// generate returns the schema of a body's type: its fields as reflection finds
// them, with the notes of typeNotes and fieldNotes. used collects the notes.
func generate(t *testing.T, kind schema.Type, used map[string]bool) []byte {
	t.Helper()
	reflector := jsonschema.Reflector{AllowAdditionalProperties: true, ExpandedStruct: true, Anonymous: true}
	root := reflector.Reflect(bodies[kind])
	root.ID = jsonschema.ID(kind.DataSchema())
	annotate(t, reflect.TypeOf(bodies[kind]).Name(), root, used)
	for name, def := range root.Definitions {
		annotate(t, name, def, used)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	if err := e.Encode(root); err != nil {
		t.Fatal(err)
	}
	return []byte(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(b.String()))
}

// annotate adds the notes of one object and its fields, and the rules that hold
// for all: no string is empty, and neither is a map or one of its keys.
func annotate(t *testing.T, name string, object *jsonschema.Schema, used map[string]bool) {
	t.Helper()
	note, ok := typeNotes[name]
	if !ok {
		t.Fatalf("type %s has no note", name)
	}
	used[name] = true
	overlay(object, note)
	for field := object.Properties.Oldest(); field != nil; field = field.Next() {
		path := name + "." + field.Key
		note, ok := fieldNotes[path]
		if !ok || note.Description == "" {
			t.Fatalf("field %s has no description", path)
		}
		used[path] = true
		overlay(field.Value, note)
		switch s := field.Value; {
		case s.Type == "string" && s.Enum == nil && s.Format == "":
			s.MinLength = &one
		case s.Type == "object" && s.AdditionalProperties != nil:
			s.MinProperties = &one
			s.PropertyNames = &jsonschema.Schema{MinLength: &one}
			s.AdditionalProperties.MinLength = &one
		}
	}
}

// overlay copies what note says into s.
func overlay(s *jsonschema.Schema, note jsonschema.Schema) {
	to, from := reflect.ValueOf(s).Elem(), reflect.ValueOf(note)
	for i := range from.NumField() {
		if to.Type().Field(i).IsExported() && !from.Field(i).IsZero() {
			to.Field(i).Set(from.Field(i))
		}
	}
}

func TestTheSchemaFilesAreThoseOfTheTypes(t *testing.T) {
	used := make(map[string]bool)
	for _, kind := range schema.Types {
		name := string(kind) + ".json"
		if got, want := kind.DataSchema(), "https://github.com/callpop/connector/schema/"+name; got != want {
			t.Errorf("dataschema %q, want %q", got, want)
		}
		want := generate(t, kind, used)
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not that of the types: run go test ./schema -update, and read what changed", name)
		}
	}
	for name := range maps.Keys(typeNotes) {
		if !used[name] {
			t.Errorf("there is a note on %s, and no such type", name)
		}
	}
	for name := range maps.Keys(fieldNotes) {
		if !used[name] {
			t.Errorf("there is a note on %s, and no such field", name)
		}
	}
}

func TestJSONSchemaGivesACopyOfTheFile(t *testing.T) {
	for _, kind := range schema.Types {
		want, err := os.ReadFile(string(kind) + ".json")
		if err != nil {
			t.Fatal(err)
		}
		got := schema.JSONSchema(kind)
		if !*update && !bytes.Equal(got, want) {
			t.Errorf("%s: the schema built in is not the file", kind)
		}
		clear(got)
		if bytes.Equal(schema.JSONSchema(kind), got) {
			t.Errorf("%s: what a caller wrote into the schema stayed there", kind)
		}
	}
	if got := schema.JSONSchema("callpop.v2"); got != nil {
		t.Errorf("unknown type: got %d bytes, want none", len(got))
	}
}

// compiled returns the schema of a type, formats asserted.
func compiled(t *testing.T, kind schema.Type) *validator.Schema {
	t.Helper()
	document, err := validator.UnmarshalJSON(bytes.NewReader(schema.JSONSchema(kind)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := document.(map[string]any)["$schema"], "https://json-schema.org/draft/2020-12/schema"; got != want {
		t.Fatalf("%s: $schema %v, want %v", kind, got, want)
	}
	compiler := validator.NewCompiler()
	compiler.AssertFormat()
	compiler.AssertContent()
	if err := compiler.AddResource(kind.DataSchema(), document); err != nil {
		t.Fatal(err)
	}
	s, err := compiler.Compile(kind.DataSchema())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *validator.Schema, document []byte) error {
	t.Helper()
	v, err := validator.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatalf("%s: %v", document, err)
	}
	return s.Validate(v)
}

func TestTheSchemasTakeEveryEventOfTheContract(t *testing.T) {
	r := newRandom(9)
	pops, sessions, letters := compiled(t, schema.TypeCallPop), compiled(t, schema.TypeSessionChanged), compiled(t, schema.TypeDeadLetter)
	for range 2_000 {
		for _, c := range []struct {
			schema *validator.Schema
			body   body
		}{{pops, r.callPop()}, {sessions, r.sessionChanged()}, {letters, r.deadLetter()}} {
			b := c.body.AppendJSON(nil)
			if err := validate(t, c.schema, b); err != nil {
				t.Fatalf("%s\n%#v", b, err)
			}
		}
	}
	for file, g := range goldens() {
		if err := validate(t, compiled(t, g.kind), g.body.AppendJSON(nil)); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// An added field is no reason to refuse an event: additions keep version 1.
func TestTheSchemasTakeFieldsTheyDoNotKnow(t *testing.T) {
	for file, g := range goldens() {
		b := bytes.TrimSuffix(g.body.AppendJSON(nil), []byte("}"))
		b = append(b, `,"added_later":{"a":[1]}}`...)
		if err := validate(t, compiled(t, g.kind), b); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
}

func TestTheSchemasRefuseWhatTheContractDoesNotHave(t *testing.T) {
	full := map[schema.Type]body{}
	for file, g := range goldens() {
		if strings.HasSuffix(file, "full.golden.json") {
			full[g.kind] = g.body
		}
	}
	const remove = "remove"
	for _, c := range []struct {
		kind  schema.Type
		path  string
		value any
	}{
		{schema.TypeCallPop, "id", remove},
		{schema.TypeCallPop, "id", ""},
		{schema.TypeCallPop, "id", "1234"},
		{schema.TypeCallPop, "id", "6ba7b810-9dad-11d1-80b4-00c04fd430c8"}, // version 1
		{schema.TypeCallPop, "id", "019AA1B0-7D00-7000-8000-000000000001"},
		{schema.TypeCallPop, "fingerprint", "0123"},
		{schema.TypeCallPop, "fingerprint", remove},
		{schema.TypeCallPop, "version", 2},
		{schema.TypeCallPop, "version", "1"},
		{schema.TypeCallPop, "version", remove},
		{schema.TypeCallPop, "key", ""},
		{schema.TypeCallPop, "key", remove},
		{schema.TypeCallPop, "server", ""},
		{schema.TypeCallPop, "server", nil},
		{schema.TypeCallPop, "agent", "801"},
		{schema.TypeCallPop, "agent", map[string]any{}},
		{schema.TypeCallPop, "agent.id", ""},
		{schema.TypeCallPop, "agent.id", 801},
		{schema.TypeCallPop, "pop.code", 0},
		{schema.TypeCallPop, "pop.code", 1.5},
		{schema.TypeCallPop, "pop.code", "1"},
		{schema.TypeCallPop, "pop.code", 1e16},
		{schema.TypeCallPop, "pop.code", remove},
		{schema.TypeCallPop, "pop.mode", "callback"},
		{schema.TypeCallPop, "direction", "in"},
		{schema.TypeCallPop, "direction", ""},
		{schema.TypeCallPop, "call", map[string]any{}},
		{schema.TypeCallPop, "call.sn", ""},
		{schema.TypeCallPop, "call.sn", 1234},
		{schema.TypeCallPop, "call.id", remove}, // id_derived says that there is one
		{schema.TypeCallPop, "call.id_derived", false},
		{schema.TypeCallPop, "call.started_at", "2008-07-11 17:59:31"},
		{schema.TypeCallPop, "call.started_at", "2008-07-11T17:59:31"},
		{schema.TypeCallPop, "call.started_at", 1215770371375},
		{schema.TypeCallPop, "customer.number", remove},
		{schema.TypeCallPop, "customer.e164", "86307627"},
		{schema.TypeCallPop, "customer.e164", "+0862586307627"},
		{schema.TypeCallPop, "customer.e164", "+8625863076270000"},
		{schema.TypeCallPop, "ivr", map[string]any{}},
		{schema.TypeCallPop, "ivr.fields", map[string]any{}},
		{schema.TypeCallPop, "ivr.fields", map[string]any{"a": ""}},
		{schema.TypeCallPop, "ivr.fields", map[string]any{"": "a"}},
		{schema.TypeCallPop, "ivr.fields", map[string]any{"a": 1}},
		{schema.TypeCallPop, "format", "t1v6"},
		{schema.TypeCallPop, "format", remove},
		{schema.TypeCallPop, "declared_format", ""},
		{schema.TypeCallPop, "truncated", false},
		{schema.TypeCallPop, "extra", map[string]any{}},
		{schema.TypeCallPop, "extra", map[string]any{"a": nil}},
		{schema.TypeCallPop, "raw", ""},
		{schema.TypeCallPop, "raw", remove},
		{schema.TypeCallPop, "raw_base64", ""},
		{schema.TypeCallPop, "raw_base64", "abc"},
		{schema.TypeCallPop, "raw_base64", "ab-_"},
		{schema.TypeCallPop, "source", remove},
		{schema.TypeCallPop, "source.type", "socket"},
		{schema.TypeCallPop, "source.name", ""},
		{schema.TypeCallPop, "source.name", remove},
		{schema.TypeCallPop, "received_at", remove},
		{schema.TypeCallPop, "received_at", "2008-07-11T17:59:31+08:00"},
		{schema.TypeCallPop, "received_at", "2008-13-11T17:59:31Z"},
		{schema.TypeSessionChanged, "id", "1"},
		{schema.TypeSessionChanged, "version", 0},
		{schema.TypeSessionChanged, "agent", ""},
		{schema.TypeSessionChanged, "state", "up"},
		{schema.TypeSessionChanged, "state", remove},
		{schema.TypeSessionChanged, "ocx_code", 5},
		{schema.TypeSessionChanged, "ocx_code", remove},
		{schema.TypeSessionChanged, "cause", ""},
		{schema.TypeSessionChanged, "at", remove},
		{schema.TypeSessionChanged, "at", "now"},
		{schema.TypeSessionChanged, "gap", map[string]any{}},
		{schema.TypeSessionChanged, "gap.to", remove},
		{schema.TypeSessionChanged, "gap.from", ""},
		{schema.TypeSessionChanged, "source", remove},
		{schema.TypeDeadLetter, "id", remove},
		{schema.TypeDeadLetter, "version", remove},
		{schema.TypeDeadLetter, "reason", "bad"},
		{schema.TypeDeadLetter, "reason", remove},
		{schema.TypeDeadLetter, "detail", ""},
		{schema.TypeDeadLetter, "raw", ""},
		{schema.TypeDeadLetter, "raw_base64", "="},
		{schema.TypeDeadLetter, "received_at", "2008-07-11"},
		{schema.TypeDeadLetter, "sink", ""},
		{schema.TypeDeadLetter, "headers", map[string]any{}},
		{schema.TypeDeadLetter, "headers", map[string]any{"ce-id": []any{"1"}}},
	} {
		t.Run(fmt.Sprintf("%s %s %v", c.kind, c.path, c.value), func(t *testing.T) {
			var document map[string]any
			if err := json.Unmarshal(full[c.kind].AppendJSON(nil), &document); err != nil {
				t.Fatal(err)
			}
			object, names := document, strings.Split(c.path, ".")
			for _, name := range names[:len(names)-1] {
				object = object[name].(map[string]any)
			}
			last := names[len(names)-1]
			if _, ok := object[last]; !ok {
				t.Fatalf("the full event has no %s", c.path)
			}
			if c.value == remove {
				delete(object, last)
			} else {
				object[last] = c.value
			}
			wrong, err := json.Marshal(document)
			if err != nil {
				t.Fatal(err)
			}
			if err := validate(t, compiled(t, c.kind), wrong); err == nil {
				t.Errorf("the schema takes %s", wrong)
			}
		})
	}
}

// The fields are required or not as the types have them.
func TestTheSchemasRequireWhatIsAlwaysThere(t *testing.T) {
	for kind, want := range map[schema.Type][]string{
		schema.TypeCallPop:        {"id", "fingerprint", "version", "key", "server", "format", "raw", "source", "received_at"},
		schema.TypeSessionChanged: {"id", "version", "server", "state", "ocx_code", "at", "source"},
		schema.TypeDeadLetter:     {"id", "version", "server", "reason", "received_at", "source"},
	} {
		var got struct{ Required []string }
		if err := json.Unmarshal(schema.JSONSchema(kind), &got); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Required, want) {
			t.Errorf("%s: got %v, want %v", kind, got.Required, want)
		}
	}
}
