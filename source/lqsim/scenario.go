package lqsim

import (
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// The limits of a scenario file.
const (
	MaxScenarioBytes = 256 << 10
	MaxScenarioSteps = 10_000
)

// builtin holds one ready scenario for each kind of step.
//
//go:embed scenarios/*.yaml
var builtin embed.FS

// Scenario is a script for a [Server], read from YAML; see the package's
// description for what may stand in it. It may be played any number of times.
type Scenario struct {
	// Name is the file's own word, or the file's name without its ending.
	Name string
	// Description is one line for a list of scenarios.
	Description string

	file            string // for errors
	format, charset string // empty: the player's
	seed            *uint64
	rounds          int // 0: for ever
	steps           []step
}

// Kind is what a step does.
type Kind string

// The kinds of step.
const (
	Inbound      Kind = "inbound"
	Outbound     Kind = "outbound"
	GBInbound    Kind = "gb18030"
	Transfer     Kind = "transfer"
	ThreeWay     Kind = "three_way"
	RePop        Kind = "re_pop"
	Burst        Kind = "burst"
	Silence      Kind = "silence"
	HalfOpen     Kind = "half_open"
	Cut          Kind = "cut"
	AcceptSilent Kind = "accept_silent"
	Refuse       Kind = "refuse"
	Garbage      Kind = "garbage"
	Heartbeat    Kind = "heartbeat"
	Close        Kind = "close"
	Reset        Kind = "reset"
	Raw          Kind = "raw"
	Wait         Kind = "wait"
)

// step is one line of the script. What a kind does not use is zero.
type step struct {
	line  int // in the file
	kind  Kind
	hasAt bool
	at    time.Duration // since the round's start, where hasAt
	after time.Duration // since the step before

	agent, to, call string

	// The fields of a pop; nil has them made up, "" leaves them out.
	number, outsideLine, sn, keys, data, member *string
	mode                                        *int
	format, charset                             string

	count    int
	rate     float64
	duration time.Duration
	sessions int
	atByte   *int
	reset    bool
	framed   bool
	hangUp   bool
	bytes    []byte
}

// Steps is the number of the scenario's steps.
func (s *Scenario) Steps() int { return len(s.steps) }

// BuiltinScenarios returns the names of the scenarios that are part of the
// program, sorted.
func BuiltinScenarios() []string {
	entries, err := fs.Glob(builtin, "scenarios/*.yaml")
	if err != nil {
		return nil // the pattern is ours
	}
	names := make([]string, len(entries))
	for i, entry := range entries {
		names[i] = strings.TrimSuffix(path.Base(entry), ".yaml")
	}
	slices.Sort(names)
	return names
}

// LoadScenario reads a scenario: the built-in one of that name (- and _ are the
// same in it), else the file at that path. Errors of the file's content are
// [*ScenarioError].
func LoadScenario(nameOrPath string) (*Scenario, error) {
	name := strings.ReplaceAll(nameOrPath, "-", "_")
	if slices.Contains(BuiltinScenarios(), name) {
		data, err := builtin.ReadFile("scenarios/" + name + ".yaml")
		if err != nil {
			return nil, fmt.Errorf("scenario %s: %w", name, err)
		}
		return ParseScenario(name+".yaml", data)
	}
	f, err := os.Open(nameOrPath)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(nameOrPath, `/\.`) {
			return nil, fmt.Errorf("scenario %q: no such file, and no built-in scenario: expected one of %s",
				nameOrPath, strings.Join(BuiltinScenarios(), ", "))
		}
		return nil, fmt.Errorf("scenario: %w", err)
	}
	defer func() { _ = f.Close() }()
	data, err := io.ReadAll(io.LimitReader(f, MaxScenarioBytes+1))
	if err != nil {
		return nil, fmt.Errorf("scenario: %w", err)
	}
	return ParseScenario(nameOrPath, data)
}

// ParseScenario reads a scenario from YAML. file names it in errors.
func ParseScenario(file string, data []byte) (*Scenario, error) {
	p := scenarioParser{file: file}
	s, err := p.parse(data)
	if err != nil {
		return nil, err
	}
	if s.Name == "" {
		base := filepath.Base(file)
		s.Name = strings.TrimSuffix(base, filepath.Ext(base))
	}
	return s, nil
}

// ScenarioError is what is wrong with a scenario's file, or with playing it.
type ScenarioError struct {
	File string
	Line int // 0 where there is none
	// Key is the path of the key, such as steps[2].kind; Value what stands there.
	Key, Value string
	// Expected is what should stand there.
	Expected string
}

// Error is one line.
func (e *ScenarioError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "scenario %s", e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	if e.Key != "" {
		fmt.Fprintf(&b, ": %s", e.Key)
	}
	if e.Value != "" {
		fmt.Fprintf(&b, ": %s", e.Value)
	}
	fmt.Fprintf(&b, ": expected %s", e.Expected)
	return b.String()
}
