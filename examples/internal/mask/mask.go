// Package mask hides customers' telephone numbers.
package mask

import (
	"strings"
	"unicode"
)

// hidden stands for the digits that are not shown, however many.
const hidden = "****"

// shortNumber is the greatest number of digits that is hidden as a whole.
const shortNumber = 6

// Number hides the middle of a telephone number: 13812345678 becomes 138****5678.
// Four digits are hidden at least, and six or fewer as a whole, as is what holds
// letters. Whatever else stands between the digits goes.
func Number(number string) string {
	var digits []rune
	for _, r := range number {
		switch {
		case unicode.IsDigit(r):
			digits = append(digits, r)
		case unicode.IsLetter(r):
			return hidden
		}
	}
	if len(digits) <= shortNumber {
		if number == "" {
			return ""
		}
		return hidden
	}
	last := min(4, len(digits)-4)
	first := min(3, len(digits)-4-last)
	masked := string(digits[:first]) + hidden + string(digits[len(digits)-last:])
	if strings.HasPrefix(number, "+") {
		return "+" + masked
	}
	return masked
}

// Text hides what may be a number in a text: seven digits or more with at most one
// other character between two of them, such as keys pressed one by one.
func Text(text string) string {
	var b strings.Builder
	runes := []rune(text)
	for i := 0; i < len(runes); {
		end, digits := run(runes[i:])
		switch {
		case digits > shortNumber:
			b.WriteString(Number(string(runes[i : i+end])))
			i += end
		case end > 0:
			b.WriteString(string(runes[i : i+end]))
			i += end
		default:
			b.WriteRune(runes[i])
			i++
		}
	}
	return b.String()
}

// run is how far digits go from the start of a text, and how many they are.
func run(text []rune) (end, digits int) {
	for i, r := range text {
		if unicode.IsDigit(r) {
			end, digits = i+1, digits+1
		} else if end == 0 || i > end || unicode.IsLetter(r) {
			break
		}
	}
	return end, digits
}
