package source

import (
	"slices"
	"strings"
	"testing"
)

func TestARosterFileHasLinesOrAYAMLList(t *testing.T) {
	want := Roster{{"0801", "-1"}, {"810", "-1"}, {"811", "-1"}, {"901", "12"}, {"902", "7"}}
	for name, text := range map[string]string{
		"lines":       "\ufeff# the day shift\n0801\n\n810-811   # sales\r\n{id: \"901\", channel: \"12\"}\n{id: 902, channel: 7}",
		"a list":      "# the day shift\n- 0801\n- 810-811\n- {id: \"901\", channel: \"12\"}\n- id: 902\n  channel: 7\n",
		"a flow list": `["0801", "810-811", {id: 901, channel: 12}, {id: "902", channel: "7"}]`,
		"JSON":        `["0801", "810-811", {"id": "901", "channel": "12"}, {"id": 902, "channel": 7}]`,
		"a document":  "---\n- 0801\n- 810-811\n- {id: 901, channel: 12}\n- {id: 902, channel: 7}\n",
	} {
		got, err := ParseRosterFile([]byte(text))
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	if got, err := ParseRosterFile([]byte("[]\n")); err != nil || len(got) != 0 {
		t.Errorf("[]: got %v, %v", got, err)
	}
}

func TestAWrongRosterFileSaysWhere(t *testing.T) {
	for text, want := range map[string]string{
		"":                       "1: no agent",
		"# nobody\n\n":           "1: no agent",
		"801\n802\n801\n":        "3: agent 801 is in the list already, by 1",
		"801\n80,2\n":            "2: agent \"80,2\"",
		"801\n{id: \n":           "2: \"{id:\"",
		"801\n{name: x}\n":       "2: unknown key \"name\"",
		"- 801\n- 829-810\n":     "2: range \"829-810\"",
		"- 801\n- true\n":        "2: <nil>: expected an agent",
		"- 801\n- [802]\n":       "2: <nil>: expected an agent",
		"- 801\nx: [\n":          "1: not YAML",
		"---\n":                  "2: expected a list",
		"---\n# nobody\n...\n":   "3: expected a list",
		"801 802\n":              "1: agent \"801 802\"",
		"\xff\xfe8\x000\x001":    "1: not UTF-8",
		"1-99999\n100000-200000": "2: range",
	} {
		got, err := ParseRosterFile([]byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want %q", text, got, err, want)
		}
	}
}

func FuzzRosterFile(f *testing.F) {
	for _, text := range []string{"801\n810-829\n", "- 801\n- {id: 1}\n", "[]", "{id: 1}\n", "---\n-\n", "# x\n801 # y\n"} {
		f.Add([]byte(text))
	}
	// Whatever is read is a roster that could stand in the configuration: every agent
	// once, and each one legal.
	f.Fuzz(func(t *testing.T, text []byte) {
		roster, err := ParseRosterFile(text)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, a := range roster {
			if a.Check() != nil || seen[a.ID] {
				t.Fatalf("%q gives %+v", text, a)
			}
			seen[a.ID] = true
		}
	})
}
