package source

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/pop"
)

// validators has a compiled schema for each type of event.
func validators(f *testing.F) map[schema.Type]*jsonschema.Schema {
	f.Helper()
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	compiled := map[schema.Type]*jsonschema.Schema{}
	for _, t := range schema.Types {
		document, err := jsonschema.UnmarshalJSON(bytes.NewReader(schema.JSONSchema(t)))
		if err != nil {
			f.Fatal(err)
		}
		if err := compiler.AddResource(t.DataSchema(), document); err != nil {
			f.Fatal(err)
		}
		if compiled[t], err = compiler.Compile(t.DataSchema()); err != nil {
			f.Fatal(err)
		}
	}
	return compiled
}

// FuzzAssemble: whatever a socket or a callback brings becomes an event whose body
// is valid JSON that the schema accepts, whose key and ids are those of its body,
// and whose shard is that of every pop with the same call.
func FuzzAssemble(f *testing.F) {
	for _, seed := range []string{
		benchmarkPop, "2,02586307627,1000,1208674344953,NA", "H=t1v4,ph=86307627,ty=5,sn=1,so=802,da=a:1|b:\xd0\xd5,dm=1;2;",
		"phone=1&oper=801&ch=8&startTime=564646465266&id=&dtmf=1;2;&x=%C4%FA", "H=t1v9,ph=\x00\xff,sn= ,id=NA,ty=0,=,,zz", "",
	} {
		f.Add([]byte(seed), false)
		f.Add([]byte(seed), true)
	}
	valid := validators(f)
	numbers, err := NewNumbers("025")
	if err != nil {
		f.Fatal(err)
	}
	o := &Origin{
		Type: "session", Name: "hq", Server: "hq", Agent: "801", Channel: "12",
		Decoding: &Decoding{Charset: pop.Auto, Location: time.FixedZone("+08", 8*3600), Numbers: numbers},
	}
	a := NewAssembler()
	f.Fuzz(func(t *testing.T, raw []byte, callback bool) {
		at := time.Date(2026, 11, 23, 7, 0, 0, 123456789, time.UTC)
		assemble := a.Pop
		if callback {
			assemble = a.Callback
		}
		event, labels, err := assemble(o, at, raw)
		if (err != nil) != (event.Type == schema.TypeDeadLetter) || (labels.Reason != "") != (err != nil) {
			t.Fatalf("%s, %+v, %v", event.Type, labels, err)
		}
		body, err := jsonschema.UnmarshalJSON(bytes.NewReader(event.Body))
		if err != nil {
			t.Fatalf("%q: %v", event.Body, err)
		}
		if err := valid[event.Type].Validate(body); err != nil {
			t.Fatalf("%s: %v", event.Body, err)
		}
		if event.Type != schema.TypeCallPop {
			return
		}
		var p schema.CallPop
		if err := json.Unmarshal(event.Body, &p); err != nil {
			t.Fatal(err)
		}
		if p.ID != event.ID || p.Key != event.Key || p.Key != schema.Key("hq", p.Call.SN, p.Call.ID, p.ID) {
			t.Fatalf("event %s %s, body %s", event.ID, event.Key, event.Body)
		}
	})
}
