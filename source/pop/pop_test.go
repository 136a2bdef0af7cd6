package pop

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// shanghai is the zone of the manual's examples.
func shanghai(t testing.TB) *time.Location {
	t.Helper()
	location, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	return location
}

func gbk(t testing.TB, s string) string {
	t.Helper()
	b, err := simplifiedchinese.GB18030.NewEncoder().String(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// second is when the manual's examples have tm=080711175931.
func second(t testing.TB) time.Time {
	return time.Date(2008, 7, 11, 17, 59, 31, 0, shanghai(t))
}

// check compares but for Text, which it takes to be text.
func check(t *testing.T, got, want Pop, text string) {
	t.Helper()
	want.Text = text
	if !got.StartedAt.Equal(want.StartedAt) || got.StartedAt.Location().String() != want.StartedAt.Location().String() {
		t.Errorf("started at: got %v, want %v", got.StartedAt, want.StartedAt)
	}
	got.StartedAt, want.StartedAt = time.Time{}, time.Time{}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("\ngot  %+v\nwant %+v", got, want)
	}
}

func TestTheManualsOwnExamples(t *testing.T) {
	at := second(t)
	exact := at.Add(375 * time.Millisecond)
	tests := []struct {
		name, raw string
		callback  bool
		want      Pop
	}{
		{
			name: "t1v1",
			raw:  "2,02586307627,1000,1208674344953,NA",
			want: Pop{Format: T1V1, Line: "2", Number: "02586307627", Spare: "1000", ID: "12086743449532", IDDerived: true,
				StartedAt: time.Date(2008, 4, 20, 14, 52, 24, 953e6, at.Location())},
		},
		{
			name: "t1v2",
			raw:  "H=t1v2,ch=2,ph=86307627,id=12157703713752,tm=080711175931,dm=0;",
			want: Pop{Format: T1V2, Line: "2", Number: "86307627", ID: "12157703713752", StartedAt: exact},
		},
		{
			name: "t1v3",
			raw:  "H=t1v3,ch=2,ph=86307627,id=12157703713752,tm=080711175931,op=801,sn=1234,dm=0;",
			want: Pop{Format: T1V3, Line: "2", Number: "86307627", ID: "12157703713752", StartedAt: exact, Agent: "801", SN: "1234"},
		},
		{
			name: "t1v4",
			raw:  "H=t1v4,ch=2,ph=86307627,ty=1,tm=080711175931,op=801,sn=1234,so=802,dm=0;",
			want: Pop{Format: T1V4, Line: "2", Number: "86307627", Mode: 1, StartedAt: at, Agent: "801", SN: "1234", From: "802"},
		},
		{
			name: "t1v5, which says t1v4",
			raw:  "H=t1v4,ch=2,ph=86307627,ty=1,tm=080711175931,op=801,sn=1234,so=802,da=0,dm=0;",
			want: Pop{Format: T1V5, Declared: T1V4, Line: "2", Number: "86307627", Mode: 1, StartedAt: at, Agent: "801", SN: "1234", From: "802"},
		},
		{
			name: "t1v5 with data after a space",
			raw:  "H=t1v5,ch=2,ph=86307627,ty=1,tm=080711175931,op=801,sn=1234,so=0,mb=77,da= meb_id:2222|ord_id:3333|score:4444,dm=1;2;",
			want: Pop{Format: T1V5, Line: "2", Number: "86307627", Mode: 1, StartedAt: at, Agent: "801", SN: "1234", Member: "77",
				Data: "meb_id:2222|ord_id:3333|score:4444", Keys: "1;2",
				Fields: []Field{{"meb_id", "2222"}, {"ord_id", "3333"}, {"score", "4444"}}},
		},
		{
			name: "t1v5 data of the prose",
			raw:  "H=t1v5,ch=2,ph=86307627,ty=5,so=802,sn=1,da=country:china|province:jiangsu|city:nanjing,dm=0;",
			want: Pop{Format: T1V5, Line: "2", Number: "86307627", Mode: 5, SN: "1", From: "802",
				Data:   "country:china|province:jiangsu|city:nanjing",
				Fields: []Field{{"country", "china"}, {"province", "jiangsu"}, {"city", "nanjing"}}},
		},
		{
			name:     "callback",
			raw:      "phone=02586307627&oper=801&ch=8&datetime=080201153059&startTime=564646465266&id=5646464652668&dtmf=1;2;",
			callback: true,
			want: Pop{Format: Callback, Number: "02586307627", Agent: "801", Channel: "8", ID: "5646464652668", Keys: "1;2",
				StartedAt: time.UnixMilli(564646465266).In(at.Location()),
				Extra:     []Field{{"datetime", "080201153059"}}},
		},
	}
	d := Decoder{Location: at.Location()}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got Pop
			if err := d.decode(tt.raw, tt.callback, &got); err != nil {
				t.Fatal(err)
			}
			check(t, got, tt.want, tt.raw)
		})
	}
}

// decode decodes either kind.
func (d *Decoder) decode(raw string, callback bool, p *Pop) error {
	if callback {
		return d.DecodeCallback([]byte(raw), p)
	}
	return d.Decode([]byte(raw), p)
}

func TestOddPopStrings(t *testing.T) {
	at := second(t)
	kv := func(p Pop) Pop {
		if p.Format == "" {
			p.Format = T1V2
		}
		return p
	}
	tests := []struct {
		name, raw string
		want      Pop
	}{
		{"any order, H last", "dm=1;2,sn=5,ph=10086,H=t1v3", Pop{Format: T1V3, SN: "5", Number: "10086", Keys: "1;2"}},
		{"no H", "ph=10086,ty=2", Pop{Format: T1V4, Number: "10086", Mode: 2}},
		{"no closing semicolon", "H=t1v2,ph=10086,dm=1;2", kv(Pop{Number: "10086", Keys: "1;2"})},
		{"one semicolon closes, the other is a key's", "H=t1v2,ph=10086,dm=1;2;;", kv(Pop{Number: "10086", Keys: "1;2;"})},
		{"spaces everywhere", "  H = t1v2 , ph = 10086 , id = 7 ;  ", kv(Pop{Number: "10086", ID: "7"})},
		{"0 and NA and nothing are absent for five keys", "ph=0,sn=NA,id=0,so=NA,da=,dm=NA;", Pop{Format: T1V5, Number: "0"}},
		{"0 and NA are values of the others", "ph=NA,ch=0,op=0,mb=0;", Pop{Format: T1V5, Number: "NA", Line: "0", Agent: "0", Member: "0"}},
		{"empty is absent for all", "H=,ph=1,ch=,op=,mb=,ty=,tm=,xx=;", Pop{Format: T1V5, Number: "1"}},
		{"the newer of H and the keys: H", "H=t1v5,ph=1;", Pop{Format: T1V5, Number: "1"}},
		{"the newer of H and the keys: keys", "H=t1v2,ph=1,sn=3;", Pop{Format: T1V3, Declared: T1V2, Number: "1", SN: "3"}},
		{"H says t1v1", "H=t1v1,ph=1;", kv(Pop{Declared: T1V1, Number: "1"})},
		{"H is not known", "H=t2v9,ph=1;", kv(Pop{Declared: "t2v9", Number: "1"})},
		{"key names to the letter", "ph=1,PH=2,h=3;", kv(Pop{Number: "1", Extra: []Field{{"PH", "2"}, {"h", "3"}}})},
		{"unknown keys", "ph=1,vip=9,lang=zh;", kv(Pop{Number: "1", Extra: []Field{{"vip", "9"}, {"lang", "zh"}}})},
		{"a known key again", "ph=1,ph=2,ph=3;", kv(Pop{Number: "1", Extra: []Field{{"ph", "2,3"}}})},
		{"an unknown key again", "ph=1,x=2,x=3;", kv(Pop{Number: "1", Extra: []Field{{"x", "2,3"}}})},
		{"parts without a key", "what,ph=1,=x, ,now;", kv(Pop{Number: "1", Extra: []Field{{unparsed, "what,=x,now"}}})},
		{"a value with =", "ph=1,x=a=b;", kv(Pop{Number: "1", Extra: []Field{{"x", "a=b"}}})},
		{"a mode that is no number", "ph=1,ty=in;", Pop{Format: T1V4, Number: "1", Extra: []Field{{"ty", "in"}}}},
		{"mode 0", "ph=1,ty=0;", Pop{Format: T1V4, Number: "1", Extra: []Field{{"ty", "0"}}}},
		{"a mode too large", "ph=1,ty=1000;", Pop{Format: T1V4, Number: "1", Extra: []Field{{"ty", "1000"}}}},
		{"a mode that is not named", "ph=1,ty=42;", Pop{Format: T1V4, Number: "1", Mode: 42}},
		{"a wrong date", "ph=1,tm=080230120000;", kv(Pop{Number: "1", Extra: []Field{{"tm", "080230120000"}}})},
		{"a leap day", "ph=1,tm=080229120000;", kv(Pop{Number: "1", StartedAt: time.Date(2008, 2, 29, 12, 0, 0, 0, at.Location())})},
		{"the last second of 2099", "ph=1,tm=991231235959;", kv(Pop{Number: "1", StartedAt: time.Date(2099, 12, 31, 23, 59, 59, 0, at.Location())})},
		{"a time without seconds", "ph=1,tm=0807111759;", kv(Pop{Number: "1", Extra: []Field{{"tm", "0807111759"}}})},
		{"an id that is of another time", "ph=1,ch=2,id=12157703713752,tm=080711175932;", kv(Pop{Number: "1", Line: "2", ID: "12157703713752", StartedAt: at.Add(time.Second)})},
		{"an id that is of another line", "ph=1,ch=3,id=12157703713752,tm=080711175931;", kv(Pop{Number: "1", Line: "3", ID: "12157703713752", StartedAt: at})},
		{"an id without a time", "ph=1,ch=2,id=12157703713752;", kv(Pop{Number: "1", Line: "2", ID: "12157703713752"})},
		{"a call without a number", "sn=5;", Pop{Format: T1V3, SN: "5"}},
		{"data that is no list", "sn=5,da=hello world;", Pop{Format: T1V5, SN: "5", Data: "hello world"}},
		{"data with all the traps", "sn=5,da=a:1| b : 2:3 |a:9|:x|y:||z;", Pop{Format: T1V5, SN: "5", Data: "a:1| b : 2:3 |a:9|:x|y:||z",
			Fields: []Field{{"a", "1"}, {"b", "2:3"}}}},
		{"control characters", "ph=1\x00\x7f,x=\n;", kv(Pop{Number: "1\x00\x7f", Extra: []Field{{"x", "\n"}}})},

		{"t1v1, anonymous", "2,,1000,1208674344953,NA", Pop{Format: T1V1, Line: "2", Spare: "1000", ID: "12086743449532", IDDerived: true, StartedAt: time.UnixMilli(1208674344953).In(at.Location())}},
		{"t1v1, a number in words", "2,private,,1208674344953,1", Pop{Format: T1V1, Line: "2", Number: "private", Keys: "1", ID: "12086743449532", IDDerived: true, StartedAt: time.UnixMilli(1208674344953).In(at.Location())}},
		{"t1v1 without a line", ",10086,,1208674344953", Pop{Format: T1V1, Number: "10086", ID: "1208674344953", IDDerived: true, StartedAt: time.UnixMilli(1208674344953).In(at.Location())}},
		{"t1v1, keys with commas and semicolons", " 2, 110 ,0,, 1;2,3;", Pop{Format: T1V1, Line: "2", Number: "110", Spare: "0", Keys: "1;2,3"}},
		{"t1v1, a wrong start", "2,10086,NA,0,0", Pop{Format: T1V1, Line: "2", Number: "10086", Spare: "NA", Extra: []Field{{"startTime", "0"}}}},
		{"t1v1, a start too late", "2,10086,,7258118400000,", Pop{Format: T1V1, Line: "2", Number: "10086", Extra: []Field{{"startTime", "7258118400000"}}}},
		{"t1v1, a start with zeros in front", "2,10086,,001208674344953,", Pop{Format: T1V1, Line: "2", Number: "10086", ID: "12086743449532", IDDerived: true, StartedAt: time.UnixMilli(1208674344953).In(at.Location())}},
		{"t1v1, a line and a number alone", "2,10086", Pop{Format: T1V1, Line: "2", Number: "10086"}},
		{"t1v1, an = in its spare field", "2,10086,sn=5,1208674344953,NA", Pop{Format: T1V1, Line: "2", Number: "10086", Spare: "sn=5", ID: "12086743449532", IDDerived: true, StartedAt: time.UnixMilli(1208674344953).In(at.Location())}},
		{"keys after a number", "5,sn=7,ph=1", Pop{Format: T1V3, SN: "7", Number: "1", Extra: []Field{{unparsed, "5"}}}},
	}
	d := Decoder{Location: at.Location()}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got Pop
			if err := d.Decode([]byte(tt.raw), &got); err != nil {
				t.Fatal(err)
			}
			check(t, got, tt.want, tt.raw)
		})
	}
}

func TestWhatIsNoPop(t *testing.T) {
	tests := []struct {
		name, raw string
		callback  bool
		reason    Reason
		column    int
	}{
		{"nothing", "", false, Empty, 1},
		{"spaces and a semicolon", "  ; ", false, Empty, 1},
		{"words", "hello world", false, Unrecognised, 1},
		{"a digit and words", "2 hello, world", false, Unrecognised, 1},
		{"a line that is too long", "1234567,10086,0,1208674344953,NA", false, Unrecognised, 1},
		{"thousands", "1,234,567", false, Unrecognised, 3},
		{"a list of numbers", "12,1,2,3,4", false, Unrecognised, 4},
		{"digits and noise", "7,\xff\x00,zz,5,\x01", false, Unrecognised, 3},
		{"a single number", "02586307627", false, Unrecognised, 1},
		{"a line alone", "2", false, Unrecognised, 1},
		{"unknown keys alone", "a=1,b=2;", false, Unrecognised, 1},
		{"keys in the wrong case", "PH=1,SN=2;", false, Unrecognised, 1},
		{"neither number nor call", "H=t1v5,ch=2,ph=,ty=1,tm=080711175931,op=801,sn=0,so=0,da=0,dm=0;", false, NoCall, 1},
		{"t1v1 with neither", "2,,1000,0,NA", false, Unrecognised, 3},
		{"too long", "H=t1v2,ph=1,xx=" + strings.Repeat("x", 241), false, TooLong, 256},
		{"an empty query", "", true, Empty, 1},
		{"a query of unknown keys", "a=1&b=2", true, Unrecognised, 1},
		{"a query with neither number nor call", "phone=&oper=801&id=0", true, NoCall, 1},
		{"a query too long", "phone=1&x=" + strings.Repeat("x", MaxQuery), true, TooLong, MaxQuery + 1},
		{"a query of too many parameters", "phone=1" + strings.Repeat("&a=1", 256), true, TooLong, 7 + 255*4 + 2},
	}
	var d Decoder
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := Pop{Number: "of the pop before"}
			err := d.decode(tt.raw, tt.callback, &p)
			var got *Error
			if !errors.As(err, &got) {
				t.Fatalf("got %v and %+v, want an *Error", err, p)
			}
			if want := (Error{tt.reason, tt.column}); *got != want {
				t.Errorf("got %+v, want %+v", *got, want)
			}
			if p.Number != "" || p.Format != "" || p.Extra != nil {
				t.Errorf("beside the error: %+v", p)
			}
			if tt.reason != TooLong && !p.Lossy && p.Text != tt.raw && !strings.Contains(tt.raw, "\xff") {
				t.Errorf("text: got %q, want %q", p.Text, tt.raw)
			}
		})
	}
}

func TestErrorsHoldNothingOfTheCustomer(t *testing.T) {
	var d Decoder
	var p Pop
	for _, raw := range []string{"13812345678", "1,13812345678=", "op=13812345678", "x=13812345678"} {
		err := d.Decode([]byte(raw), &p)
		if err == nil {
			t.Fatalf("%q: no error", raw)
		}
		if strings.Contains(err.Error(), "138") || !strings.Contains(err.Error(), "column ") {
			t.Errorf("got %q, want a column and no number", err)
		}
	}
}

func TestAFullStringThatDoesNotEndIsMarkedTruncated(t *testing.T) {
	fill := func(head, tail string) string {
		return head + strings.Repeat("x", MaxLength-len(head)-len(tail)) + tail
	}
	tests := []struct {
		name, raw string
		want      bool
	}{
		{"255 bytes, cut", fill("H=t1v5,ph=1,da=", ""), true},
		{"255 bytes, cut behind a key", fill("H=t1v5,ph=1,da=", ",dm="), true},
		{"255 bytes, whole", fill("H=t1v5,ph=1,da=", ",dm=1;"), false},
		{"254 bytes without an end", fill("H=t1v5,ph=1,da=", "")[:254], false},
		{"t1v1, cut", fill("2,10086,", ""), true},
		{"t1v1, cut behind a comma", fill("2,10086,", ",1208674344953,"), true},
		{"t1v1, cut in its keys", fill("2,10086,", ",1208674344953,12"), true},
		{"t1v1, whole", fill("2,10086,", ",1208674344953,NA"), false},
		{"t1v1, whole with keys", fill("2,10086,", ",1208674344953,1;2;"), false},
	}
	var d Decoder
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p Pop
			if err := d.Decode([]byte(tt.raw), &p); err != nil {
				t.Fatal(err)
			}
			if p.Truncated != tt.want {
				t.Errorf("got %v, want %v", p.Truncated, tt.want)
			}
		})
	}
}
