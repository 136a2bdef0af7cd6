package config

import (
	"bytes"
	"encoding"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/callpop/connector/source"
)

// YAML writes every key and its value as a file has them, secrets and the users
// and passwords of URLs redacted. But for those, loading it gives c again.
func (c *Config) YAML() ([]byte, error) {
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(section(reflect.ValueOf(c).Elem())); err != nil {
		return nil, fmt.Errorf("write the configuration: %w", err)
	}
	return out.Bytes(), nil
}

// String is c as YAML, redacted.
func (c *Config) String() string {
	text, err := c.YAML()
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// LogValue gives package slog the redacted form.
func (c *Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

func section(v reflect.Value) *yaml.Node {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, f := range fieldsOf(v) {
		// A secret that came from a file is in its own key, redacted.
		if f.value.IsValid() {
			add(node, f.key, encode(f.value))
		}
	}
	return node
}

func add(node *yaml.Node, key string, value *yaml.Node) {
	node.Content = append(node.Content, plain(key), value)
}

func encode(v reflect.Value) *yaml.Node {
	switch value := v.Interface().(type) {
	case Source:
		return component(value.Config, "name", value.Name, "type", value.Type)
	case Sink:
		return component(value.Config, "name", value.Name, "type", value.Type, "start", string(value.Start))
	case source.Roster:
		return encodeRoster(value)
	case time.Duration:
		return plain(shortDuration(value))
	case encoding.TextMarshaler:
		text, err := value.MarshalText()
		if err != nil {
			return quoted(err.Error())
		}
		return quoted(string(text))
	}
	switch v.Kind() {
	case reflect.Struct:
		return section(v)
	case reflect.Slice:
		node := &yaml.Node{Kind: yaml.SequenceNode}
		for i := range v.Len() {
			node.Content = append(node.Content, encode(v.Index(i)))
		}
		return node
	case reflect.Map:
		node := &yaml.Node{Kind: yaml.MappingNode}
		for _, key := range slices.SortedFunc(maps.Keys(entries(v)), strings.Compare) {
			node.Content = append(node.Content, quoted(key), encode(entries(v)[key]))
		}
		return node
	case reflect.String:
		return quoted(v.String())
	default:
		return plain(fmt.Sprint(v.Interface()))
	}
}

func entries(v reflect.Value) map[string]reflect.Value {
	m := make(map[string]reflect.Value, v.Len())
	for _, key := range v.MapKeys() {
		m[key.String()] = v.MapIndex(key)
	}
	return m
}

// component writes a source or sink: what all have in common and then its own.
func component(c Component, common ...string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.MappingNode}
	written := map[string]bool{}
	for i := 0; i < len(common); i += 2 {
		add(node, common[i], quoted(common[i+1]))
		written[common[i]] = true
	}
	if c == nil {
		return node
	}
	for _, f := range fieldsOf(reflect.ValueOf(c).Elem()) {
		if f.value.IsValid() && !written[f.key] {
			add(node, f.key, encode(f.value))
		}
	}
	return node
}

// encodeRoster writes agents that follow one another as a range.
func encodeRoster(roster source.Roster) *yaml.Node {
	node := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for first, last := range roster.Runs() {
		switch {
		case first != last:
			node.Content = append(node.Content, quoted(first.ID+"-"+last.ID))
		case first.Channel == source.FindChannel:
			node.Content = append(node.Content, quoted(first.ID))
		default:
			agent := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
			add(agent, "id", quoted(first.ID))
			add(agent, "channel", quoted(first.Channel))
			node.Content = append(node.Content, agent)
		}
	}
	return node
}

// plain is a number, true, false, or a word that needs no quotes.
func plain(text string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Value: text} }

// quoted is any text, in quotes where it needs them.
func quoted(text string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: strings.ReplaceAll(hideUserinfo(text), "${", "$${")}
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		node.Style = yaml.DoubleQuotedStyle
	}
	return node
}

// shortDuration writes 72h and not 72h0m0s.
func shortDuration(d time.Duration) string {
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(text, zero) {
			text = text[:len(text)-2]
		}
	}
	return text
}
