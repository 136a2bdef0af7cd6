package source

import (
	"fmt"
	"strings"
	"testing"
)

func TestE164FollowsTheManualsNumberRules(t *testing.T) {
	for _, c := range []struct{ area, number, want string }{
		{"025", "86307627", "+862586307627"},    // a local land line
		{"25", "86307627", "+862586307627"},     // the area code without its 0
		{"", "86307627", ""},                    // no area code: not guessed
		{"025", "02586307627", "+862586307627"}, // with its area code
		{"", "02586307627", "+862586307627"},
		{"025", "01062345678", "+861062345678"},
		{"0755", "8630762", ""}, // 0755 has eight digits
		{"0511", "84401234", "+8651184401234"},
		{"025", "13812345678", "+8613812345678"},
		{"025", "013812345678", "+8613812345678"}, // a mobile from elsewhere
		{"025", "4008123123", "+864008123123"},
		{"025", "10086", ""},
		{"025", "95588", ""},
		{"025", "110", ""},
		{"025", "12345678901", ""},
		{"025", "+442079460958", "+442079460958"},
		{"025", "00442079460958", "+442079460958"},
		{"025", "8613812345678", ""}, // neither the manual's form nor marked as international
		{"025", "anonymous", ""},
		{"025", "138-1234-5678", ""},
		{"025", "+", ""},
		{"025", "00", ""},
		{"025", "0", ""},
		{"025", "", ""},
		{"025", strings.Repeat("1", 255), ""},
		{"025", "１３８１２３４５６７８", ""},
	} {
		n, err := NewNumbers(c.area)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time from memory
			if got := n.E164(c.number); got != c.want {
				t.Errorf("area %q, number %q: got %q, want %q", c.area, c.number, got, c.want)
			}
		}
	}
}

func TestAWrongAreaCodeIsRefused(t *testing.T) {
	for _, bad := range []string{"0", "00", "2", "12345", "ab", "0-25", "+86"} {
		if _, err := NewNumbers(bad); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", bad)) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestRememberedNumbersAreBoundedAndDoNotAliasTheCallersBuffer(t *testing.T) {
	n, _ := NewNumbers("025")
	for i := range 2 * rememberedNumbers {
		n.E164(fmt.Sprintf("8630%04d", i))
	}
	if got := n.seen.Len(); got != rememberedNumbers {
		t.Errorf("remembers %d numbers, want %d", got, rememberedNumbers)
	}
}

func BenchmarkE164(b *testing.B) {
	n, _ := NewNumbers("025")
	b.Run("remembered", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n.E164("86307627")
		}
	})
	b.Run("formatted", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n.format("86307627")
		}
	})
}
