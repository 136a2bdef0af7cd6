package source

import (
	"slices"
	"strings"
	"testing"
)

func TestRosterEntriesAreSinglesRangesAndMappings(t *testing.T) {
	got, err := ParseRoster([]any{"801", 802, "008-010", map[string]any{"id": "901", "channel": 12}, map[string]any{"id": 902}, "night-desk"})
	if err != nil {
		t.Fatal(err)
	}
	want := Roster{
		{"801", "-1"}, {"802", "-1"}, {"008", "-1"}, {"009", "-1"}, {"010", "-1"},
		{"901", "12"}, {"902", "-1"}, {"night-desk", "-1"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestAWrongRosterEntryIsNamed(t *testing.T) {
	for _, c := range []struct {
		entries []any
		want    string
	}{
		{[]any{"801", "800-805"}, "entry 2: agent 801 is in the list already, by entry 1"},
		{[]any{"829-810"}, `entry 1: range "829-810": expected the lower number first`},
		{[]any{"1-10000000"}, `range "1-10000000": more than 100000 agents`},
		{[]any{"1-99999999999999999999"}, "expected the lower number first"},
		{[]any{"1-60000", "60001-120000"}, "entry 2: more than 100000 agents"},
		{[]any{""}, "an agent without a number"},
		{[]any{true}, "entry 1: true: expected an agent"},
		{[]any{map[string]any{"id": "801", "chanel": "1"}}, `unknown key "chanel"`},
		{[]any{map[string]any{"channel": "1"}}, "an agent without a number"},
		{[]any{map[string]any{"id": "801", "channel": ""}}, "channel is empty"},
		{[]any{map[string]any{"id": []any{}}}, "id is []: expected text"},
		{[]any{"80,1"}, `',' cannot be part`},
		{[]any{strings.Repeat("8", 33)}, "longer than 32 bytes"},
	} {
		_, err := ParseRoster(c.entries)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: got %v, want %q", c.entries, err, c.want)
		}
	}
}
