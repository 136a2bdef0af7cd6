package config

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Change is one difference between two configurations.
type Change struct {
	// Key is the key's path, with the names of sources and sinks, such as
	// spool.max_age or sources[hq].address; that of a source or sink itself where it
	// comes or goes.
	Key string `json:"key"`
	// Old and New are the values as they may be shown; empty for a source or sink
	// that comes or goes, and for a roster.
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
	// Effect is what the change takes.
	Effect Effect `json:"effect"`
	// Detail says in words what cannot be seen in the values.
	Detail string `json:"detail,omitempty"`
}

// String is c on one line.
func (c Change) String() string {
	text := c.Key
	if c.Old != "" || c.New != "" {
		text += ": " + orNothing(c.Old) + " -> " + orNothing(c.New)
	}
	if c.Detail != "" {
		text += ": " + c.Detail
	}
	return text
}

func orNothing(text string) string {
	if text == "" {
		return `""`
	}
	return text
}

// Plan is what putting another configuration in force means.
type Plan struct {
	// Next is what is in force afterwards: the new configuration, but with the old
	// values of the keys that need a restart.
	Next *Config
	// Changes are the differences, in the order of the keys.
	Changes []Change
}

// Pending are the changes that wait for a restart.
func (p *Plan) Pending() (waiting []Change) {
	for _, c := range p.Changes {
		if c.Effect == Restart {
			waiting = append(waiting, c)
		}
	}
	return waiting
}

// Has reports whether the value at a key changes.
func (p *Plan) Has(key string) bool {
	return slices.ContainsFunc(p.Changes, func(c Change) bool { return c.Key == key })
}

// Compare says what it takes to go from one valid configuration to another. It
// fails where the new one, with what has to stay as it was, is not valid.
func Compare(from, to *Config) (*Plan, error) {
	next := *to
	next.Sources, next.Sinks = slices.Clone(to.Sources), slices.Clone(to.Sinks)
	p := &Plan{Next: &next}
	known := effects()
	p.section("", "", reflect.ValueOf(from).Elem(), reflect.ValueOf(&next).Elem(), known)
	p.sources(from, known)
	p.sinks(from)
	if err := next.Validate(); err != nil {
		return nil, fmt.Errorf("what needs a restart stays as it was, and then the rest does not fit it: %w", err)
	}
	return p, nil
}

// section compares the keys of a section. The values in next that need a restart
// become those in from. prefix is that of the keys in messages, kind that of the
// keys in known.
func (p *Plan) section(prefix, kind string, from, next reflect.Value, known map[string]Effect) {
	old := fieldsOf(from)
	for i, f := range fieldsOf(next) {
		if !f.value.IsValid() {
			continue // the file of a secret, which is in the secret
		}
		t := f.value.Type()
		switch {
		case t == reflect.SliceOf(sourceType), t == reflect.SliceOf(sinkType):
		case isSection(t) && !isText(f.value):
			p.section(prefix+f.key+".", kind+f.key+".", old[i].value, f.value, known)
		case !reflect.DeepEqual(old[i].value.Interface(), f.value.Interface()):
			effect, ok := known[kind+f.key]
			if !ok {
				effect = Restart
			}
			c := Change{Key: prefix + f.key, Old: shown(old[i].value), New: shown(f.value), Effect: effect}
			if t == rosterType {
				c.Old, c.New = "", "" // which sessions that concerns is said elsewhere
			}
			if t == secretType {
				c.Old, c.New, c.Detail = "", "", "another secret"
			}
			p.Changes = append(p.Changes, c)
			if effect == Restart {
				f.value.Set(old[i].value)
			}
		}
	}
}

// shown is a value on one line.
func shown(v reflect.Value) string {
	text, err := yaml.Marshal(flow(encode(v)))
	if err != nil {
		return v.Type().String()
	}
	return strings.TrimSuffix(string(text), "\n")
}

func flow(node *yaml.Node) *yaml.Node {
	node.Style |= yaml.FlowStyle
	return node
}

// sources compares the sources by their names.
func (p *Plan) sources(from *Config, known map[string]Effect) {
	for i := range p.Next.Sources {
		s := &p.Next.Sources[i]
		at := slices.IndexFunc(from.Sources, func(o Source) bool { return o.Name == s.Name })
		key := "sources[" + s.Name + "]"
		switch {
		case at < 0:
			p.Changes = append(p.Changes, Change{Key: key, Effect: Live, Detail: "new, of type " + s.Type})
		case from.Sources[at].Type != s.Type:
			p.Changes = append(p.Changes, Change{Key: key + ".type", Old: from.Sources[at].Type, New: s.Type, Effect: Restart})
			*s = from.Sources[at]
		default:
			// What is compared may be changed, and the new configuration must not be.
			merged := reflect.New(reflect.TypeOf(s.Config).Elem())
			merged.Elem().Set(reflect.ValueOf(s.Config).Elem())
			p.section(key+".", s.Type+".", reflect.ValueOf(from.Sources[at].Config).Elem(), merged.Elem(), known)
			s.Config, _ = merged.Interface().(Component)
		}
	}
	for _, o := range from.Sources {
		if !slices.ContainsFunc(p.Next.Sources, func(s Source) bool { return s.Name == o.Name }) {
			p.Changes = append(p.Changes, Change{Key: "sources[" + o.Name + "]", Effect: Live, Detail: "removed; it was of type " + o.Type})
		}
	}
}

// sinks compares the sinks by their names.
func (p *Plan) sinks(from *Config) {
	for _, s := range p.Next.Sinks {
		at := slices.IndexFunc(from.Sinks, func(o Sink) bool { return o.Name == s.Name })
		key := "sinks[" + s.Name + "]"
		switch {
		case at < 0:
			p.Changes = append(p.Changes, Change{Key: key, Effect: Live, Detail: "new, of type " + s.Type})
		case !reflect.DeepEqual(from.Sinks[at], s):
			p.Changes = append(p.Changes, Change{Key: key, Effect: Replaced, Detail: "other settings; it goes on from its place in the spool"})
		}
	}
	for _, o := range from.Sinks {
		if !slices.ContainsFunc(p.Next.Sinks, func(s Sink) bool { return s.Name == o.Name }) {
			p.Changes = append(p.Changes, Change{Key: "sinks[" + o.Name + "]", Effect: Live, Detail: "removed; its place in the spool is kept"})
		}
	}
}
