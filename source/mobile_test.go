package source

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// The rest of a mobile number must not matter to the library, whose metadata a
// new version may change.
func TestFiveDigitsSayWhetherAMobileNumberIsAssigned(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 1))
	valid := 0
	for beginning := 10_000; beginning < 20_000; beginning++ {
		first := formatNumber(fmt.Sprintf("%d%06d", beginning, 0))
		for _, rest := range []int{999_999, random.IntN(1_000_000), random.IntN(1_000_000)} {
			number := fmt.Sprintf("%d%06d", beginning, rest)
			got := formatNumber(number)
			if (got == "") != (first == "") {
				t.Fatalf("%s is %q, and %d000000 is %q", number, got, beginning, first)
			}
			if got != "" && got != "+86"+number {
				t.Fatalf("%s is %q", number, got)
			}
		}
		if first != "" {
			valid++
		}
	}
	if valid < 1000 || valid > 9000 {
		t.Errorf("%d of 10000 beginnings are assigned: the test looks at the wrong numbers", valid)
	}
}

func TestMobileNumbersAreWhatTheLibrarySays(t *testing.T) {
	n, err := NewNumbers("025")
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(2, 2))
	for range 2000 {
		number := fmt.Sprintf("1%010d", random.IntN(1e10))
		want := formatNumber(number)
		for _, form := range []string{number, "0" + number} {
			if got := n.E164(form); got != want || formatNumber(form) != want {
				t.Errorf("%s: got %q, want %q, and the library says %q", form, got, want, formatNumber(form))
			}
		}
	}
}

// BenchmarkNumber is a number's international form: of a mobile never seen before,
// and of a land line seen before and never.
func BenchmarkNumber(b *testing.B) {
	for name, number := range map[string]func(i int) string{
		"new mobile":   func(i int) string { return fmt.Sprintf("013%09d", i*7919%1_000_000_000) },
		"known line":   func(int) string { return "02586307627" },
		"new landline": func(i int) string { return fmt.Sprintf("025%08d", 50_000_000+i*7919%30_000_000) },
	} {
		b.Run(name, func(b *testing.B) {
			n, err := NewNumbers("025")
			if err != nil {
				b.Fatal(err)
			}
			numbers := make([]string, 20_000)
			for i := range numbers {
				numbers[i] = number(i)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				n.E164(numbers[i%len(numbers)])
			}
		})
	}
}
