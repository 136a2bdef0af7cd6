package lqsim

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestEveryKindHasAReadyScenario(t *testing.T) {
	names := BuiltinScenarios()
	for _, k := range kinds {
		if !slices.Contains(names, string(k.kind)) {
			t.Errorf("no built-in scenario for %s", k.kind)
			continue
		}
		s, err := LoadScenario(strings.ReplaceAll(string(k.kind), "_", "-"))
		if err != nil {
			t.Error(err)
			continue
		}
		if s.Name != string(k.kind) || s.Description == "" || s.Steps() == 0 {
			t.Errorf("%s: got name %q, description %q, %d steps", k.kind, s.Name, s.Description, s.Steps())
		}
		if !slices.ContainsFunc(s.steps, func(s step) bool { return s.kind == k.kind }) {
			t.Errorf("%s: its scenario has no such step", k.kind)
		}
	}
	if len(names) != len(kinds) {
		t.Errorf("got built-in scenarios %q, want one for each of %d kinds", names, len(kinds))
	}
}

func TestTheExampleIsRead(t *testing.T) {
	s, err := LoadScenario(filepath.Join("testdata", "example.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Name != "morning" || s.rounds != 2 || *s.seed != 42 || s.format != "t1v5" || s.charset != UTF8 {
		t.Errorf("got %+v, want what the file says", s)
	}
	call := s.steps[1]
	if call.kind != Inbound || call.call != "anna" || *call.number != "013812345678" || *call.outsideLine != "7" || *call.keys != "1;2" {
		t.Errorf("got the call %+v, want what the file says", call)
	}
}

func TestAMalformedScenarioIsOneClearLine(t *testing.T) {
	tooMany := "steps:\n" + strings.Repeat("- {kind: inbound}\n", MaxScenarioSteps+1)
	for _, test := range []struct {
		name, file string
		line       int // 0: no ScenarioError with a line
		want       string
	}{
		{"empty", "", 0, "nothing in it"},
		{"only a comment", "# hello\n", 0, "nothing in it"},
		{"not YAML", "steps: [\n", 0, "not YAML"},
		{"a tab", "steps:\n\t- {kind: inbound}\n", 0, "not YAML"},
		{"a list", "- kind: inbound\n", 1, "a list: expected a mapping"},
		{"two documents", "steps: [{kind: inbound}]\n---\nsteps: []\n", 2, "a second document"},
		{"too large", strings.Repeat("#", MaxScenarioBytes+1), 0, "at most 262144 bytes"},
		{"too many steps", tooMany, 2, "a list of 1 to 10000 steps"},
		{"no steps", "name: x\n", 0, "steps: nothing: expected at least one step"},
		{"empty steps", "steps: []\n", 0, "at least one step"},
		{"steps of a wrong type", "steps: 5\n", 1, `steps: "5": expected a list`},
		{"unknown key", "steps: [{kind: inbound}]\nlop: 2\n", 2, "lop: unknown key: expected one of name, description"},
		{"key twice", "loop: 2\nloop: 3\nsteps: [{kind: inbound}]\n", 2, "loop: expected each key once"},
		{"wrong loop", "loop: 0\nsteps: [{kind: inbound}]\n", 1, `loop: "0": expected forever, or a whole number from 1`},
		{"endless loop that takes no time", "loop: forever\nsteps: [{kind: inbound}]\n", 0, "steps that take time"},
		{"wrong seed", "seed: -1\nsteps: [{kind: inbound}]\n", 1, `seed: "-1"`},
		{"wrong format", "format: t1v6\nsteps: [{kind: inbound}]\n", 1, `format: "t1v6": expected one of mixed, t1v1`},
		{"wrong charset", "charset: big5\nsteps: [{kind: inbound}]\n", 1, `charset: "big5": expected one of utf-8, gb18030`},
		{"null", "name:\nsteps: [{kind: inbound}]\n", 1, "name: nothing: expected a text"},

		{"step of a wrong type", "steps:\n- inbound\n", 2, `steps[0]: "inbound": expected a mapping`},
		{"step without kind", "steps:\n- {agent: 801}\n", 2, "steps[0].kind: nothing: expected one of inbound"},
		{"unknown kind", "steps:\n- {kind: inbound}\n- kind: transfr\n", 3, `steps[1].kind: "transfr": expected one of inbound`},
		{"unknown key of a step", "steps:\n- kind: inbound\n  agnt: 801\n", 3, "steps[0].agnt: unknown key: expected one of kind, at, after, mode, agent"},
		{"key of another kind", "steps:\n- {kind: inbound, to: 802}\n", 2, "steps[0].to: unknown key"},
		{"key of a step twice", "steps:\n- kind: inbound\n  kind: burst\n", 3, "steps[0].kind: expected each key once"},
		{"time without a unit", "steps:\n- {kind: inbound, after: 5}\n", 2, `steps[0].after: "5": expected a duration with its unit`},
		{"time in words", "steps:\n- {kind: inbound, at: soon}\n", 2, `steps[0].at: "soon": expected a duration`},
		{"negative time", "steps:\n- {kind: inbound, after: -5s}\n", 2, `steps[0].after: "-5s": expected a duration`},
		{"time too long", "steps:\n- {kind: wait, for: 25h}\n", 2, "at most 24h"},
		{"at and after", "steps:\n- {kind: inbound, at: 1s, after: 1s}\n", 2, "steps[0].after: beside at: expected one of the two"},
		{"back in time", "steps:\n- {kind: wait, for: 5s}\n- {kind: inbound, at: 2s}\n", 3, "steps[1].at: 2s: expected 5s or later"},
		{"bad agent", "steps:\n- {kind: inbound, agent: '80 1'}\n", 2, `steps[0].agent: "80 1": expected an agent's number`},
		{"bad reference", "steps:\n- {kind: inbound, agent: $0}\n", 2, `steps[0].agent: "$0"`},
		{"transfer to all", "steps:\n- {kind: inbound}\n- {kind: transfer, to: $all}\n", 3, `steps[1].to: "$all"`},
		{"transfer to nobody", "steps:\n- {kind: inbound}\n- {kind: transfer}\n", 3, "steps[1].to: nothing: expected a value: transfer needs it"},
		{"mode out of range", "steps:\n- {kind: inbound, mode: 0}\n", 2, `steps[0].mode: "0": expected a whole number from 1 to 999`},
		{"burst of nothing", "steps:\n- {kind: burst}\n", 2, "steps[0].count: nothing"},
		{"burst too large", "steps:\n- {kind: burst, count: 1000001}\n", 2, `count: "1000001"`},
		{"rate of none", "steps:\n- {kind: burst, count: 1, rate: .nan}\n", 2, `rate: ".nan": expected pops a second`},
		{"flag in words", "steps:\n- {kind: cut, reset: maybe}\n", 2, `reset: "maybe": expected true or false`},
		{"hex with a letter", "steps:\n- {kind: raw, hex: 5g}\n", 2, `hex: "5g": expected pairs of hex digits`},
		{"hex and text", "steps:\n- {kind: raw, hex: '00', text: a}\n", 2, "hex and text: expected one of the two"},
		{"raw of nothing", "steps:\n- {kind: raw}\n", 2, "expected one of the two"},
		{"raw too long for a frame", "steps:\n- {kind: raw, hex: " + strings.Repeat("00", 256) + "}\n", 2, "256 bytes: expected at most 255"},
		{"garbage too long for a frame", "steps:\n- {kind: garbage, framed: true, count: 256}\n", 2, "at most 255"},
		{"wait for nothing", "steps:\n- {kind: wait}\n", 2, "expected for, sessions, or both"},
		{"text too long", "steps:\n- {kind: inbound, data: " + strings.Repeat("x", 256) + "}\n", 2, "a text of at most 255 bytes"},
		{"alias", "steps:\n- &a {kind: inbound}\n- *a\n", 3, "steps[1]: an alias: expected a mapping"},
		{"merge", "steps:\n- &a {kind: inbound}\n- {<<: *a}\n", 3, "steps[1].kind: nothing"},
		{"key that is a list", "steps:\n- {[a]: b, kind: inbound}\n", 2, "a list: expected a key"},
		{"key with a line break", "\"a\\nb\": 1\n", 1, `"a\nb": unknown key`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := ParseScenario("calls.yaml", []byte(test.file))
			got := fmt.Sprint(err)
			if !strings.Contains(got, test.want) || !strings.HasPrefix(got, "scenario calls.yaml") || strings.Contains(got, "\n") || len(got) > 500 {
				t.Fatalf("got %q, want one line with %q", got, test.want)
			}
			var detail *ScenarioError
			if errors.As(err, &detail) && detail.Line != test.line || detail == nil && test.line > 0 {
				t.Errorf("got %q, want line %d", got, test.line)
			}
		})
	}
}

func TestAScenarioThatIsNotThereIsSaid(t *testing.T) {
	for _, test := range []struct{ name, want string }{
		{"transfr", "no built-in scenario: expected one of accept_silent"},
		{"transfr.yaml", "no such file"},
		{t.TempDir(), "is a directory"},
	} {
		if _, err := LoadScenario(test.name); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want an error with %q", test.name, err, test.want)
		}
	}
}

// A scenario that is accepted can be played without harm: it has steps, in the
// order of time; one that is refused says so on one line.
func FuzzParseScenario(f *testing.F) {
	for _, name := range BuiltinScenarios() {
		data, err := builtin.ReadFile("scenarios/" + name + ".yaml")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	example, err := os.ReadFile(filepath.Join("testdata", "example.yaml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(example)
	f.Add([]byte("steps:\n- {kind: raw, hex: 00}\n- *a\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := ParseScenario("f.yaml", data)
		switch {
		case err != nil && strings.Contains(err.Error(), "\n"):
			t.Errorf("got an error of several lines: %q", err)
		case err == nil && (s.Steps() == 0 || s.Steps() > MaxScenarioSteps || s.rounds < 0):
			t.Errorf("got a scenario of %d steps, %d rounds", s.Steps(), s.rounds)
		}
	})
}
