package pop

import (
	"strings"
	"testing"
)

func TestCharacterSets(t *testing.T) {
	const utf = "H=t1v5,ph=1,da=姓名:张三|城市:南京,dm=0;"
	gb := gbk(t, utf)
	fields := []Field{{"姓名", "张三"}, {"城市", "南京"}}
	// The second byte of these characters is a bar.
	const barred = "H=t1v5,ph=1,da=x:亅亅|y:2;"
	if !strings.Contains(gbk(t, "亅"), "|") {
		t.Fatalf("%q has no bar in it", gbk(t, "亅"))
	}
	cut := "H=t1v5,ph=1,da=姓名:张三|城市:南京"
	cut = cut + strings.Repeat("x", MaxLength-1-len(cut)) + "京"[:1]
	tests := []struct {
		name    string
		charset Charset
		raw     string
		text    string
		fields  []Field
		lossy   bool
	}{
		{name: "UTF-8 is found", raw: utf, text: utf, fields: fields},
		{name: "GB18030 is found", charset: Auto, raw: gb, text: utf, fields: fields},
		{name: "GB18030 that is set", charset: GB18030, raw: gb, text: utf, fields: fields},
		{name: "UTF-8 that is set", charset: UTF8, raw: utf, text: utf, fields: fields},
		{name: "a bar within a character", raw: gbk(t, barred), text: barred, fields: []Field{{"x", "亅亅"}, {"y", "2"}}},
		{name: "GBK that is valid UTF-8", raw: "sn=1,da=a:\xc4\xa3;", text: "sn=1,da=a:模;", fields: []Field{{"a", "模"}}},
		{name: "characters below U+0800 where UTF-8 is set", charset: UTF8, raw: "sn=1,da=a:ģ;", text: "sn=1,da=a:ģ;", fields: []Field{{"a", "ģ"}}},
		{name: "four bytes", raw: "sn=1,da=a:" + gbk(t, "𠀀㐀") + ";", text: "sn=1,da=a:𠀀㐀;", fields: []Field{{"a", "𠀀㐀"}}},
		{name: "U+FFFD that was sent", raw: "sn=1,da=a:\uFFFD;", text: "sn=1,da=a:\uFFFD;", fields: []Field{{"a", "\uFFFD"}}},
		{name: "U+FFFD that was sent, beside a wrong byte", charset: UTF8, raw: "sn=1,da=\uFFFD\xff;", text: "sn=1,da=\uFFFD\uFFFD;", lossy: true},
		{name: "GBK where UTF-8 is set", charset: UTF8, raw: "sn=1,da=a:\xd5\xc5;", text: "sn=1,da=a:\uFFFD\uFFFD;", fields: []Field{{"a", "\uFFFD\uFFFD"}}, lossy: true},
		{name: "bytes of no character set", raw: "sn=1,da=a:\xff\xfe;", text: "sn=1,da=a:\uFFFD\uFFFD;", fields: []Field{{"a", "\uFFFD\uFFFD"}}, lossy: true},
		{name: "half a character before a comma", raw: "sn=1,da=a:\xd5,dm=1;", text: "sn=1,da=a:\uFFFD,dm=1;", fields: []Field{{"a", "\uFFFD"}}, lossy: true},
		{name: "half a character before what could pass for three more bytes", raw: "sn=1,da=a\xd5:\x90\x30;", text: "sn=1,da=a\uFFFD:\uFFFD0;", fields: []Field{{"a\uFFFD", "\uFFFD0"}}, lossy: true},
		{name: "UTF-8 cut off at the end of a full string", raw: cut, text: cut[:254] + "\uFFFD", fields: []Field{{"姓名", "张三"}, {"城市", "南京" + strings.Repeat("x", 254-len("H=t1v5,ph=1,da=姓名:张三|城市:南京")) + "\uFFFD"}}, lossy: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			d := Decoder{Charset: tt.charset}
			var p Pop
			if err := d.Decode([]byte(tt.raw), &p); err != nil {
				t.Fatal(err)
			}
			if p.Text != tt.text {
				t.Errorf("text: got %q, want %q", p.Text, tt.text)
			}
			if p.Lossy != tt.lossy {
				t.Errorf("lossy: got %v, want %v", p.Lossy, tt.lossy)
			}
			if len(p.Fields) != len(tt.fields) {
				t.Fatalf("fields: got %q, want %q", p.Fields, tt.fields)
			}
			for i, f := range p.Fields {
				if f != tt.fields[i] {
					t.Errorf("field %d: got %q, want %q", i, f, tt.fields[i])
				}
			}
		})
	}
}

func TestCharsetsAreChecked(t *testing.T) {
	for _, c := range []Charset{"", Auto, UTF8, GB18030} {
		if err := c.Validate(); err != nil {
			t.Errorf("%q: %v", c, err)
		}
	}
	if err := Charset("latin1").Validate(); err == nil || !strings.Contains(err.Error(), `charset "latin1": expected auto, utf-8 or gb18030`) {
		t.Errorf("got %v", err)
	}
}

// Any name of one to four characters of GB2312's first level, what Chinese names
// are written in, is found to be GB18030, valid UTF-8 by chance or not.
func TestShortGBKTextIsTakenForGBK(t *testing.T) {
	var d Decoder
	var p Pop
	for high := byte(0xB0); high <= 0xD7; high++ {
		for low := byte(0xA1); low <= 0xFE; low++ {
			if high == 0xD7 && low > 0xF9 { // not assigned
				continue
			}
			one := string([]byte{high, low})
			for n := 1; n <= 4; n++ {
				raw := "sn=1,da=" + strings.Repeat(one, n) + ";"
				if err := d.Decode([]byte(raw), &p); err != nil {
					t.Fatal(err)
				}
				if got, want := gbk(t, p.Text), raw; got != want || p.Lossy {
					t.Fatalf("% x: got %q, lossy %v", raw, p.Text, p.Lossy)
				}
			}
		}
	}
}

func TestBytesThatAreNoPopBecomeText(t *testing.T) {
	for _, tt := range []struct {
		name, raw string
		charset   Charset
		text      string
		lossy     bool
	}{
		{"nothing", "", Auto, "", false},
		{"UTF-8", "南京?", Auto, "南京?", false},
		{"GB18030", gbk(t, "南京?"), Auto, "南京?", false},
		{"GB18030 where UTF-8 is set", "\xc4", UTF8, "\uFFFD", true},
		{"longer than any pop", strings.Repeat("南", 400), Auto, strings.Repeat("南", 400), false},
	} {
		if text, lossy := Text([]byte(tt.raw), tt.charset); text != tt.text || lossy != tt.lossy {
			t.Errorf("%s: got %q, %v, want %q, %v", tt.name, text, lossy, tt.text, tt.lossy)
		}
	}
}
