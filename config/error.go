package config

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Error is one mistake in the configuration. Its text is one line and holds no
// secret.
type Error struct {
	// File and Line say where the mistake is; Line is 0 where it is in no line.
	File string
	Line int
	// Setting is the variable or flag that the value came from instead, such as
	// CONNECTOR_SPOOL__SYNC or --log-level.
	Setting string
	// Key is the key's path, such as sources[0].expire_after; empty where the
	// mistake is in no key.
	Key string
	// Value is what was found, as it may be shown; empty where that is not known.
	Value string
	// Expected says what would have been right; empty where the message says it.
	Expected string
	// Err is what a package said of its own part; may be nil.
	Err error

	message string
}

// Error is the place, the key, the value and what was expected.
func (e *Error) Error() string {
	switch {
	case e.Setting != "":
		return e.Setting + ": " + e.message
	case e.File == "":
		return e.message
	case e.Line == 0:
		return e.File + ": " + e.message
	default:
		return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.message)
	}
}

// Unwrap gives errors.Is and errors.As what a package said.
func (e *Error) Unwrap() error { return e.Err }

// maxErrors is how many mistakes one message lists.
const maxErrors = 20

// Errors are all the mistakes that were found, in the order of the file's lines,
// then those of other layers.
type Errors []*Error

// Error is one line for each mistake, up to twenty.
func (e Errors) Error() string {
	var text strings.Builder
	for i, mistake := range e {
		if i == maxErrors {
			more := "and"
			if len(e) >= maxKept {
				more = "and at least"
			}
			fmt.Fprintf(&text, "\n%s %d more", more, len(e)-i)
			break
		}
		if i > 0 {
			text.WriteByte('\n')
		}
		text.WriteString(mistake.Error())
	}
	return text.String()
}

// Unwrap gives errors.Is and errors.As the single mistakes.
func (e Errors) Unwrap() []error {
	errs := make([]error, len(e))
	for i, mistake := range e {
		errs[i] = mistake
	}
	return errs
}

// maxKept bounds the mistakes that are remembered: a file of another kind has as
// many as it has lines.
const maxKept = 500

// mistakes collects what is wrong.
type mistakes struct {
	// locate fills in where the value at a path came from; may be nil.
	locate func(*path, *Error)
	list   Errors
}

// full says that no more mistakes are remembered: there is no need to look for any.
func (m *mistakes) full() bool { return len(m.list) >= maxKept }

// push remembers a mistake whose place is known.
func (m *mistakes) push(e *Error) {
	if !m.full() {
		m.list = append(m.list, e)
	}
}

// add remembers a mistake at p.
func (m *mistakes) add(p *path, e Error) {
	if m.full() {
		return
	}
	e.Key = p.String()
	if m.locate != nil {
		m.locate(p, &e)
	}
	m.push(&e)
}

// wrong remembers that the value at p is not what was expected.
func (m *mistakes) wrong(p *path, shown, expected string) {
	m.add(p, Error{
		Value: shown, Expected: expected,
		message: fmt.Sprintf("%v is %s: expected %s", p, shown, expected),
	})
}

// within says whether anything is wrong at p or below it.
func (m *mistakes) within(p *path) bool {
	return slices.ContainsFunc(m.list, func(e *Error) bool { return under(e.Key, p.String()) })
}

// err is nil where nothing is wrong.
func (m *mistakes) err() error {
	if len(m.list) == 0 {
		return nil
	}
	slices.SortStableFunc(m.list, func(a, b *Error) int {
		// What is in no line, such as a missing key, comes after what is in one.
		return cmp.Or(cmp.Compare(unplaced(a), unplaced(b)), cmp.Compare(a.Line, b.Line))
	})
	return m.list
}

func unplaced(e *Error) int {
	if e.Line == 0 {
		return 1
	}
	return 0
}

// said remembers what the package that owns the part at p said of it: errors that
// begin with the key, joined or single.
func (m *mistakes) said(p *path, err error, keys []string) {
	if err == nil {
		return
	}
	if joined, ok := err.(interface{ Unwrap() []error }); ok && errors.Join(joined.Unwrap()...).Error() == err.Error() {
		for _, e := range joined.Unwrap() {
			m.said(p, e, keys)
		}
		return
	}
	text := oneLine(hideUserinfo(err.Error()))
	key := keyAtStart.FindString(text)
	at, first := below(p, key)
	if !slices.Contains(keys, first) {
		m.add(p, Error{Err: err, message: fmt.Sprintf("%v: %s", p, text)})
		return
	}
	e := Error{Err: err, message: at.String() + text[len(key):]}
	if parts := saidOfValue.FindStringSubmatch(text[len(key):]); parts != nil {
		e.Value, e.Expected = parts[1], parts[2]
		e.message = fmt.Sprintf("%v is %s: expected %s", at, e.Value, e.Expected)
	}
	m.add(at, e)
}

// How packages begin what they say: with a key, then mostly with its value and
// what they expect.
var (
	keyAtStart  = regexp.MustCompile(`^[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*|\[[0-9]{1,6}\])*`)
	saidOfValue = regexp.MustCompile(`^(?:: | is )("(?:[^"\\]|\\.)*"|[^\s":]+): (?:expected|want) (.+)$`)
	keyPart     = regexp.MustCompile(`[a-z0-9_]+`)
)

// below is the place below p that a key names, and the first name in it.
func below(p *path, key string) (at *path, first string) {
	at = p
	for _, span := range keyPart.FindAllStringIndex(key, -1) {
		part := key[span[0]:span[1]]
		if span[0] > 0 && key[span[0]-1] == '[' {
			i, _ := strconv.Atoi(part)
			at = at.entry(i)
			continue
		}
		if first == "" {
			first = part
		}
		at = at.at(part)
	}
	return at, first
}

// quote shows a text in a message: in quotes, cut where it is long, without the
// user and password of a URL.
func quote(text string) string {
	const longest = 80
	text = hideUserinfo(text)
	if len(text) <= longest {
		return strconv.Quote(text)
	}
	cut := longest
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return strconv.Quote(text[:cut]) + "…"
}

const redacted = "[redacted]"

// userinfo is what stands between a URL's scheme and its host. A password may hold
// anything, also what should have been escaped: up to the last @, then.
var userinfo = regexp.MustCompile(`(?s)(://).*@|[^\s"':/@]+:[^\s"'/@]+@`)

func hideUserinfo(text string) string {
	return userinfo.ReplaceAllString(text, "${1}"+redacted+"@")
}

// oneLine makes text one line without control characters.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case !strconv.IsPrint(r):
			return '\ufffd'
		default:
			return r
		}
	}, text)
}
