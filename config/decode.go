package config

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"sort"
	"strings"

	"github.com/callpop/connector/source"
)

// decoder puts the merged values into a Config. koanf's own way to do that, by
// mapstructure, drops the values' places, shows secrets in its errors, and takes 5
// for five nanoseconds.
type decoder struct {
	mistakes *mistakes
	// agents counts those of all sources.
	agents int
}

// root decodes the whole configuration over its defaults.
func (d *decoder) root(values map[string]any) *Config {
	c := Default()
	d.fields(nil, values, fieldsOf(reflect.ValueOf(&c).Elem()))
	return &c
}

// fields decodes a mapping of known keys. Keys that are not there leave their
// fields as they are.
func (d *decoder) fields(p *path, values map[string]any, fields []field) {
	known := map[string]bool{}
	for _, f := range fields {
		known[f.key] = true
		in, ok := values[f.key]
		if !ok {
			continue
		}
		if f.value.IsValid() {
			d.value(p.at(f.key), in, f.value)
		}
	}
	for _, f := range fields {
		if in, ok := values[f.key]; ok && f.secretOf.IsValid() {
			d.secretFile(p.at(f.key), in, f)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		if d.mistakes.full() {
			return
		}
		if !known[key] {
			d.unknownKey(p.at(key), key, keysOf(fields))
		}
	}
}

func (d *decoder) unknownKey(p *path, key string, known []string) {
	expected := "expected one of " + strings.Join(slices.Sorted(slices.Values(known)), ", ")
	if near, ok := nearest(key, known); ok {
		expected = "did you mean " + near + "?"
	}
	d.mistakes.add(p, Error{Expected: expected, message: fmt.Sprintf("%v is not a known key: %s", p, expected)})
}

// value decodes one value of any type that a Config may have.
func (d *decoder) value(p *path, in any, out reflect.Value) {
	if _, ok := in.(unknown); ok {
		return
	}
	if in == nil {
		expected := expectedFor(out)
		d.mistakes.add(p, Error{
			Value: "null", Expected: expected,
			message: fmt.Sprintf("%v has no value: expected %s, or the key left out", p, expected),
		})
		return
	}
	switch {
	case out.Type() == rosterType:
		d.roster(p, in, out)
	case out.Type() == reflect.SliceOf(sourceType):
		d.components(p, in, func(p *path, values map[string]any) {
			var s Source
			s.Config = d.component(p, values, sourceKinds(), &s.Type, field{key: "name", value: reflect.ValueOf(&s.Name).Elem()})
			out.Set(reflect.Append(out, reflect.ValueOf(s)))
		})
	case out.Type() == reflect.SliceOf(sinkType):
		d.components(p, in, func(p *path, values map[string]any) {
			s := newSink()
			s.Config = d.component(p, values, sinkKinds(), &s.Type,
				field{key: "name", value: reflect.ValueOf(&s.Name).Elem()}, field{key: "start", value: reflect.ValueOf(&s.Start).Elem()})
			out.Set(reflect.Append(out, reflect.ValueOf(s)))
		})
	case isText(out):
		d.text(p, in, out)
	case isSection(out.Type()):
		if values, ok := in.(map[string]any); ok {
			d.fields(p, values, fieldsOf(out))
			return
		}
		d.mistakes.wrong(p, show(in), expectedFor(out))
	case out.Kind() == reflect.Slice:
		d.list(p, in, out)
	case out.Kind() == reflect.Map:
		d.mapping(p, in, out)
	default:
		d.scalar(p, in, out)
	}
}

func (d *decoder) list(p *path, in any, out reflect.Value) {
	var entries []any
	switch in := in.(type) {
	case []any:
		entries = in
	case given:
		for part := range strings.SplitSeq(in.Text, ",") {
			if part = strings.TrimSpace(part); part != "" {
				entries = append(entries, given{Text: part, Shown: in.Shown})
			}
		}
	default:
		d.mistakes.wrong(p, show(in), expectedFor(out))
		return
	}
	list := reflect.MakeSlice(out.Type(), len(entries), len(entries))
	for i, entry := range entries {
		d.value(p.entry(i), entry, list.Index(i))
	}
	out.Set(list)
}

func (d *decoder) mapping(p *path, in any, out reflect.Value) {
	values, ok := in.(map[string]any)
	if !ok {
		d.mistakes.wrong(p, show(in), expectedFor(out))
		return
	}
	mapping := reflect.MakeMapWithSize(out.Type(), len(values))
	for _, key := range slices.Sorted(maps.Keys(values)) {
		value := reflect.New(out.Type().Elem()).Elem()
		d.value(p.at(key), values[key], value)
		mapping.SetMapIndex(reflect.ValueOf(key).Convert(out.Type().Key()), value)
	}
	out.Set(mapping)
}

// How many sources, and how many sinks, there may be, and how many agents in all:
// far more than one machine has connections for. A short text can name a great
// many agents.
const (
	maxComponents = 1000
	maxAgents     = 100_000
)

// components decodes sources or sinks, one call of decode for each.
func (d *decoder) components(p *path, in any, decode func(*path, map[string]any)) {
	entries, ok := in.([]any)
	if !ok {
		d.mistakes.wrong(p, show(in), "a list")
		return
	}
	if len(entries) > maxComponents {
		d.mistakes.wrong(p, fmt.Sprintf("a list of %d", len(entries)), fmt.Sprintf("at most %d entries", maxComponents))
		return
	}
	for i, entry := range entries {
		values, ok := entry.(map[string]any)
		if !ok {
			if _, said := entry.(unknown); !said {
				d.mistakes.wrong(p.entry(i), show(entry), "a mapping with name and type")
			}
			continue
		}
		decode(p.entry(i), values)
	}
}

// component decodes one source or sink, whose type says which keys it may have.
// common are keys of every type. The result is nil where the type is wrong.
func (d *decoder) component(p *path, values map[string]any, kinds []kind, kindName *string, common ...field) Component {
	names := oneOf(kindNames(kinds))
	in, ok := values["type"]
	if !ok {
		d.mistakes.add(p, Error{Expected: names, message: fmt.Sprintf("%v has no type: expected %s", p, names)})
		return nil
	}
	before := len(d.mistakes.list)
	d.value(p.at("type"), in, reflect.ValueOf(kindName).Elem())
	if len(d.mistakes.list) > before {
		return nil
	}
	if _, ok := in.(unknown); ok {
		return nil
	}
	at := slices.IndexFunc(kinds, func(k kind) bool { return k.name == *kindName })
	if at < 0 {
		expected := names
		if near, ok := nearest(*kindName, kindNames(kinds)); ok {
			expected += ": did you mean " + near + "?"
		}
		d.mistakes.wrong(p.at("type"), show(in), expected)
		return nil
	}
	c := kinds[at].make()
	fields := fieldsOf(reflect.ValueOf(c).Elem())
	common = append(common, field{key: "type", value: reflect.ValueOf(kindName).Elem()})
	d.fields(p, values, withCommon(common, fields))
	// Most kinds have no field of their own for what all have in common.
	for _, own := range fields {
		for _, f := range common {
			if own.key == f.key && own.value.Type() == f.value.Type() {
				own.value.Set(f.value)
			}
		}
	}
	if kinds[at].complete != nil {
		kinds[at].complete(c)
	}
	return c
}

// withCommon are the common keys and then those of own that are not among them.
func withCommon(common, own []field) []field {
	all := slices.Clone(common)
	for _, f := range own {
		if !slices.ContainsFunc(common, func(c field) bool { return c.key == f.key }) {
			all = append(all, f)
		}
	}
	return all
}

// roster decodes agents, whose forms package source knows.
func (d *decoder) roster(p *path, in any, out reflect.Value) {
	entries, ok := in.([]any)
	if !ok {
		d.mistakes.wrong(p, show(in), `a list of agents, such as ["801", "810-829"]`)
		return
	}
	if d.agents > maxAgents {
		return
	}
	plain := make([]any, len(entries))
	for i, entry := range entries {
		if _, ok := entry.(unknown); ok {
			return
		}
		plain[i] = plainEntry(entry)
	}
	roster, err := source.ParseRoster(plain)
	if err == nil {
		if d.agents += len(roster); d.agents > maxAgents {
			d.mistakes.wrong(p, fmt.Sprintf("a list of %d agents", len(roster)), fmt.Sprintf("at most %d in all sources", maxAgents))
			return
		}
		out.Set(reflect.ValueOf(roster))
		return
	}
	// The list is wrong from the first entry on with which it does not parse.
	at := sort.Search(len(plain)-1, func(i int) bool {
		_, err := source.ParseRoster(plain[:i+1])
		return err != nil
	})
	d.mistakes.add(p.entry(at), Error{Err: err, message: fmt.Sprintf("%v: %s", p, oneLine(err.Error()))})
}

// plainEntry gives numbers as they are written: agent 0801 is not 801.
func plainEntry(in any) any {
	switch in := in.(type) {
	case literal:
		if strings.Trim(string(in), "0123456789-") == "" {
			return string(in)
		}
		return in
	case nil:
		return literal("null")
	case given:
		return in.Text
	case map[string]any:
		plain := make(map[string]any, len(in))
		for key, value := range in {
			plain[key] = plainEntry(value)
		}
		return plain
	default:
		return in
	}
}
