package lqsim

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// The limits of a scenario's values.
const (
	maxScenarioText  = 255 // bytes: no pop is longer
	maxScenarioBytes = 4096
	maxScenarioCount = 1_000_000
	maxScenarioTime  = 24 * time.Hour
)

// value is one value of a scenario's file, with where it stands.
type value struct {
	file string
	key  string // the path
	node *yaml.Node
}

// fail says what was expected instead.
func (v value) fail(expected string) error {
	e := &ScenarioError{File: v.file, Key: v.key, Expected: expected}
	if v.node != nil {
		e.Line = v.node.Line
		e.Value = describe(v.node)
	}
	return e
}

// describe shows a value on one line, shortened.
func describe(node *yaml.Node) string {
	const longest = 40
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	case yaml.ScalarNode:
		if node.Tag == "!!null" {
			return "nothing"
		}
		text := []rune(node.Value)
		if len(text) > longest {
			return strconv.Quote(string(text[:longest])) + "…"
		}
		return strconv.Quote(node.Value)
	default:
		return "nothing"
	}
}

// mapping calls do for each key, and refuses one that stands twice.
func (v value) mapping(do func(key string, v value) error) error {
	if v.node.Kind != yaml.MappingNode {
		return v.fail("a mapping of keys to values")
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		name := v.node.Content[i]
		if name.Kind != yaml.ScalarNode {
			return value{v.file, v.key, name}.fail("a key")
		}
		key := join(v.key, name.Value)
		if seen[name.Value] {
			return &ScenarioError{File: v.file, Line: name.Line, Key: key, Expected: "each key once"}
		}
		seen[name.Value] = true
		if err := do(name.Value, value{v.file, key, v.node.Content[i+1]}); err != nil {
			return err
		}
	}
	return nil
}

func join(path, key string) string {
	if !isPlain(key) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

func isPlain(key string) bool {
	return key != "" && len(key) <= 64 && !strings.ContainsFunc(key, func(r rune) bool { return !unicode.IsPrint(r) || r == ' ' })
}

// unknown refuses a key that is none of the known ones.
func (v value) unknown(key string, known []string) error {
	return &ScenarioError{
		File: v.file, Line: v.node.Line, Key: join(v.key, key),
		Value: "unknown key", Expected: "one of " + strings.Join(known, ", "),
	}
}

// text is any scalar as it is written, so that a number keeps its leading zero.
func (v value) text() (string, error) {
	if v.node.Kind != yaml.ScalarNode || v.node.Tag == "!!null" || len(v.node.Value) > maxScenarioText {
		return "", v.fail(fmt.Sprintf("a text of at most %d bytes", maxScenarioText))
	}
	return v.node.Value, nil
}

func (v value) oneOf(known []string) (string, error) {
	text, err := v.text()
	if err != nil || !slices.Contains(known, text) {
		return "", v.fail("one of " + strings.Join(known, ", "))
	}
	return text, nil
}

func (v value) integer(least, most int) (int, error) {
	n, err := strconv.Atoi(v.scalar("!!int"))
	if err != nil || n < least || n > most {
		return 0, v.fail(fmt.Sprintf("a whole number from %d to %d", least, most))
	}
	return n, nil
}

// scalar is the text of a scalar of that type, else empty.
func (v value) scalar(tag string) string {
	if v.node.Kind == yaml.ScalarNode && v.node.Tag == tag {
		return v.node.Value
	}
	return ""
}

func (v value) seed() (*uint64, error) {
	n, err := strconv.ParseUint(v.scalar("!!int"), 10, 64)
	if err != nil {
		return nil, v.fail("a whole number of 64 bits, 0 or more")
	}
	return &n, nil
}

func (v value) rate() (float64, error) {
	text := v.scalar("!!float")
	if text == "" {
		text = v.scalar("!!int")
	}
	rate, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(rate) || rate <= 0 || rate > maxRate {
		return 0, v.fail(fmt.Sprintf("pops a second, above 0 and at most %.0f", maxRate))
	}
	return rate, nil
}

func (v value) flag() (bool, error) {
	flag, err := strconv.ParseBool(v.scalar("!!bool"))
	if err != nil {
		return false, v.fail("true or false")
	}
	return flag, nil
}

// duration needs a unit: 5 could be anything.
func (v value) duration() (time.Duration, error) {
	d, err := time.ParseDuration(v.scalar("!!str"))
	if err != nil || d < 0 || d > maxScenarioTime {
		return 0, v.fail("a duration with its unit, such as 500ms, 2s or 1m30s, at most 24h")
	}
	return d, nil
}

// hex is pairs of hex digits, with spaces where they help.
func (v value) hex() ([]byte, error) {
	if v.node.Kind == yaml.ScalarNode {
		data, err := hex.DecodeString(strings.Join(strings.Fields(v.node.Value), ""))
		if err == nil && len(data) > 0 && len(data) <= maxScenarioBytes {
			return data, nil
		}
	}
	return nil, v.fail(fmt.Sprintf("pairs of hex digits, 1 to %d bytes", maxScenarioBytes))
}
