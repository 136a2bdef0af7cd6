package config

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/callpop/connector/internal/secret"
)

// isText says whether a type reads itself from text.
func isText(out reflect.Value) bool {
	_, ok := out.Addr().Interface().(encoding.TextUnmarshaler)
	return ok
}

// text decodes a value whose type reads itself: sizes, secrets and the like.
func (d *decoder) text(p *path, in any, out reflect.Value) {
	var text string
	switch in := in.(type) {
	case string:
		text = in
	case given:
		text = in.Text
	case literal:
		if out.Type() == secretType {
			d.mistakes.wrong(p, redacted, "text, in quotes")
			return
		}
		text = string(in)
	default:
		shown := show(in)
		if out.Type() == secretType {
			shown = kindName(in)
		}
		d.mistakes.wrong(p, shown, expectedFor(out))
		return
	}
	err := out.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
	if err == nil {
		return
	}
	if out.Type() == secretType {
		d.mistakes.wrong(p, redacted, "text")
		return
	}
	// The package shows the value itself; here it stands before what it says.
	said := oneLine(err.Error())
	if g, ok := in.(given); ok {
		said = strings.ReplaceAll(said, strconv.Quote(g.Text), g.Shown)
	}
	said = strings.TrimPrefix(said, show(in))
	said = strings.TrimPrefix(strings.TrimPrefix(strings.TrimPrefix(said, strconv.Quote(text)), ": "), " is ")
	d.mistakes.add(p, Error{
		Value: show(in), Expected: strings.TrimPrefix(said, "expected "), Err: err,
		message: fmt.Sprintf("%v is %s: %s", p, show(in), said),
	})
}

// scalar decodes text, durations, numbers, true and false.
func (d *decoder) scalar(p *path, in any, out reflect.Value) {
	if out.Type() == reflect.TypeFor[time.Duration]() {
		if duration, ok := parseDuration(in); ok {
			out.SetInt(int64(duration))
			return
		}
		d.mistakes.wrong(p, show(in), expectedFor(out))
		return
	}
	source, isLiteral := in.(literal)
	if g, ok := in.(given); ok {
		source, isLiteral = literal(strings.TrimSpace(g.Text)), true
		if out.Kind() == reflect.String {
			out.SetString(g.Text)
			return
		}
	}
	ok := false
	switch out.Kind() {
	case reflect.String:
		var text string
		if text, ok = in.(string); ok {
			out.SetString(text)
		} else if isLiteral {
			d.mistakes.wrong(p, show(in), "text, in quotes: "+strconv.Quote(string(source)))
			return
		}
	case reflect.Bool:
		if ok = isLiteral && (strings.EqualFold(string(source), "true") || strings.EqualFold(string(source), "false")); ok {
			out.SetBool(strings.EqualFold(string(source), "true"))
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		var n int64
		if n, ok = parseInt(string(source)); ok && isLiteral && !out.OverflowInt(n) {
			out.SetInt(n)
		} else {
			ok = false
		}
	case reflect.Float32, reflect.Float64:
		n, err := strconv.ParseFloat(string(source), 64)
		if ok = isLiteral && err == nil && n-n == 0; ok { // neither infinite nor no number
			out.SetFloat(n)
		}
	default:
		panic(fmt.Sprintf("config: %v has type %v, which no value can be decoded to", p, out.Type()))
	}
	if !ok {
		d.mistakes.wrong(p, show(in), expectedFor(out))
	}
}

// parseDuration reads a duration with a unit; zero needs none.
func parseDuration(in any) (time.Duration, bool) {
	var text string
	switch in := in.(type) {
	case string:
		text = in
	case given:
		text = strings.TrimSpace(in.Text)
	case literal:
		return 0, in == "0"
	}
	duration, err := time.ParseDuration(text)
	return duration, err == nil
}

// parseInt reads a decimal number. Other notations would surprise: 010 is eight
// in some versions of YAML.
func parseInt(text string) (int64, bool) {
	digits := strings.TrimPrefix(text, "-")
	if len(digits) > 1 && digits[0] == '0' || strings.HasPrefix(digits, "+") {
		return 0, false
	}
	n, err := strconv.ParseInt(text, 10, 64)
	return n, err == nil
}

// secretFile reads the file that a key names, in the place of the secret beside
// it. Where the package has the key itself, it reads the file when it needs it, and
// here is only seen that it can be.
func (d *decoder) secretFile(p *path, in any, f field) {
	var name string
	before := len(d.mistakes.list)
	d.value(p, in, reflect.ValueOf(&name).Elem())
	if len(d.mistakes.list) > before || name == "" {
		return
	}
	beside, _ := f.secretOf.Interface().(secret.Value)
	key := strings.TrimSuffix(p.key, fileSuffix)
	if !beside.IsZero() {
		d.mistakes.add(p, Error{message: fmt.Sprintf("%v is set beside %s: expected one of the two", p, key)})
		return
	}
	value, err := secret.ReadFile(name)
	if err != nil {
		d.mistakes.add(p, Error{Value: quote(name), Err: err, message: fmt.Sprintf("%v is %s: %s", p, quote(name), oneLine(err.Error()))})
		return
	}
	if !f.value.IsValid() {
		f.secretOf.Set(reflect.ValueOf(value))
	}
}

// show is a value as messages have it.
func show(in any) string {
	switch in := in.(type) {
	case nil:
		return "null"
	case string:
		return quote(in)
	case given:
		return in.Shown
	case literal:
		if len(in) > 40 {
			return quote(string(in))
		}
		return string(in)
	default:
		return kindName(in)
	}
}

func kindName(in any) string {
	switch in.(type) {
	case map[string]any:
		return "a mapping"
	case []any:
		return "a list"
	default:
		return redacted
	}
}

// expectedFor says in words what a value has to be.
func expectedFor(out reflect.Value) string {
	switch {
	case out.Type() == secretType:
		return "text"
	case out.Type() == rosterType, out.Type() == reflect.SliceOf(sourceType), out.Type() == reflect.SliceOf(sinkType):
		return "a list"
	case out.Type() == reflect.TypeFor[time.Duration]():
		return "a duration with a unit, such as 5s"
	case isText(out):
		if now, ok := out.Interface().(fmt.Stringer); ok && now.String() != "" {
			return "a value such as " + now.String()
		}
		return "text"
	case isSection(out.Type()):
		return "keys and values"
	}
	switch out.Kind() {
	case reflect.Slice:
		return "a list"
	case reflect.Map:
		return "names and values"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "text"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		return "a whole number"
	}
}
