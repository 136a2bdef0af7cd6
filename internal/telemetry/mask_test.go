package telemetry

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

func TestNumbersAreMaskedByHowManyDigitsTheyHave(t *testing.T) {
	for _, c := range []struct{ number, want string }{
		{"", ""}, {"  ", ""},
		{"1", "****"}, {"12", "****"}, {"110", "****"}, {"8001", "****"}, {"10086", "****"}, {"955880", "****"},
		{"8630762", "****762"}, {"86307627", "****7627"}, {"400123456", "4****3456"}, {"4001234567", "40****4567"},
		{"13812345678", "138****5678"}, {"013812345678", "013****5678"}, {"02586307627", "025****7627"},
		{"+8613812345678", "+861****5678"}, {" +86 138-1234-5678 ", "+861****5678"}, {"(025) 8630 7627", "025****7627"},
		{"１３８１２３４５６７８", "１３８****５６７８"}, {"٠١٢٣٤٥٦٧٨٩٠", "٠١٢****٧٨٩٠"},
		{"anonymous", "****"}, {"王小明", "****"}, {"sip:13812345678@pbx", "****"}, {"1381234\xff5678", "****"}, {"-", "****"},
	} {
		if got := MaskNumber(c.number); got != c.want {
			t.Errorf("MaskNumber(%q) = %q, want %q", c.number, got, c.want)
		}
	}
}

func TestTextIsMaskedRunByRun(t *testing.T) {
	for _, c := range []struct {
		text     string
		shortest int
		want     string
	}{
		{"H=t1v2,ch=2,ph=13812345678,dm=1;2;", anyRun, "H=t1v2,ch=2,ph=138****5678,dm=1;2;"},
		{"2,02586307627,1000,1208674344953,NA", anyRun, "2,025****7627,****,120****4953,NA"},
		{"138-1234-5678", anyRun, "****-****-****"},
		{"call 13812345678 after 30 s on port 7628", longRun, "call 138****5678 after 30 s on port 7628"},
		{"13812345678", longRun, "138****5678"},
		{"客户13812345678\xff号", longRun, "客户138****5678\xff号"},
		{"", longRun, ""},
	} {
		if got := maskRuns(c.text, c.shortest); got != c.want {
			t.Errorf("maskRuns(%q, %d) = %q, want %q", c.text, c.shortest, got, c.want)
		}
	}
}

// Whatever the number, four of its digits or more are gone, and what is shown is
// its beginning and its end.
func FuzzMaskNumber(f *testing.F) {
	for _, seed := range []string{"13812345678", "+86 138-1234-5678", "１３８", "x\xff1", "1234567"} {
		f.Add(seed)
	}
	digits := func(s string) string {
		return strings.Map(func(r rune) rune {
			if unicode.IsDigit(r) {
				return r
			}
			return -1
		}, s)
	}
	f.Fuzz(func(t *testing.T, number string) {
		masked := MaskNumber(number)
		if strings.TrimSpace(number) == "" {
			if masked != "" {
				t.Fatalf("MaskNumber(%q) = %q, want nothing", number, masked)
			}
			return
		}
		first, last, found := strings.Cut(masked, hidden)
		if !found || !utf8.ValidString(masked) {
			t.Fatalf("MaskNumber(%q) = %q", number, masked)
		}
		first = strings.TrimPrefix(first, "+")
		all := digits(number)
		if !strings.HasPrefix(all, first) || !strings.HasSuffix(all, last) {
			t.Errorf("MaskNumber(%q) = %q: not its beginning and its end", number, masked)
		}
		shown := utf8.RuneCountInString(first) + utf8.RuneCountInString(last)
		if gone := utf8.RuneCountInString(all) - shown; shown > 0 && gone < alwaysHidden {
			t.Errorf("MaskNumber(%q) = %q: only %d digits are hidden", number, masked, gone)
		}
	})
}
