package source

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
)

func TestEachAgentHasOneOwnerAndAnotherReplicaTakesOnlyItsShare(t *testing.T) {
	const agents = 10_000
	for count := 1; count <= 12; count++ {
		share, moved := make([]int, count+1), 0
		for i := range agents {
			id := fmt.Sprint(10_000 + i)
			before, after := Owner("hq", id, count), Owner("hq", id, count+1)
			if before < 0 || before >= count {
				t.Fatalf("agent %s of %d replicas is %d's", id, count, before)
			}
			if share[after]++; before != after {
				if moved++; after != count {
					t.Fatalf("agent %s went from %d to %d when replica %d came", id, before, after, count)
				}
			}
		}
		want := float64(agents) / float64(count+1)
		// Five standard deviations of a fair choice.
		if off := 5 * math.Sqrt(want); math.Abs(float64(moved)-want) > off {
			t.Errorf("from %d to %d replicas %d of %d agents moved, want about %.0f", count, count+1, moved, agents, want)
		}
		for replica, n := range share {
			if math.Abs(float64(n)-want) > 5*math.Sqrt(want) {
				t.Errorf("replica %d of %d has %d agents, want about %.0f", replica, count+1, n, want)
			}
		}
	}
}

// TestTheOwnerOfAnAgentNeverChanges freezes the hash: replicas of two versions
// that disagree would both hold an agent, or neither.
func TestTheOwnerOfAnAgentNeverChanges(t *testing.T) {
	for _, c := range []struct {
		server, agent string
		owners        [6]int // of 1, 2, 3, 5, 10 and 1000 replicas
	}{
		{"hq", "801", [6]int{0, 1, 1, 3, 9, 818}},
		{"hq", "802", [6]int{0, 0, 2, 2, 2, 640}},
		{"hq", "0801", [6]int{0, 1, 2, 2, 2, 906}},
		{"branch", "801", [6]int{0, 1, 1, 1, 1, 27}},
		{"总部", "夜班", [6]int{0, 1, 2, 4, 5, 154}},
	} {
		var got [6]int
		for i, count := range []int{1, 2, 3, 5, 10, 1000} {
			got[i] = Owner(c.server, c.agent, count)
		}
		if got != c.owners {
			t.Errorf("{%q, %q, [6]int{%d, %d, %d, %d, %d, %d}},", c.server, c.agent, got[0], got[1], got[2], got[3], got[4], got[5])
		}
	}
}

func TestReplicasThatCannotBeAreRefused(t *testing.T) {
	for want, r := range map[string]Replicas{
		"":                                    {Count: 3, Index: 2, GainDelay: time.Minute, ConnectBeforeClose: true},
		"count is 0":                          {},
		"index is -1":                         {Count: 1, Index: -1},
		"gain_delay is 2h0m0s":                {Count: 1, GainDelay: 2 * time.Hour},
		"gain_delay is 0s with connect_befor": {Count: 1, ConnectBeforeClose: true},
	} {
		if err := r.Validate(); (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: got %v, want %q", r, err, want)
		}
	}
}

func TestAPaceIsReadAndWritten(t *testing.T) {
	for text, want := range map[string]Pace{"5/s": 5, "90/m": 1.5, "1/h": 1.0 / 3600, "0.5/s": 0.5, "": 0, "0": 0, "5 / s": 5} {
		got, err := ParsePace(text)
		if err != nil || got != want {
			t.Errorf("%q: got %v, %v, want %v", text, float64(got), err, float64(want))
		}
		if back, err := ParsePace(got.String()); err != nil || math.Abs(float64(back-got)) > 1e-9 {
			t.Errorf("%q is written as %q, which is %v, %v", text, got.String(), back, err)
		}
	}
	for _, text := range []string{"5", "5/d", "-1/s", "0/s", "x/s", "NaN/s", "Inf/s", "1e9/s", "/s"} {
		if got, err := ParsePace(text); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}
