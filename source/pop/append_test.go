package pop

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// generate makes a Pop that a format carries whole, and that decodes to itself.
func generate(r *rand.Rand, format string, location *time.Location) Pop {
	word := func(alphabet string, most int) string {
		letters := []rune(alphabet)
		b := make([]rune, 1+r.IntN(most))
		for i := range b {
			b[i] = letters[r.IntN(len(letters))]
		}
		return strings.TrimSpace(string(b))
	}
	const digits, letters = "0123456789", "abcXYZ0189.-_()张三亅京\x01"
	// maybe leaves some out, and what would mean absent.
	maybe := func(s string) string {
		if r.IntN(4) == 0 || absent(s) {
			return ""
		}
		return s
	}
	ms := 946684800000 + r.Int64N(99*365*day*1000)
	p := Pop{
		Format:    format,
		Line:      maybe(word(digits, 3)),
		Number:    word(digits, 8) + "10086",
		Keys:      maybe(word("0123456789*#;", 6)),
		StartedAt: time.UnixMilli(ms).In(location),
	}
	derived := fmt.Sprint(ms, p.Line)
	derived = strings.ReplaceAll(derived, " ", "")
	wholeSecond := time.Unix(ms/1000, 0).In(location)
	switch format {
	case T1V1:
		p.Spare = maybe(word(letters+"=", 6))
		p.ID, p.IDDerived = derived, true
		return p
	case Callback:
		p.Agent, p.Channel = maybe(word(letters+"&=+% ,", 4)), maybe(word(digits, 3))
		if p.Line == "" {
			derived += p.Channel
		}
		p.ID, p.IDDerived = derived, true
		if r.IntN(2) == 0 {
			p.ID, p.IDDerived = word(digits, 10)+"1", false
		}
	case T1V2, T1V3:
		p.ID = derived
		if r.IntN(3) == 0 || p.Line == "" {
			p.ID, p.StartedAt = word(letters, 9)+"x", wholeSecond
		}
	default:
		p.StartedAt = wholeSecond
		p.Mode = r.IntN(1000)
		p.From = maybe(word(digits, 3))
	}
	if format != Callback && format >= T1V3 {
		p.Agent, p.SN = maybe(word(digits, 4)), maybe(word(letters, 8))
		if r.IntN(4) == 0 && format > T1V3 {
			p.Declared = T1V2
		}
	}
	if format == T1V5 {
		p.Member = maybe(word(digits, 5))
		for i := range r.IntN(4) {
			p.Fields = append(p.Fields, Field{fmt.Sprint("f", i), word(letters+":", 6)})
		}
		var pairs []string
		for _, f := range p.Fields {
			pairs = append(pairs, f.Name+":"+f.Value)
		}
		p.Data = strings.Join(pairs, "|")
	}
	for i := range r.IntN(3) {
		p.Extra = append(p.Extra, Field{fmt.Sprint("x", i), word(letters+"=", 5)})
	}
	if r.IntN(4) == 0 {
		p.Extra = append(p.Extra, Field{unparsed, "u,v"})
	}
	if p.StartedAt.Nanosecond() == 0 && r.IntN(4) == 0 && format != Callback {
		p.StartedAt = time.Time{}
	}
	return p
}

func TestWhatIsWrittenDecodesToItself(t *testing.T) {
	location := shanghai(t)
	r := rand.New(rand.NewPCG(7, 8))
	d := Decoder{Charset: UTF8, Location: location}
	for _, format := range []string{T1V1, T1V2, T1V3, T1V4, T1V5, Callback} {
		t.Run(format, func(t *testing.T) {
			for range 3000 {
				want := generate(r, format, location)
				raw, err := Append([]byte("before"), format, &want)
				if err != nil {
					t.Fatalf("%+v: %v", want, err)
				}
				raw = raw[len("before"):]
				var got Pop
				if err := d.decode(string(raw), format == Callback, &got); err != nil {
					t.Fatalf("%q: %v", raw, err)
				}
				check(t, got, want, string(raw))
				if t.Failed() {
					t.Fatalf("of %q", raw)
				}
			}
		})
	}
}

// The manual's examples are what the server writes.
func TestTheManualsExamplesAreWrittenBack(t *testing.T) {
	d := Decoder{Location: shanghai(t)}
	for _, raw := range []string{
		"2,02586307627,1000,1208674344953,NA",
		"H=t1v2,ch=2,ph=86307627,id=12157703713752,tm=080711175931,dm=0;",
		"H=t1v3,ch=2,ph=86307627,id=12157703713752,tm=080711175931,op=801,sn=1234,dm=0;",
		"H=t1v4,ch=2,ph=86307627,ty=1,tm=080711175931,op=801,sn=1234,so=802,dm=0;",
		"H=t1v4,ch=2,ph=86307627,ty=1,tm=080711175931,op=801,sn=1234,so=802,da=0,dm=0;",
	} {
		var p Pop
		if err := d.Decode([]byte(raw), &p); err != nil {
			t.Fatal(err)
		}
		if got, err := Append(nil, p.Format, &p); err != nil || string(got) != raw {
			t.Errorf("got %q, %v, want %q", got, err, raw)
		}
	}
	p := Pop{Line: "2", Number: "86307627", StartedAt: second(t).Add(375 * time.Millisecond)}
	want := "H=t1v2,ch=2,ph=86307627,id=12157703713752,tm=080711175931,dm=0;"
	if got, err := Append(nil, T1V2, &p); err != nil || string(got) != want {
		t.Errorf("an id that the server makes: got %q, %v, want %q", got, err, want)
	}
}

func TestWhatCannotBeWrittenIsRefused(t *testing.T) {
	tests := []struct {
		name, format string
		p            Pop
		want         string
	}{
		{"an unknown format", "t1v6", Pop{}, `unknown format "t1v6"`},
		{"no format", "", Pop{}, `unknown format ""`},
		{"too long", T1V5, Pop{Data: strings.Repeat("x", 255)}, "at most 255 fit"},
		{"a callback too long", Callback, Pop{Number: strings.Repeat("x", MaxQuery)}, "at most 8192 fit"},
		{"a comma", T1V5, Pop{Data: "138,1234"}, "value of da has a comma"},
		{"a comma in a positional pop", T1V1, Pop{Number: ",138"}, "value of number has a comma"},
		{"a year without digits", T1V2, Pop{StartedAt: time.UnixMilli(1)}, "year 19"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := Append([]byte("before"), tt.format, &tt.p)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
			if string(got) != "before" {
				t.Errorf("got %q, want what was there before", got)
			}
			if err != nil && strings.Contains(err.Error(), "138") {
				t.Errorf("%v quotes the value", err)
			}
		})
	}
}

func TestDecodingDoesNotAllocate(t *testing.T) {
	gb := gbk(t, "H=t1v5,ph=1,sn=5,da=姓名:张三|城市:南京,xx=1,dm=0;")
	d := Decoder{Location: shanghai(t)}
	var p Pop
	for _, s := range append(slices.Clone(benchmarks), gb) {
		raw := []byte(s)
		if got := testing.AllocsPerRun(100, func() {
			if err := d.Decode(raw, &p); err != nil {
				t.Fatal(err)
			}
			KeyHash(raw)
		}); got > 0 {
			t.Errorf("%q: %v allocations, want 0", raw, got)
		}
	}
	query := []byte("phone=1&outch=2&ch=3&startTime=1215770371375&name=%D5%C5%C8%FD&dtmf=1;2;")
	if got := testing.AllocsPerRun(100, func() {
		if err := d.DecodeCallback(query, &p); err != nil {
			t.Fatal(err)
		}
	}); got > 0 {
		t.Errorf("callback: %v allocations, want 0", got)
	}
}
