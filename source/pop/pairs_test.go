package pop

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestAPartEndsAtTheFirstComma(t *testing.T) {
	check := func(s string) {
		t.Helper()
		wantPart, wantRest, wantMore := strings.Cut(s, ",")
		if part, rest, more := cutPart(s); part != wantPart || rest != wantRest || more != wantMore {
			t.Fatalf("%q: got %q, %q, %v, want %q, %q, %v", s, part, rest, more, wantPart, wantRest, wantMore)
		}
	}
	for length := range 40 {
		none := strings.Repeat("-", length) // one above a comma
		check(none)
		for at := range length {
			check(none[:at] + "," + none[at+1:])
		}
	}
	// Bytes that a comma is told from by one bit, by a carry, or not at all.
	const bytes = ",-+.\x2c\xac\xad\x00\x80\xff "
	r := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		s := make([]byte, r.IntN(30))
		for i := range s {
			s[i] = bytes[r.IntN(len(bytes))]
		}
		check(string(s))
	}
}

func TestAUsualPartIsCutAsAnyOther(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const bytes = "= adz;:,\x1f\x80\xff"
	usual := 0
	for range 50_000 {
		s := make([]byte, r.IntN(7))
		for i := range s {
			s[i] = bytes[r.IntN(len(bytes))]
		}
		part := string(s)
		if !isUsual(part) {
			continue
		}
		usual++
		if name, value, ok := cutPair(part); !ok || name != part[:2] || value != part[3:] {
			t.Fatalf("%q: got %q, %q, %v", part, name, value, ok)
		}
	}
	if usual < 100 {
		t.Errorf("only %d parts were usual", usual)
	}
}
