package config

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// expand puts the environment's values in the place of ${NAME}, once: what a
// variable holds is not looked at. changed says whether there was any.
func (d *document) expand(text string) (out string, changed bool, err error) {
	var b strings.Builder
	for {
		i := strings.Index(text, "${")
		if i < 0 {
			b.WriteString(text)
			return b.String(), changed, nil
		}
		if i > 0 && text[i-1] == '$' {
			b.WriteString(text[:i-1])
			b.WriteString("${")
			text = text[i+2:]
			continue
		}
		name, rest, closed := strings.Cut(text[i+2:], "}")
		if !closed || !variableName.MatchString(name) {
			return "", false, errors.New("${ begins a variable: expected ${NAME}, or $${ for the characters themselves")
		}
		value, ok := d.env(name)
		if !ok {
			return "", false, fmt.Errorf("the variable %s is not set in the environment", name)
		}
		d.asked[name] = true
		if d.expanded += len(value); d.expanded > maxExpanded {
			return "", false, nil // the caller says so
		}
		b.WriteString(text[:i])
		b.WriteString(value)
		text, changed = rest, true
	}
}
