package lqsim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// forever is the word for rounds without end.
const forever = "forever"

// scenarioKeys are the keys of a file, stepTimeKeys those that every step may have.
var (
	scenarioKeys = []string{"name", "description", "format", "charset", "seed", "loop", "steps"}
	stepTimeKeys = []string{"kind", "at", "after"}
)

// popKeys are the keys of a step that begins a call.
var popKeys = []string{"agent", "call", "number", "line", "sn", "keys", "data", "member", "format", "charset"}

// kinds says which keys each kind of step takes beside its time, and which of
// them it needs.
var kinds = []struct {
	kind  Kind
	keys  []string
	needs []string
}{
	{Inbound, append([]string{"mode"}, popKeys...), nil},
	{Outbound, append([]string{"mode"}, popKeys...), nil},
	{GBInbound, slices.DeleteFunc(slices.Clone(popKeys), func(k string) bool { return k == "charset" }), nil},
	{Transfer, []string{"call", "to", "keys", "data"}, []string{"to"}},
	{ThreeWay, []string{"call", "to", "keys", "data"}, []string{"to"}},
	{RePop, []string{"call", "agent", "keys", "data"}, nil},
	{Burst, []string{"agent", "count", "rate", "format", "charset"}, []string{"count"}},
	{Silence, []string{"agent", "for"}, nil},
	{HalfOpen, []string{"agent"}, nil},
	{Cut, append([]string{"at_byte", "reset"}, popKeys...), nil},
	{AcceptSilent, []string{"for"}, nil},
	{Refuse, []string{"for", "hang_up"}, nil},
	{Garbage, []string{"agent", "count", "framed"}, nil},
	{Heartbeat, []string{"agent", "count"}, nil},
	{Close, []string{"agent"}, nil},
	{Reset, []string{"agent"}, nil},
	{Raw, []string{"agent", "hex", "text", "framed"}, nil},
	{Wait, []string{"for", "sessions"}, nil},
}

// stepKeys reads each key of a step.
var stepKeys = map[string]func(v value, s *step) error{
	"at": func(v value, s *step) (err error) {
		s.hasAt = true
		s.at, err = v.duration()
		return err
	},
	"after":  func(v value, s *step) (err error) { s.after, err = v.duration(); return err },
	"agent":  func(v value, s *step) (err error) { s.agent, err = v.agent(true); return err },
	"to":     func(v value, s *step) (err error) { s.to, err = v.agent(false); return err },
	"call":   func(v value, s *step) (err error) { s.call, err = v.text(); return err },
	"number": func(v value, s *step) error { return v.field(&s.number) },
	"line":   func(v value, s *step) error { return v.field(&s.outsideLine) },
	"sn":     func(v value, s *step) error { return v.field(&s.sn) },
	"keys":   func(v value, s *step) error { return v.field(&s.keys) },
	"data":   func(v value, s *step) error { return v.field(&s.data) },
	"member": func(v value, s *step) error { return v.field(&s.member) },
	"format": func(v value, s *step) (err error) {
		s.format, err = v.oneOf(append([]string{Mixed}, formats...))
		return err
	},
	"charset": func(v value, s *step) (err error) { s.charset, err = v.oneOf(charsets); return err },
	"mode": func(v value, s *step) error {
		mode, err := v.integer(1, 999)
		s.mode = &mode
		return err
	},
	"count":    func(v value, s *step) (err error) { s.count, err = v.integer(1, maxScenarioCount); return err },
	"rate":     func(v value, s *step) (err error) { s.rate, err = v.rate(); return err },
	"for":      func(v value, s *step) (err error) { s.duration, err = v.duration(); return err },
	"sessions": func(v value, s *step) (err error) { s.sessions, err = v.integer(1, maxScenarioCount); return err },
	"at_byte": func(v value, s *step) error {
		at, err := v.integer(0, maxScenarioText)
		s.atByte = &at
		return err
	},
	"reset":   func(v value, s *step) (err error) { s.reset, err = v.flag(); return err },
	"framed":  func(v value, s *step) (err error) { s.framed, err = v.flag(); return err },
	"hang_up": func(v value, s *step) (err error) { s.hangUp, err = v.flag(); return err },
	"hex":     func(v value, s *step) (err error) { s.bytes, err = v.hex(); return err },
	"text": func(v value, s *step) error {
		text, err := v.text()
		s.bytes = []byte(text)
		return err
	},
}

// agent is an agent's number, $1 and so on, or, where several will do, $all.
func (v value) agent(several bool) (string, error) {
	text, err := v.text()
	if err == nil && checkAgentRef(text, several) == nil {
		return text, nil
	}
	expected := "an agent's number, or $1, $2 … for one of the roster"
	if several {
		expected += ", or $all"
	}
	return "", v.fail(expected)
}

// field is a pop's field, which may be empty, but may not end it.
func (v value) field(into **string) error {
	text, err := v.text()
	if err != nil {
		return err
	}
	*into = &text
	return nil
}

type scenarioParser struct{ file string }

func (p *scenarioParser) parse(data []byte) (*Scenario, error) {
	if len(data) > MaxScenarioBytes {
		return nil, &ScenarioError{File: p.file, Expected: fmt.Sprintf("at most %d bytes", MaxScenarioBytes)}
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	switch err := decoder.Decode(&doc); {
	case errors.Is(err, io.EOF) || err == nil && len(doc.Content) == 0:
		return nil, &ScenarioError{File: p.file, Value: "nothing in it", Expected: "a mapping with the key steps"}
	case err != nil:
		return nil, p.notYAML(err)
	}
	switch err := decoder.Decode(&more); {
	case err == nil:
		return nil, &ScenarioError{File: p.file, Line: more.Line, Value: "a second document", Expected: "one"}
	case !errors.Is(err, io.EOF):
		return nil, p.notYAML(err)
	}
	s := &Scenario{file: p.file, rounds: 1}
	root := value{p.file, "", doc.Content[0]}
	if err := root.mapping(func(key string, v value) error { return p.scenarioKey(s, root, key, v) }); err != nil {
		return nil, err
	}
	if len(s.steps) == 0 {
		return nil, &ScenarioError{File: p.file, Key: "steps", Value: "nothing", Expected: "at least one step"}
	}
	length, err := p.checkTimes(s.steps)
	if err != nil {
		return nil, err
	}
	if s.rounds == 0 && length == 0 {
		return nil, &ScenarioError{File: p.file, Key: "loop", Value: forever, Expected: "steps that take time: at, after, or wait"}
	}
	return s, nil
}

// notYAML puts the parser's error on one line.
func (p *scenarioParser) notYAML(err error) error {
	return fmt.Errorf("scenario %s: not YAML: %s", p.file, strings.Join(strings.Fields(err.Error()), " "))
}

func (p *scenarioParser) scenarioKey(s *Scenario, root value, key string, v value) (err error) {
	switch key {
	case "name":
		s.Name, err = v.text()
	case "description":
		s.Description, err = v.text()
	case "format":
		s.format, err = v.oneOf(append([]string{Mixed}, formats...))
	case "charset":
		s.charset, err = v.oneOf(charsets)
	case "seed":
		s.seed, err = v.seed()
	case "loop":
		if v.scalar("!!str") == forever {
			s.rounds = 0
			return nil
		}
		if s.rounds, err = v.integer(1, maxScenarioCount); err != nil {
			return v.fail(fmt.Sprintf("%s, or a whole number from 1 to %d", forever, maxScenarioCount))
		}
	case "steps":
		s.steps, err = p.steps(v)
	default:
		root.node = v.node
		return root.unknown(key, scenarioKeys)
	}
	return err
}

func (p *scenarioParser) steps(v value) ([]step, error) {
	if v.node.Kind != yaml.SequenceNode || len(v.node.Content) > MaxScenarioSteps {
		return nil, v.fail(fmt.Sprintf("a list of 1 to %d steps", MaxScenarioSteps))
	}
	steps := make([]step, len(v.node.Content))
	for i, node := range v.node.Content {
		at := value{p.file, fmt.Sprintf("%s[%d]", v.key, i), node}
		if err := p.step(at, &steps[i]); err != nil {
			return nil, err
		}
	}
	return steps, nil
}

func (p *scenarioParser) step(v value, s *step) error {
	// What keys there may be depends on the kind, which may stand anywhere.
	known := make([]string, len(kinds))
	for i, k := range kinds {
		known[i] = string(k.kind)
	}
	err := v.mapping(func(key string, v value) error {
		if key != "kind" {
			return nil
		}
		kind, err := v.oneOf(known)
		s.kind = Kind(kind)
		return err
	})
	if err != nil {
		return err
	}
	at := slices.Index(known, string(s.kind))
	if at < 0 {
		return &ScenarioError{File: p.file, Line: v.node.Line, Key: v.key + ".kind", Value: "nothing", Expected: "one of " + strings.Join(known, ", ")}
	}
	s.line = v.node.Line
	s.framed = s.kind == Raw
	s.mode = defaultMode(s.kind)
	keys := slices.Concat(stepTimeKeys, kinds[at].keys)
	has := make(map[string]bool)
	err = v.mapping(func(key string, inner value) error {
		if !slices.Contains(keys, key) {
			return value{v.file, v.key, inner.node}.unknown(key, keys)
		}
		has[key] = true
		if key == "kind" {
			return nil
		}
		return stepKeys[key](inner, s)
	})
	if err != nil {
		return err
	}
	return p.checkStep(v, s, has, kinds[at].needs)
}

func defaultMode(kind Kind) *int {
	mode := modeInbound
	if kind == Outbound {
		mode = modeManualOutbound
	}
	return &mode
}

// checkStep looks at what keys need each other or exclude each other.
func (p *scenarioParser) checkStep(v value, s *step, has map[string]bool, needs []string) error {
	wrong := func(key, what, expected string) error {
		return &ScenarioError{File: p.file, Line: s.line, Key: v.key + "." + key, Value: what, Expected: expected}
	}
	for _, key := range needs {
		if !has[key] {
			return wrong(key, "nothing", fmt.Sprintf("a value: %s needs it", s.kind))
		}
	}
	switch {
	case has["at"] && has["after"]:
		return wrong("after", "beside at", "one of the two")
	case s.kind == Raw && has["hex"] == has["text"]:
		return wrong("hex", "hex and text", "one of the two")
	case s.kind == Raw && s.framed && len(s.bytes) > maxScenarioText:
		return wrong("hex", fmt.Sprintf("%d bytes", len(s.bytes)), fmt.Sprintf("at most %d in a frame, or framed: false", maxScenarioText))
	case s.kind == Garbage && s.framed && s.count > maxScenarioText:
		return wrong("count", fmt.Sprint(s.count), fmt.Sprintf("at most %d in a frame", maxScenarioText))
	case s.kind == Wait && !has["for"] && !has["sessions"]:
		return wrong("for", "nothing", "for, sessions, or both")
	default:
		return nil
	}
}

// checkTimes returns how long a round takes at least.
func (p *scenarioParser) checkTimes(steps []step) (time.Duration, error) {
	var clock time.Duration
	for i, s := range steps {
		if s.hasAt {
			if s.at < clock {
				return 0, &ScenarioError{
					File: p.file, Line: s.line, Key: fmt.Sprintf("steps[%d].at", i), Value: s.at.String(),
					Expected: fmt.Sprintf("%s or later: the steps before take so long", clock),
				}
			}
			clock = s.at
		} else {
			clock += s.after
		}
		if s.kind == Wait && s.sessions == 0 {
			clock += s.duration
		}
	}
	return clock, nil
}
