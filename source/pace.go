package source

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Pace is how many sessions are closed in a second; 0 = all at once.
type Pace float64

// maxPace is as good as all at once.
const maxPace = 100_000

// ParsePace reads a pace: a number, a slash, and s, m or h, such as 5/s or 90/m.
// Nothing is 0. The error says what was expected.
func ParsePace(text string) (Pace, error) {
	if text == "" || text == "0" {
		return 0, nil
	}
	number, unit, _ := strings.Cut(text, "/")
	n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	per, known := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[strings.TrimSpace(unit)]
	if err != nil || !known || !(n > 0) || n/per.Seconds() > maxPace {
		return 0, fmt.Errorf("%q: expected sessions in a time, such as 5/s or 90/m", text)
	}
	return Pace(n / per.Seconds()), nil
}

// String is p as [ParsePace] reads it.
func (p Pace) String() string {
	for _, unit := range []struct {
		name string
		per  float64
	}{{"s", 1}, {"m", 60}, {"h", 3600}} {
		if text := strconv.FormatFloat(float64(p)*unit.per, 'f', -1, 64); p > 0 && len(text) <= 8 {
			return text + "/" + unit.name
		}
	}
	if p > 0 {
		return strconv.FormatFloat(float64(p), 'g', -1, 64) + "/s"
	}
	return ""
}

// MarshalText is String.
func (p Pace) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText is [ParsePace].
func (p *Pace) UnmarshalText(text []byte) error {
	parsed, err := ParsePace(string(text))
	if err == nil {
		*p = parsed
	}
	return err
}
