package config

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// required are the keys of the sample that have no default: what it gives for them
// is an example.
var required = []string{
	"sources[0].name", "sources[0].type", "sources[0].address", "sources[0].agents", "sources[0].registration",
	"sources[1].name", "sources[1].type", "sources[1].address",
	"sources[2].name", "sources[2].type", "sources[2].listen",
	"sinks[0].name", "sinks[0].type", "sinks[0].url",
	"sinks[1].name", "sinks[1].type", "sinks[1].brokers",
}

// defaults are all keys and their defaults, as text: of a Config with one source
// and one sink of each kind, in the order of their tables.
func defaults() map[string]string {
	values := map[string]string{}
	var add func(prefix string, v reflect.Value)
	add = func(prefix string, v reflect.Value) {
		for _, f := range fieldsOf(v) {
			key := strings.TrimPrefix(prefix+"."+f.key, ".")
			switch {
			case !f.value.IsValid():
				values[key] = ""
			case isSection(f.value.Type()):
				add(key, f.value)
			case f.value.Type() != reflect.SliceOf(sourceType) && f.value.Type() != reflect.SliceOf(sinkType):
				values[key] = flat(encode(f.value))
			}
		}
	}
	c := Default()
	add("", reflect.ValueOf(&c).Elem())
	component := func(list string, i int, k kind) {
		p := (*path)(nil).at(list).entry(i).String()
		values[p+".name"], values[p+".type"] = "", k.name
		if list == "sinks" {
			values[p+".start"] = string(newSink().Start)
		}
		add(p, reflect.ValueOf(k.make()).Elem())
	}
	for list, kinds := range map[string][]kind{"sources": sourceKinds(), "sinks": sinkKinds()} {
		for i, k := range kinds {
			component(list, i, k)
		}
	}
	return values
}

// flat writes a node on one line.
func flat(node *yaml.Node) string {
	switch node.Kind {
	case yaml.SequenceNode:
		entries := make([]string, len(node.Content))
		for i, entry := range node.Content {
			entries[i] = flat(entry)
		}
		return "[" + strings.Join(entries, ", ") + "]"
	case yaml.MappingNode:
		var entries []string
		for i := 0; i < len(node.Content); i += 2 {
			entries = append(entries, node.Content[i].Value+": "+flat(node.Content[i+1]))
		}
		return "{" + strings.Join(entries, ", ") + "}"
	default:
		return node.Value
	}
}

// given are the keys and values that a file has, lists and mappings of free names
// on one line.
func keysGiven(t *testing.T, known map[string]string, text []byte) map[string]string {
	t.Helper()
	var file yaml.Node
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	values := map[string]string{}
	var add func(p *path, node *yaml.Node)
	add = func(p *path, node *yaml.Node) {
		_, isLeaf := known[p.String()]
		switch {
		case node.Kind == yaml.MappingNode && !isLeaf:
			for i := 0; i < len(node.Content); i += 2 {
				add(p.at(node.Content[i].Value), node.Content[i+1])
			}
		case node.Kind == yaml.SequenceNode && !isLeaf:
			for i, entry := range node.Content {
				add(p.entry(i), entry)
			}
		default:
			values[p.String()] = flat(node)
		}
	}
	add(nil, file.Content[0])
	return values
}

func TestTheSampleHasEveryKeyWithItsDefault(t *testing.T) {
	want := defaults()
	got := keysGiven(t, want, Sample())
	for key, value := range want {
		given, ok := got[key]
		switch {
		case !ok:
			t.Errorf("%s is missing: its default is %q", key, value)
		case slices.Contains(required, key):
			if given == "" || given == "[]" {
				t.Errorf("%s has no example", key)
			}
		case given != value:
			t.Errorf("%s is %q, the default is %q", key, given, value)
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			t.Errorf("%s is no key", key)
		}
	}
	for _, key := range required {
		if _, ok := want[key]; !ok {
			t.Errorf("%s is said to be required and is no key", key)
		}
	}
}

func TestTheSampleLoads(t *testing.T) {
	c := mustLoad(t, string(Sample()))
	if len(c.Sources) != 3 || len(c.Sinks) != 2 {
		t.Errorf("%d sources and %d sinks", len(c.Sources), len(c.Sinks))
	}
	c.Sources, c.Sinks, c.File, c.Digest = nil, nil, "", ""
	if want := Default(); !reflect.DeepEqual(*c, want) {
		t.Errorf("got\n%v\nwant the defaults\n%v", c, &want)
	}
	changed := Sample()
	changed[0] = 'x'
	if Sample()[0] == 'x' {
		t.Error("a caller can change the sample")
	}
}

// TestARequiredKeyIsRequired deletes each required key of the sample: the start is
// then refused by a mistake that names it.
func TestARequiredKeyIsRequired(t *testing.T) {
	for _, key := range required {
		var file yaml.Node
		if err := yaml.Unmarshal(Sample(), &file); err != nil {
			t.Fatal(err)
		}
		list, rest, _ := strings.Cut(key, "[")
		index, name, _ := strings.Cut(rest, "].")
		for i, node := range file.Content[0].Content {
			if node.Value == list {
				entry := file.Content[0].Content[i+1].Content[index[0]-'0']
				at := slices.IndexFunc(entry.Content, func(n *yaml.Node) bool { return n.Value == name })
				entry.Content = slices.Delete(entry.Content, at, at+2)
				break
			}
		}
		text, err := yaml.Marshal(&file)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := loadText(string(text)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", key, err)
		}
	}
}
