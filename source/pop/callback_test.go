package pop

import (
	"testing"
	"time"
)

func TestOddCallbacks(t *testing.T) {
	at := second(t)
	tests := []struct {
		name, query string
		want        Pop
	}{
		{"popVer t1v1", "phone=10086&oper=801&ch=8&outch=2&startTime=1215770371375&dtmf=NA",
			Pop{Number: "10086", Agent: "801", Channel: "8", Line: "2", ID: "12157703713752", IDDerived: true, StartedAt: at.Add(375 * time.Millisecond)}},
		{"popVer t1v1 without outch", "phone=10086&ch=8&startTime=1215770371375",
			Pop{Number: "10086", Channel: "8", ID: "12157703713758", IDDerived: true, StartedAt: at.Add(375 * time.Millisecond)}},
		{"datetime that agrees", "phone=1&startTime=1215770371375&datetime=080711175931&id=9",
			Pop{Number: "1", ID: "9", StartedAt: at.Add(375 * time.Millisecond)}},
		{"datetime alone", "phone=1&datetime=080711175931", Pop{Number: "1", StartedAt: at}},
		{"datetime and an id that agrees", "outch=2&datetime=080711175931&id=12157703713752",
			Pop{Line: "2", ID: "12157703713752", StartedAt: at.Add(375 * time.Millisecond)}},
		{"times that are none", "phone=1&startTime=soon&datetime=now", Pop{Number: "1", Extra: []Field{{"datetime", "now"}, {"startTime", "soon"}}}},
		{"unknown, repeated and nameless parameters", "&phone=1&_data_=a:1&oper=2&oper=3&what&=x&", Pop{Number: "1", Agent: "2",
			Extra: []Field{{"_data_", "a:1"}, {"oper", "3"}, {unparsed, "what,=x"}}}},
		{"escapes", "phone=%2B86%201+2&x=a%26b%3Dc&y=100%&z=%zz", Pop{Number: "+86 1 2", Extra: []Field{{"x", "a&b=c"}, {"y", "100%"}, {"z", "%zz"}}}},
		{"an escaped name", "%70hone=1", Pop{Number: "1"}},
		{"a plus that meant a plus", "phone=+8613812345678", Pop{Number: "8613812345678"}},
		{"keys", "phone=1&dtmf=1;2;;", Pop{Number: "1", Keys: "1;2;"}},
		{"no keys", "phone=1&dtmf=0;", Pop{Number: "1"}},
		{"UTF-8, escaped", "phone=1&name=%E5%BC%A0%E4%B8%89", Pop{Number: "1", Extra: []Field{{"name", "张三"}}}},
		{"GBK, escaped", "phone=1&name=%D5%C5%C8%FD", Pop{Number: "1", Extra: []Field{{"name", "张三"}}}},
	}
	d := Decoder{Location: at.Location()}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.want.Format = Callback
			var got Pop
			if err := d.DecodeCallback([]byte(tt.query), &got); err != nil {
				t.Fatal(err)
			}
			check(t, got, tt.want, tt.query)
		})
	}

	t.Run("GBK bytes as they are", func(t *testing.T) {
		var got Pop
		if err := d.DecodeCallback([]byte("phone=1&name="+gbk(t, "张三")), &got); err != nil {
			t.Fatal(err)
		}
		check(t, got, Pop{Format: Callback, Number: "1", Extra: []Field{{"name", "张三"}}}, "phone=1&name=张三")
	})
}
