package schema_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
)

var update = flag.Bool("update", false, "write the JSON Schemas anew, and add golden files that are not there yet; one that is there never changes")

// A golden is an event whose encoding is frozen in testdata.
type golden struct {
	kind schema.Type
	body body
	// empty is a new value of the body's type.
	empty any
}

// goldens returns the frozen events by their files' names. Those of version 1
// may be added to, but never change: a body that must look otherwise is version 2.
func goldens() map[string]golden {
	all := make(map[string]golden)
	for name, p := range goldenCallPops() {
		all["callpop.v1."+name+".golden.json"] = golden{schema.TypeCallPop, p, &schema.CallPop{}}
	}
	for name, s := range goldenSessions() {
		all["callpop.session.v1."+name+".golden.json"] = golden{schema.TypeSessionChanged, s, &schema.SessionChanged{}}
	}
	for name, d := range goldenDeadLetters() {
		all["callpop.dlq.v1."+name+".golden.json"] = golden{schema.TypeDeadLetter, d, &schema.DeadLetter{}}
	}
	return all
}

func TestVersion1IsEncodedAsItsGoldenFilesAre(t *testing.T) {
	for name, g := range goldens() {
		path := filepath.Join("testdata", name)
		got := append(g.body.AppendJSON(nil), '\n')
		want, err := os.ReadFile(path)
		if *update && errors.Is(err, fs.ErrNotExist) {
			want, err = got, writeNew(path, got)
		}
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: version 1 is frozen, and -update does not change its file; a different encoding is a new version\n got %s\nwant %s", name, got, want)
		}
		d := json.NewDecoder(bytes.NewReader(want))
		d.DisallowUnknownFields()
		if err := d.Decode(g.empty); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		sameValue(t, g.empty, g.body)
	}
}

// writeNew writes a file that is not there.
func writeNew(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

func TestAGoldenFileIsNeverWrittenTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "testdata", "a.golden.json")
	if err := writeNew(path, []byte("first")); err != nil {
		t.Fatal(err)
	}
	if err := writeNew(path, []byte("second")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v, want %v", err, fs.ErrExist)
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != "first" {
		t.Errorf("got %q, %v, want first", got, err)
	}
}

func TestEveryGoldenFileHasItsEvent(t *testing.T) {
	files, err := filepath.Glob("testdata/*.golden.json")
	if err != nil {
		t.Fatal(err)
	}
	all := goldens()
	for _, file := range files {
		if _, ok := all[filepath.Base(file)]; !ok {
			t.Errorf("%s: no event of this name; a frozen one may not be taken away", file)
		}
	}
}

var (
	shanghai   = time.FixedZone("", 8*3600)
	receivedAt = time.Date(2008, 7, 11, 9, 59, 31, 512345678, time.UTC)
)

const (
	goldenID     = "019aa1b0-7d00-7000-8000-000000000001"
	goldenSource = "hq"
)

// goldenPop fills in what every pop has.
func goldenPop(p schema.CallPop) *schema.CallPop {
	p.ID = goldenID
	p.Version = schema.Version
	p.Server = "hq"
	p.Fingerprint = schema.Fingerprint(p.Server, p.Agent.ID, []byte(p.Raw))
	p.Key = schema.Key(p.Server, p.Call.SN, p.Call.ID, p.ID)
	if p.Source == (schema.Source{}) {
		p.Source = schema.Source{Type: "session", Name: goldenSource}
	}
	p.ReceivedAt = receivedAt
	return &p
}

// goldenCallPops are the manual's own examples, as they decode, a pop with every
// field and one with as few as can be.
func goldenCallPops() map[string]*schema.CallPop {
	second := time.Date(2008, 7, 11, 17, 59, 31, 0, shanghai)
	milli := second.Add(375 * time.Millisecond)
	local := schema.Customer{Number: "86307627", E164: "+862586307627"}
	agent := schema.Agent{ID: "801"}
	inbound := schema.PopKind{Mode: schema.ModeInbound, Code: 1}
	return map[string]*schema.CallPop{
		"t1v1": goldenPop(schema.CallPop{
			Agent: agent,
			Call: schema.Call{
				ID: "12086743449532", IDDerived: true, Line: "2",
				StartedAt: time.UnixMilli(1208674344953).In(shanghai),
			},
			Customer: schema.Customer{Number: "02586307627", E164: "+862586307627"},
			Format:   schema.T1V1, Extra: map[string]string{"spare": "1000"},
			Raw: "2,02586307627,1000,1208674344953,NA",
		}),
		"t1v2": goldenPop(schema.CallPop{
			Agent: agent, Call: schema.Call{ID: "12157703713752", Line: "2", StartedAt: milli}, Customer: local,
			Format: schema.T1V2, Raw: "H=t1v2,ch=2,ph=86307627,id=12157703713752,tm=080711175931,dm=0;",
		}),
		"t1v3": goldenPop(schema.CallPop{
			Agent: agent, Call: schema.Call{SN: "1234", ID: "12157703713752", Line: "2", StartedAt: milli}, Customer: local,
			Format: schema.T1V3, Raw: "H=t1v3,ch=2,ph=86307627,id=12157703713752,tm=080711175931,op=801,sn=1234,dm=0;",
		}),
		"t1v4": goldenPop(schema.CallPop{
			Agent: agent, Pop: inbound, Direction: schema.Inbound,
			Call: schema.Call{SN: "1234", Line: "2", StartedAt: second}, Customer: local,
			Format: schema.T1V4, Extra: map[string]string{"so": "802"},
			Raw: "H=t1v4,ch=2,ph=86307627,ty=1,tm=080711175931,op=801,sn=1234,so=802,dm=0;",
		}),
		"t1v5": goldenPop(schema.CallPop{
			Agent: agent, Pop: inbound, Direction: schema.Inbound,
			Call: schema.Call{SN: "1234", Line: "2", StartedAt: second}, Customer: local,
			Format: schema.T1V5, DeclaredFormat: "t1v4", Extra: map[string]string{"so": "802"},
			Raw: "H=t1v4,ch=2,ph=86307627,ty=1,tm=080711175931,op=801,sn=1234,so=802,da=0,dm=0;",
		}),
		"callback": goldenPop(schema.CallPop{
			Agent:    schema.Agent{ID: "801", Channel: "8"},
			Call:     schema.Call{ID: "5646464652668", StartedAt: time.UnixMilli(564646465266).In(shanghai)},
			Customer: schema.Customer{Number: "02586307627", E164: "+862586307627"},
			IVR:      schema.IVR{Keys: "1;2"}, Format: schema.Callback,
			Extra:  map[string]string{"datetime": "080201153059"},
			Raw:    "phone=02586307627&oper=801&ch=8&datetime=080201153059&startTime=564646465266&id=5646464652668&dtmf=1;2;",
			Source: schema.Source{Type: "callback", Name: "pages"},
		}),
		"unknown_code": goldenPop(schema.CallPop{
			Agent: agent, Pop: schema.PopKind{Code: 12}, Call: schema.Call{SN: "1234"}, Customer: schema.Customer{Number: "10086"},
			Format: schema.T1V4, Raw: "H=t1v4,ph=10086,ty=12,op=801,sn=1234;",
		}),
		"minimal": goldenPop(schema.CallPop{Customer: schema.Customer{Number: "10086"}, Format: schema.T1V1, Raw: ",10086"}),
		"full": goldenPop(schema.CallPop{
			Agent:     schema.Agent{ID: "802", Channel: "12"},
			Pop:       schema.PopKind{Mode: schema.ModeInboundTransfer, Code: 5},
			Direction: schema.Inbound,
			Call:      schema.Call{SN: "1234", ID: "12157703713752", IDDerived: true, Line: "2", StartedAt: milli, TransferredFrom: "801"},
			Customer:  local,
			IVR: schema.IVR{
				Keys: "1;2", Member: "2222", Data: "meb_id:2222|name:张三|note:\"a\\b\"",
				Fields: map[string]string{"meb_id": "2222", "name": "张三", "note": `"a\b"`},
			},
			Format: schema.T1V5, DeclaredFormat: "t1v4", Truncated: true,
			Extra:     map[string]string{"zz": "<&>\u2028", "aa": "\ttab", "unparsed": "\ufffd"},
			Raw:       "H=t1v4,ch=2,ph=86307627,ty=5,tm=080711175931,op=802,sn=1234,so=801,mb=2222,da=meb_id:2222|name:张三|note:\"a\\b\",dm=1;2;,zz=<&>\u2028,aa=\ttab,\ufffd",
			RawBase64: base64.StdEncoding.EncodeToString([]byte("H=t1v4,\xff\xfe")),
			Source:    schema.Source{Type: "relay", Name: "desktops", Agent: "803"},
		}),
	}
}

func goldenSessions() map[string]*schema.SessionChanged {
	all := make(map[string]*schema.SessionChanged)
	for state, cause := range map[schema.SessionState]string{
		schema.Connecting: "", schema.Connected: "", schema.Failed: "connection refused",
		schema.Expired: "no heartbeat for 30s", schema.Reconnecting: "closed by the server", schema.Closed: "taken off the roster",
	} {
		all[string(state)] = &schema.SessionChanged{
			ID: goldenID, Version: schema.Version, Server: "hq", Agent: "801", State: state, OCXCode: state.OCXCode(),
			Cause: cause, At: receivedAt, Source: schema.Source{Type: "session", Name: goldenSource},
		}
	}
	full := *all[string(schema.Connected)]
	full.Cause = "connected again"
	full.Gap = &schema.Gap{From: receivedAt.Add(-90 * time.Second), To: receivedAt}
	full.Source = schema.Source{Type: "relay", Name: "desktops", Agent: "803"}
	all["full"] = &full
	return all
}

func goldenDeadLetters() map[string]*schema.DeadLetter {
	all := make(map[string]*schema.DeadLetter)
	for reason, c := range map[string]struct{ detail, raw string }{
		schema.ReasonUndecodable: {"neither number nor call", "H=t1v4,;;"},
		schema.ReasonLostFraming: {"10 bytes skipped", "\xff\xfegarbage\x00"},
		schema.ReasonCutFrame:    {"3 of 78 bytes", "NH="},
		schema.ReasonRefused:     {"maximum payload exceeded", `{"id":"1"}`},
	} {
		all[reason] = &schema.DeadLetter{
			ID: goldenID, Version: schema.Version, Server: "hq", Agent: "801", Reason: reason, Detail: c.detail,
			Raw: string([]rune(c.raw)), RawBase64: base64.StdEncoding.EncodeToString([]byte(c.raw)), ReceivedAt: receivedAt,
			Source: schema.Source{Type: "session", Name: goldenSource},
		}
	}
	full := *all[schema.ReasonRefused]
	full.Source.Agent = "803"
	full.Sink = "events"
	full.Headers = map[string]string{"ce-id": goldenID, "ce-type": "callpop.v1", "content-type": "application/json"}
	all["full"] = &full
	return all
}
