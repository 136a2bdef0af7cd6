package schema_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
)

// body is what all three bodies can do.
type body interface{ AppendJSON(dst []byte) []byte }

var (
	_ body = (*schema.CallPop)(nil)
	_ body = (*schema.SessionChanged)(nil)
	_ body = (*schema.DeadLetter)(nil)
)

// reference is encoding/json's word on v.
func reference(t *testing.T, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		t.Fatalf("encoding/json refuses %#v: %v", v, err)
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// equalsReference compares AppendJSON with encoding/json, with something in front
// that must stay.
func equalsReference(t *testing.T, v body) {
	t.Helper()
	const before = `before"`
	got := v.AppendJSON([]byte(before))
	want := append([]byte(before), reference(t, v)...)
	if !bytes.Equal(got, want) {
		t.Fatalf("AppendJSON of %#v\n got %q\nwant %q", v, got, want)
	}
}

func TestAppendJSONWritesWhatEncodingJSONWrites(t *testing.T) {
	r := newRandom(1)
	for range 5_000 {
		equalsReference(t, r.anyCallPop())
		equalsReference(t, r.anySessionChanged())
		equalsReference(t, r.anyDeadLetter())
	}
	equalsReference(t, &schema.CallPop{})
	equalsReference(t, &schema.SessionChanged{})
	equalsReference(t, &schema.SessionChanged{Gap: &schema.Gap{}})
	equalsReference(t, &schema.DeadLetter{})
}

func TestAppendJSONEscapesEveryByteAtEveryPlaceOfAString(t *testing.T) {
	for length := range 26 {
		for place := range length {
			for c := range 256 {
				b := bytes.Repeat([]byte{'x'}, length)
				b[place] = byte(c)
				equalsReference(t, &schema.CallPop{Raw: string(b)})
			}
		}
	}
}

func TestAppendJSONEscapesEveryRune(t *testing.T) {
	var b strings.Builder
	for r := rune(0); r <= math.MaxUint16+0x100; r++ {
		b.WriteRune(r)
		if r%64 == 63 {
			equalsReference(t, &schema.CallPop{Raw: b.String()})
			b.Reset()
		}
	}
}

func TestAppendJSONWritesTimesAsTheTimePackageDoes(t *testing.T) {
	zones := []*time.Location{
		time.UTC, time.FixedZone("", 8*3600), time.FixedZone("", -(3*3600 + 1800)), time.FixedZone("", 30), time.FixedZone("", -30),
		time.FixedZone("", 8*3600+5*60+43), time.FixedZone("", 24*3600-1), time.FixedZone("", -24*3600+1),
	}
	moments := []time.Time{
		{}, time.Unix(0, 0), time.Unix(0, 1), time.Unix(-1, 999_999_999), time.UnixMilli(1215770371375),
		time.Date(0, 1, 2, 0, 0, 0, 0, time.UTC), time.Date(9999, 12, 30, 23, 59, 59, 999_999_990, time.UTC),
		time.Date(2024, 2, 29, 12, 0, 0, 120_000_000, time.UTC), time.Now(),
	}
	for _, zone := range zones {
		for _, moment := range moments {
			at := moment.In(zone)
			equalsReference(t, &schema.CallPop{Call: schema.Call{StartedAt: at}, ReceivedAt: at})
		}
	}
}

func TestATimeThatRFC3339CannotSayIsLeftOutOrZero(t *testing.T) {
	for _, at := range []time.Time{
		time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(-1, 12, 31, 0, 0, 0, 0, time.UTC),
		time.Unix(math.MaxInt32*100_000, 0),
		time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("", 24*3600)),
		time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("", -24*3600)),
		time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("", 100*3600)),
	} {
		if _, err := json.Marshal(at); err == nil {
			t.Fatalf("encoding/json takes %v: the case proves nothing", at)
		}
		p := &schema.CallPop{Call: schema.Call{SN: "1", StartedAt: at}, ReceivedAt: at}
		want := &schema.CallPop{Call: schema.Call{SN: "1"}}
		if got, want := string(p.AppendJSON(nil)), string(want.AppendJSON(nil)); got != want {
			t.Errorf("started and received at %v:\n got %s\nwant %s", at, got, want)
		}
		s := &schema.SessionChanged{At: at, Gap: &schema.Gap{From: at, To: at}}
		empty := &schema.SessionChanged{Gap: &schema.Gap{}}
		if got, want := string(s.AppendJSON(nil)), string(empty.AppendJSON(nil)); got != want {
			t.Errorf("changed at %v:\n got %s\nwant %s", at, got, want)
		}
	}
}

// decoded is v as a consumer has it from its body.
func decoded[T any](t *testing.T, v interface{ AppendJSON([]byte) []byte }) *T {
	t.Helper()
	var back T
	d := json.NewDecoder(bytes.NewReader(v.AppendJSON(nil)))
	d.DisallowUnknownFields()
	if err := d.Decode(&back); err != nil {
		t.Fatalf("decode %s: %v", v.AppendJSON(nil), err)
	}
	return &back
}

func TestABodyDecodesToAnEqualValue(t *testing.T) {
	r := newRandom(2)
	for range 2_000 {
		pop := r.callPop()
		sameValue(t, decoded[schema.CallPop](t, pop), pop)
		session := r.sessionChanged()
		sameValue(t, decoded[schema.SessionChanged](t, session), session)
		letter := r.deadLetter()
		sameValue(t, decoded[schema.DeadLetter](t, letter), letter)
	}
}

// sameValue compares two values field by field, times as instants with an offset
// and an empty map as none.
func sameValue(t *testing.T, got, want any) {
	t.Helper()
	if path := difference("", reflect.ValueOf(got), reflect.ValueOf(want)); path != "" {
		t.Fatalf("%s differs:\n got %+v\nwant %+v", path, got, want)
	}
}

func difference(path string, got, want reflect.Value) string {
	if at, ok := want.Interface().(time.Time); ok {
		back := got.Interface().(time.Time)
		if !back.Equal(at) || back.Format(time.RFC3339Nano) != at.Format(time.RFC3339Nano) {
			return path
		}
		return ""
	}
	switch want.Kind() {
	case reflect.Pointer:
		if got.IsNil() != want.IsNil() {
			return path
		}
		if want.IsNil() {
			return ""
		}
		return difference(path, got.Elem(), want.Elem())
	case reflect.Struct:
		for i := range want.NumField() {
			if p := difference(path+"."+want.Type().Field(i).Name, got.Field(i), want.Field(i)); p != "" {
				return p
			}
		}
		return ""
	case reflect.Map:
		if got.Len() == 0 && want.Len() == 0 {
			return ""
		}
	}
	if !reflect.DeepEqual(got.Interface(), want.Interface()) {
		return path
	}
	return ""
}

func TestAppendJSONDoesNotAllocate(t *testing.T) {
	pop := benchPop()
	pop.Extra = map[string]string{"xx": "1", "yy": "2", "aa": "来电"}
	pop.IVR.Fields = map[string]string{"meb_id": "2222", "name": "张三", "line": "a\nb"}
	session := newRandom(3).sessionChanged()
	letter := newRandom(4).deadLetter()
	letter.Headers = map[string]string{"ce-id": "1", "ce-type": "callpop.v1"}
	dst := make([]byte, 0, 8192)
	for name, v := range map[string]body{"CallPop": pop, "SessionChanged": session, "DeadLetter": letter} {
		if got := testing.AllocsPerRun(100, func() { dst = v.AppendJSON(dst[:0]) }); got != 0 {
			t.Errorf("%s: %v allocations, want 0", name, got)
		}
	}
}

// A MarshalJSON on a body would make encoding/json call the encoder that it is to
// check.
func TestNoBodyDefinesItsOwnMarshaller(t *testing.T) {
	for _, v := range []any{&schema.CallPop{}, &schema.SessionChanged{}, &schema.DeadLetter{}} {
		if _, ok := v.(json.Marshaler); ok {
			t.Errorf("%T has MarshalJSON", v)
		}
		if _, ok := v.(fmt.Stringer); ok {
			t.Errorf("%T has String, which would print customers' numbers", v)
		}
	}
}

// Whatever the strings, map entries, numbers and times, AppendJSON gives the bytes
// of encoding/json.
func FuzzAppendJSON(f *testing.F) {
	f.Add("H=t1v4,ch=2,ph=86307627;", "meb_id", "2222", int64(1215770371375), int32(8*60), 1)
	f.Add("\x00\u2028\xff\"\\", "", "\xe5\xbc", int64(-1), int32(-1), 0)
	f.Fuzz(func(t *testing.T, text, key, value string, nano int64, minutes int32, number int) {
		at := time.Unix(0, nano).In(time.FixedZone("", int(minutes%(24*60))*60))
		pairs := map[string]string{key: value, value: text, text: key}
		equalsReference(t, &schema.CallPop{
			ID: text, Key: key, Server: value, Agent: schema.Agent{ID: key}, Pop: schema.PopKind{Code: number},
			Call: schema.Call{SN: value, StartedAt: at}, IVR: schema.IVR{Data: text, Fields: pairs},
			Extra: pairs, Raw: text, ReceivedAt: at,
		})
		equalsReference(t, &schema.SessionChanged{Agent: value, Cause: text, OCXCode: number, At: at, Gap: &schema.Gap{From: at}})
		equalsReference(t, &schema.DeadLetter{Agent: key, Detail: value, Raw: text, Headers: pairs, ReceivedAt: at})
	})
}
