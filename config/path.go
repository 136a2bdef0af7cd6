package config

import (
	"fmt"
	"strconv"
	"strings"
)

// path is the place of a value: a key of the mapping at up, where index is
// negative, or else an entry of the list there. nil is the whole configuration.
type path struct {
	up    *path
	key   string
	index int
}

func (p *path) at(key string) *path { return &path{up: p, key: key, index: -1} }
func (p *path) entry(i int) *path   { return &path{up: p, index: i} }
func (p *path) isEntry() bool       { return p.index >= 0 }

// under says whether key is section or below it.
func under(key, section string) bool {
	return key == section || strings.HasPrefix(key, section+".") || strings.HasPrefix(key, section+"[")
}

// String writes p as messages have it: sources[0].agents.
func (p *path) String() string {
	switch {
	case p == nil:
		return ""
	case p.isEntry():
		return fmt.Sprintf("%v[%d]", p.up, p.index)
	case p.up == nil:
		return printable(p.key)
	default:
		return p.up.String() + "." + printable(p.key)
	}
}

// printable is a key as it is, unless it would be hard to read or no key at all.
func printable(key string) string {
	const longest = 64
	if len(key) > longest {
		return strconv.QuoteToASCII(key[:longest]) + "…"
	}
	if key == "" {
		return `""`
	}
	for _, r := range key {
		if r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
			return strconv.Quote(key)
		}
	}
	return key
}
