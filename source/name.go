package source

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxNameLen is the longest name of a source or server, in bytes.
const maxNameLen = 64

// CheckName returns what is wrong with a source's or server's name, under the key
// it was given by. Names go into keys, where a slash ends the server's name, and
// into metrics and logs.
func CheckName(key, name string) error {
	const expected = "expected 1 to 64 bytes of letters, digits and marks, without spaces and slashes"
	bad := func(r rune) bool { return r == '/' || unicode.IsSpace(r) || !unicode.IsPrint(r) }
	if name == "" || len(name) > maxNameLen || !utf8.ValidString(name) || strings.ContainsFunc(name, bad) {
		return fmt.Errorf("%s is %q: %s", key, name, expected)
	}
	return nil
}
