package config

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/source"
)

func TestWhatIsPrintedLoadsAgain(t *testing.T) {
	for _, text := range []string{minimal, designed, string(Sample()), with("spool: {dir: '$${A} \"x\" 号\n\n: #', max_age: 90m30s}\nsource: {buffer_bytes: 1048577}\n")} {
		c := mustLoad(t, text)
		again, err := loadText(c.String())
		if err != nil {
			t.Fatalf("%v\nin\n%v", err, c)
		}
		// An empty list and none are the same to everyone.
		if len(c.Sinks) == 0 {
			c.Sinks, again.Sinks = nil, nil
		}
		if got, want := again.String(), c.String(); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		if !reflect.DeepEqual(c.Sources, again.Sources) || c.Spool != again.Spool || c.Intake != again.Intake {
			t.Errorf("got\n%+v\nwant\n%+v", again, c)
		}
	}
}

func TestAgentsArePrintedAsRanges(t *testing.T) {
	for _, c := range []struct{ agents, want string }{
		{`["801"]`, `["801"]`},
		{`["801", "802", "803", "805"]`, `["801-803", "805"]`},
		{`["098-102"]`, `["098-102"]`},
		{`["99-101"]`, `["99", "100-101"]`},
		{`[{id: "801", channel: "12"}, "802", "803"]`, `[{id: "801", channel: "12"}, "802-803"]`},
		{`["a1", "a2"]`, `["a1", "a2"]`},
	} {
		roster := onlySource(t, mustLoad(t, instead(`["801"]`, c.agents))).Agents
		node := encodeRoster(roster)
		if got := flat(node); got != strings.ReplaceAll(c.want, `"`, "") {
			// 99-101 is not a range that keeps the number of digits.
			t.Errorf("%s: got %s, want %s", c.agents, got, c.want)
		}
	}
	if got := flat(encodeRoster(source.Roster{})); got != "[]" {
		t.Errorf("no agents: %s", got)
	}
}

func TestDurationsArePrintedWithoutZeros(t *testing.T) {
	for d, want := range map[time.Duration]string{
		72 * time.Hour: "72h", 2 * time.Minute: "2m", 90 * time.Second: "1m30s", 0: "0s", 100 * time.Millisecond: "100ms",
		10 * time.Second: "10s", 10*time.Hour + 10*time.Minute: "10h10m", time.Hour + 5*time.Second: "1h0m5s", 20 * time.Minute: "20m",
	} {
		if got := shortDuration(d); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
		if back, err := time.ParseDuration(shortDuration(d)); err != nil || back != d {
			t.Errorf("%v: read back as %v, %v", d, back, err)
		}
	}
}
