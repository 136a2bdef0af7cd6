package pop

import (
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func seeds(f *testing.F, add func(raw []byte, callback bool)) {
	inputs, err := filepath.Glob("testdata/*.[pq]*")
	if err != nil || len(inputs) == 0 {
		f.Fatalf("found %d inputs, %v", len(inputs), err)
	}
	for _, input := range inputs {
		raw, err := os.ReadFile(input)
		if err != nil {
			f.Fatal(err)
		}
		add(raw, strings.HasSuffix(input, ".query"))
	}
}

// clone copies what a decoder lends.
func clone(p Pop) Pop {
	v := reflect.ValueOf(&p).Elem()
	for i := range v.NumField() {
		switch f := v.Field(i).Addr().Interface().(type) {
		case *string:
			*f = strings.Clone(*f)
		case *[]Field:
			fields := make([]Field, 0, len(*f))
			for _, e := range *f {
				fields = append(fields, Field{strings.Clone(e.Name), strings.Clone(e.Value)})
			}
			*f = fields
		}
	}
	return p
}

// Invariants, for any bytes, either kind, any character set:
//
//  1. Nothing panics. There is a Pop or an *Error with a reason and a column.
//  2. The result does not depend on what the decoder decoded before.
//  3. A Pop has a known format, a number or a call, times of the years 1970 to
//     2199 in the decoder's zone, no empty or repeated names, and all of it UTF-8.
//  4. Valid UTF-8 stays what it was where UTF-8 is set.
//  5. KeyHash of the bytes is KeyHash of the Pop: so it is the same for any two
//     strings with the same sn, else id; and there is one exactly if one is there.
func FuzzDecode(f *testing.F) {
	for i := range 3 {
		seeds(f, func(raw []byte, callback bool) { f.Add(raw, callback, uint8(i)) })
	}
	f.Add([]byte("sn=\xd5\x30\x81\x30,id=5"), false, uint8(0))
	f.Add([]byte("\x81=\x81\x30,sn=5;"), false, uint8(2))
	f.Add([]byte("phone=%81&%26=%3D&+=+&dtmf"), true, uint8(2))
	location, used := shanghai(f), map[Charset]*Decoder{}
	f.Fuzz(func(t *testing.T, raw []byte, callback bool, set uint8) {
		charset := [...]Charset{Auto, UTF8, GB18030}[set%3]
		if used[charset] == nil {
			used[charset] = &Decoder{Charset: charset, Location: location}
		}
		fresh := Decoder{Charset: charset, Location: location}
		var p, q Pop
		input := string(raw)
		err := fresh.decode(input, callback, &p)
		again := used[charset].decode(input, callback, &q)
		if p, q := clone(p), clone(q); !reflect.DeepEqual(p, q) || !reflect.DeepEqual(err, again) {
			t.Fatalf("a fresh decoder: %+v, %v; a used one: %+v, %v", p, err, q, again)
		}
		if string(raw) != input {
			t.Fatal("the input was changed")
		}
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Reason.Explain() == string(e.Reason) || e.Column < 1 || e.Column > len(raw)+1 {
				t.Fatalf("error %#v", err)
			}
			return
		}
		checkPop(t, &p, location)
		if charset == UTF8 && utf8.Valid(raw) && (p.Text != input || p.Lossy) {
			t.Fatalf("text %q, lossy %v", p.Text, p.Lossy)
		}
		if p.Lossy && !strings.ContainsRune(p.Text, utf8.RuneError) {
			t.Fatalf("%q lost nothing", p.Text)
		}
		if callback {
			return
		}
		got, ok := KeyHash(raw)
		want, wantOK := p.KeyHash()
		if got != want || ok != wantOK || ok != (p.SN != "" || p.ID != "") {
			t.Fatalf("key of sn %q, id %q: %x, %v from the bytes, %x, %v from the pop", p.SN, p.ID, got, ok, want, wantOK)
		}
	})
}

func checkPop(t *testing.T, p *Pop, location *time.Location) {
	t.Helper()
	switch p.Format {
	case T1V1, T1V2, T1V3, T1V4, T1V5, Callback:
	default:
		t.Fatalf("format %q", p.Format)
	}
	if p.Number == "" && p.SN == "" && p.ID == "" {
		t.Fatal("neither number nor call")
	}
	if p.Declared == p.Format || p.Mode < 0 || p.Mode > 999 || p.IDDerived && p.ID == "" {
		t.Fatalf("%+v", p)
	}
	if at := p.StartedAt; !at.IsZero() && (at.Location() != location || at.Year() < 1970 || at.UnixMilli() > maxMillis) {
		t.Fatalf("started at %v", at)
	}
	v := reflect.ValueOf(p).Elem()
	for i := range v.NumField() {
		name := v.Type().Field(i).Name
		switch f := v.Field(i).Interface().(type) {
		case string:
			checkText(t, name, f)
		case []Field:
			names := map[string]bool{}
			for _, e := range f {
				if e.Name == "" || e.Value == "" || names[e.Name] {
					t.Fatalf("%s: %q", name, f)
				}
				names[e.Name] = true
				checkText(t, name, e.Name)
				checkText(t, name, e.Value)
			}
			if len(f) > MaxFields {
				t.Fatalf("%s: %d entries", name, len(f))
			}
		}
	}
}

func checkText(t *testing.T, name, s string) {
	t.Helper()
	if !utf8.ValidString(s) {
		t.Fatalf("%s: %q is no UTF-8", name, s)
	}
	if name != "Text" && s != strings.Trim(s, " ") {
		t.Fatalf("%s: %q is not trimmed", name, s)
	}
}

// Invariant: what Append makes of a Pop that fits its format decodes to that Pop.
func FuzzAppend(f *testing.F) {
	formats := [...]string{T1V1, T1V2, T1V3, T1V4, T1V5, Callback}
	for i := range formats {
		f.Add(uint64(i), uint64(i), uint8(i))
	}
	location := shanghai(f)
	f.Fuzz(func(t *testing.T, seed1, seed2 uint64, format uint8) {
		name := formats[int(format)%len(formats)]
		want := generate(rand.New(rand.NewPCG(seed1, seed2)), name, location)
		raw, err := Append(nil, name, &want)
		if err != nil {
			t.Fatal(err)
		}
		d := Decoder{Charset: UTF8, Location: location}
		var got Pop
		if err := d.decode(string(raw), name == Callback, &got); err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		check(t, got, want, string(raw))
	})
}
