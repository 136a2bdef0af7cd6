package source

import (
	"fmt"
	"strings"

	lru "github.com/hashicorp/golang-lru/v2"
	"github.com/nyaruka/phonenumbers"
)

// region is where the LQ server's number rules hold.
const region = "CN"

// rememberedNumbers bounds the memory for numbers seen lately: at about 100 bytes
// each, under half a megabyte for each source.
const rememberedNumbers = 4096

// Numbers turns customers' numbers, as an LQ server writes them, into E.164.
// Formatting one costs microseconds: for mobiles it remembers which are assigned,
// of the others the numbers seen lately, because callers call again. It is safe for concurrent use.
type Numbers struct {
	areaCode string
	mobiles  mobiles
	seen     *lru.Cache[string, string]
}

// NewNumbers makes a converter for a site with the given area code, such as 025
// or 25; without one, local land lines have no E.164 form. The error says what is
// wrong with the area code.
func NewNumbers(areaCode string) (*Numbers, error) {
	digits := strings.TrimPrefix(areaCode, "0")
	if areaCode != "" && (len(digits) < 2 || len(digits) > 3 || !allDigits(digits) || digits[0] == '0') {
		return nil, fmt.Errorf("%q: expected a Chinese area code, such as 025 or 0755", areaCode)
	}
	seen, err := lru.New[string, string](rememberedNumbers)
	if err != nil {
		return nil, err
	}
	return &Numbers{areaCode: digits, seen: seen}, nil
}

// E164 gives the international form of number, or nothing where the manual's
// rules (chapter 3: no dashes; a mobile from elsewhere has a leading 0, a land
// line from elsewhere its area code) do not make it certain, or where the result
// is not a valid number.
func (n *Numbers) E164(number string) string { return string(n.AppendE164(nil, number)) }

// AppendE164 appends what [Numbers.E164] gives.
func (n *Numbers) AppendE164(dst []byte, number string) []byte {
	if digits, ok := isMobile(number); ok {
		return n.mobiles.append(dst, digits)
	}
	if number == "" {
		return dst
	}
	e164, ok := n.seen.Get(number)
	if !ok {
		e164 = n.format(number)
		// The caller's string lives in a buffer that is used again.
		n.seen.Add(strings.Clone(number), e164)
	}
	return append(dst, e164...)
}

// longestNumber is 00 and the fifteen digits of E.164.
const longestNumber = 17

func (n *Numbers) format(number string) string {
	digits := strings.TrimPrefix(number, "+")
	if len(number) > longestNumber || !allDigits(digits) {
		return ""
	}
	dialled := ""
	switch {
	case number[0] == '+':
		dialled = number
	case strings.HasPrefix(number, "00"):
		dialled = "+" + number[2:]
	case number[0] == '0': // a land line from elsewhere
		dialled = number
	case len(number) == 10 && (strings.HasPrefix(number, "400") || strings.HasPrefix(number, "800")):
		dialled = number
	case (len(number) == 7 || len(number) == 8) && n.areaCode != "" && number[0] != '1': // a local land line
		dialled = "0" + n.areaCode + number
	default:
		return ""
	}
	return formatNumber(dialled)
}

// formatNumber gives the international form of a number as it is dialled in the
// region, or nothing where it is not valid.
func formatNumber(dialled string) string {
	parsed, err := phonenumbers.Parse(dialled, region)
	if err != nil || !phonenumbers.IsValidNumber(parsed) {
		return ""
	}
	return phonenumbers.Format(parsed, phonenumbers.E164)
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
