package source

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/pop"
)

func assembled(t *testing.T, o *Origin, raw string) schema.CallPop {
	t.Helper()
	event, _, err := NewAssembler().Pop(o, time.Now(), []byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	var p schema.CallPop
	if err := json.Unmarshal(event.Body, &p); err != nil {
		t.Fatal(err)
	}
	if event.ID != p.ID || event.Key != p.Key || event.Server != p.Server || event.Agent != p.Agent.ID || !event.Time.Equal(p.ReceivedAt) {
		t.Errorf("event %+v is not what its body says: %s", event, event.Body)
	}
	return p
}

func TestTheManualsExamplesBecomeEvents(t *testing.T) {
	o := testOrigin(t, "809")
	for _, c := range []struct {
		raw  string
		want func(*schema.CallPop) bool
	}{
		{"2,02586307627,1000,1208674344953,NA", func(p *schema.CallPop) bool {
			return p.Format == schema.T1V1 && p.Agent.ID == "809" && p.Key == "hq/12086743449532" && p.Call.IDDerived &&
				p.Extra["spare"] == "1000" && p.IVR.Keys == "" && p.Customer.E164 == "+862586307627" && p.Pop.Code == 0
		}},
		{"H=t1v2,ch=2,ph=86307627,id=12157703713752,tm=080711175931,dm=0;", func(p *schema.CallPop) bool {
			return p.Format == schema.T1V2 && p.Key == "hq/12157703713752" && !p.Call.IDDerived &&
				p.Call.StartedAt.Format(time.RFC3339Nano) == "2008-07-11T17:59:31.375+08:00"
		}},
		{"H=t1v3,ch=2,ph=86307627,id=12157703713752,tm=080711175931,op=801,sn=1234,dm=0;", func(p *schema.CallPop) bool {
			return p.Format == schema.T1V3 && p.Key == "hq/1234" && p.Agent.ID == "801" && p.Source.Agent == "809"
		}},
		{"H=t1v4,ch=2,ph=86307627,ty=1,tm=080711175931,op=801,sn=1234,so=802,dm=0;", func(p *schema.CallPop) bool {
			return p.Format == schema.T1V4 && p.Pop.Mode == schema.ModeInbound && p.Direction == schema.Inbound &&
				p.Call.TransferredFrom == "" && p.Extra["so"] == "802"
		}},
		{"H=t1v4,ch=2,ph=86307627,ty=5,tm=080711175931,op=801,sn=1234,so=802,da=0,dm=0;", func(p *schema.CallPop) bool {
			return p.Format == schema.T1V5 && p.DeclaredFormat == "t1v4" && p.Call.TransferredFrom == "802" && p.Extra == nil && p.IVR.IsZero()
		}},
		{"H=t1v5,ph=86307627,sn=1,da= meb_id:2222|ord_id:3333|score:4444,dm=1;2;", func(p *schema.CallPop) bool {
			return p.IVR.Data == "meb_id:2222|ord_id:3333|score:4444" && p.IVR.Fields["ord_id"] == "3333" && p.IVR.Keys == "1;2"
		}},
		{"H=t1v5,ph=86307627,sn=1,ty=77,zz=new;", func(p *schema.CallPop) bool {
			return p.Pop.Code == 77 && p.Pop.Mode == "" && p.Direction == "" && p.Extra["zz"] == "new"
		}},
	} {
		if p := assembled(t, o, c.raw); !c.want(&p) || p.Raw != c.raw {
			body, _ := json.Marshal(p)
			t.Errorf("%s became %s", c.raw, body)
		}
	}
}

func TestAnAssemblerThatIsUsedAgainForgetsThePopBefore(t *testing.T) {
	a, o := NewAssembler(), testOrigin(t, "801")
	first, _, _ := a.Pop(o, time.Now(), []byte("H=t1v5,ph=013812345678,sn=1,ty=5,so=802,mb=7,da=a:1|b:2,zz=1,dm=9;"))
	kept := string(first.Body) + first.Key + first.ID + first.Agent
	second, _, _ := a.Pop(o, time.Now(), []byte("H=t1v2,ph=10086,id=5;"))
	// What is made of the time and at random may hold anything.
	var p schema.CallPop
	if err := json.Unmarshal(second.Body, &p); err != nil {
		t.Fatal(err)
	}
	p.ID, p.Fingerprint, p.ReceivedAt = "", "", time.Time{}
	body, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, left := range []string{"802", "ord", `"a":`, "zz", "t1v5", "138"} {
		if strings.Contains(string(body), left) {
			t.Errorf("%q of the first pop is in the second: %s", left, second.Body)
		}
	}
	if got := string(first.Body) + first.Key + first.ID + first.Agent; got != kept {
		t.Errorf("the first event changed: %s, then %s", kept, got)
	}
}

func TestLabelsOutliveTheirPop(t *testing.T) {
	o, a := testOrigin(t, "801"), NewAssembler()
	_, labels, err := a.Pop(o, time.Now(), []byte("H=t1v5,ph=013812345678,ty=1,sn=1,so=0,dm=0;"))
	if err != nil || labels.Format != schema.T1V5 {
		t.Fatal(labels, err)
	}
	if _, _, err := a.Pop(o, time.Now(), []byte("2,02586307627,1000,1208674344953,NA")); err != nil {
		t.Fatal(err)
	}
	if got, want := labels.Format, schema.T1V5; got != want {
		t.Errorf("with the next pop the format of the one before became %q, want %q", got, want)
	}
}

func TestAnEventIsOneAllocation(t *testing.T) {
	raw := []byte(benchmarkPop)
	for name, agent := range map[string]string{"of the socket's agent": "801", "of another agent": "802"} {
		o, a := testOrigin(t, agent), NewAssembler()
		want := 1.0
		if agent != "801" {
			want = 2 // its name is the second
		}
		got := testing.AllocsPerRun(100, func() {
			if _, _, err := a.Pop(o, time.Now(), raw); err != nil {
				t.Fatal(err)
			}
		})
		if got != want {
			t.Errorf("a pop %s: %v allocations, want %v", name, got, want)
		}
	}
}

func TestAnOverlapsFingerprintOutlivesItsPop(t *testing.T) {
	a, o := NewAssembler(), testOrigin(t, "801")
	const raw = "H=t1v5,ph=013812345678,sn=1;"
	it := item{kind: popItem, origin: o, at: time.Now(), raw: []byte(raw), overlapped: true}
	event, _ := it.assemble(a)
	if _, _, err := a.Pop(o, time.Now(), []byte("H=t1v2,ph=10086,id=5;")); err != nil {
		t.Fatal(err)
	}
	if got, want := event.Overlap, schema.Fingerprint("hq", "801", []byte(raw)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestUndecodableBytesBecomeADeadLetterWithTheirBytes(t *testing.T) {
	raw := []byte("\xff\xfe\x00garbage")
	event, labels, err := NewAssembler().Pop(testOrigin(t, "801"), time.Now(), raw)
	if err == nil || labels.Reason != string(pop.Unrecognised) || event.Type != schema.TypeDeadLetter {
		t.Fatalf("got %v, %+v, %v", event, labels, err)
	}
	var letter schema.DeadLetter
	if err := json.Unmarshal(event.Body, &letter); err != nil {
		t.Fatal(err)
	}
	bytes, err := base64.StdEncoding.DecodeString(letter.RawBase64)
	if err != nil || string(bytes) != string(raw) || letter.Reason != schema.ReasonUndecodable || letter.Agent != "801" || letter.Detail == "" {
		t.Errorf("got %s", event.Body)
	}
}

func TestACallbackIsTheAgentsChannelAndTheCallsId(t *testing.T) {
	o := testOrigin(t, "")
	o.Type = "callback"
	query := "phone=02586307627&oper=801&ch=8&datetime=080201153059&startTime=564646465266&id=5646464652668&dtmf=1;2;"
	event, labels, err := NewAssembler().Callback(o, time.Now(), []byte(query))
	if err != nil || labels.Format != schema.Callback {
		t.Fatalf("%+v, %v", labels, err)
	}
	var p schema.CallPop
	if err := json.Unmarshal(event.Body, &p); err != nil {
		t.Fatal(err)
	}
	if p.Agent != (schema.Agent{ID: "801", Channel: "8"}) || p.Key != "hq/5646464652668" || p.IVR.Keys != "1;2" || p.Extra["datetime"] != "080201153059" {
		t.Errorf("got %s", event.Body)
	}
}
