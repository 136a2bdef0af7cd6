package telemetry

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// hidden stands for the digits that are not shown. It is always four characters,
// so that it does not tell how many they are.
const hidden = "****"

const (
	// alwaysHidden is how many digits of a number are hidden at least: four leave
	// ten thousand candidates.
	alwaysHidden = 4
	// shortNumber is the greatest number of digits that is hidden as a whole:
	// of so short a number (an extension, 95588) a part would give away the rest.
	shortNumber = 6
	// anyRun and longRun are the shortest runs of digits that are masked: in text
	// known to hold a number, even one with dashes; and in a value that only may
	// hold one, among times and counts.
	anyRun  = 3
	longRun = 7
)

// maskFor gives the mask of attributes of this key: those that hold a customer's
// number, or text with one in it. For all others it is nil.
func maskFor(key string) func(string) string {
	switch strings.ToLower(key) {
	case "number", "e164", "phone", "customer", "caller", "callee":
		return MaskNumber
	case "raw", "query", "body":
		return MaskText
	case "raw_base64":
		return maskAll
	default:
		return nil
	}
}

// MaskNumber hides the middle of a telephone number: 13812345678 becomes
// 138****5678. The last four digits and up to three of the first stay, as far as
// four digits are hidden: of eight digits the last four are shown, of seven the
// last three. Six or fewer, and what is not a number at all, are hidden as a
// whole. A leading + stays; spaces, dashes and the like go. Digits of any script
// count. The empty string stays empty.
func MaskNumber(number string) string {
	trimmed := strings.TrimSpace(number)
	if trimmed == "" {
		return ""
	}
	digits := make([]rune, 0, 16)
	for _, r := range trimmed {
		switch {
		case unicode.IsDigit(r):
			digits = append(digits, r)
		case unicode.IsLetter(r) || r == utf8.RuneError:
			return hidden
		}
	}
	if len(digits) <= shortNumber {
		return hidden
	}
	shown := len(digits) - alwaysHidden
	last := min(4, shown)
	first := min(3, shown-last)
	masked := string(digits[:first]) + hidden + string(digits[len(digits)-last:])
	if strings.HasPrefix(trimmed, "+") {
		return "+" + masked
	}
	return masked
}

// MaskText masks every run of three digits and more in text that is known to hold a
// telephone number, each as [MaskNumber] does.
func MaskText(text string) string { return maskRuns(text, anyRun) }

func maskAll(text string) string {
	if text == "" {
		return ""
	}
	return hidden
}

// maskRuns masks each run of at least shortest digits.
func maskRuns(text string, shortest int) string {
	var b strings.Builder
	start, count := -1, 0 // of the run that i is in
	flush := func(end int) {
		if run := text[start:end]; count >= shortest {
			b.WriteString(MaskNumber(run))
		} else {
			b.WriteString(run)
		}
		start, count = -1, 0
	}
	for i, r := range text {
		if unicode.IsDigit(r) {
			if start < 0 {
				start = i
			}
			count++
			continue
		}
		if start >= 0 {
			flush(i)
		}
		_, size := utf8.DecodeRuneInString(text[i:])
		b.WriteString(text[i : i+size])
	}
	if start >= 0 {
		flush(len(text))
	}
	return b.String()
}
