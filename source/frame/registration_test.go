package frame

import (
	"strings"
	"testing"
)

func TestARegistrationRendersItsTemplate(t *testing.T) {
	tests := []struct {
		name, template string
		hex            bool
		want           string
	}{
		{"text", `op={{.Agent}},ch={{.Channel}};`, false, "op=801,ch=-1;"},
		{"spaces in the braces", `{{ .Agent }}|{{.Channel }}`, false, "801|-1"},
		{"escapes", `\x02{{.Agent}}\0\t\\\r\n\xfF`, false, "\x02801\x00\t\\\r\n\xff"},
		{"no channel", `LOGIN {{.Agent}}`, false, "LOGIN 801"},
		{"the agent twice", `{{.Agent}}{{.Agent}}`, false, "801801"},
		{"single braces and Chinese text", `{坐席}{{.Agent}}}`, false, "{坐席}801}"},
		{"escaped braces", `\x7b{.Agent}}{{.Agent}}`, false, "{{.Agent}}801"},
		{"hex", `02 4F70 {{.Agent}} 00ff{{.Channel}} 0d0A`, true, "\x02Op801\x00\xff-1\r\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parse := ParseRegistration
			if tt.hex {
				parse = ParseRegistrationHex
			}
			r, err := parse(tt.template)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := string(r.Append([]byte("before:"), "801", "-1")), "before:"+tt.want; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

func TestAWrongTemplateSaysWhatAndWhere(t *testing.T) {
	tests := []struct {
		name, template string
		hex            bool
		want           string
	}{
		{"no agent", `op=801`, false, `{{.Agent}} is missing`},
		{"empty", ``, false, `{{.Agent}} is missing`},
		{"unknown placeholder", `op={{.Oper}}`, false, `unknown placeholder ".Oper" (known: {{.Agent}}, {{.Channel}}) at byte 4`},
		{"open placeholder", `op={{.Agent}`, false, `placeholder without its closing }} at byte 4`},
		{"unknown escape", `{{.Agent}}\q`, false, `unknown escape "\\q" at byte 11`},
		{"lone backslash", `{{.Agent}}\`, false, `lone \ at byte 11`},
		{"short hex escape", `\x0{{.Agent}}`, false, `\x without two hex digits at byte 1`},
		{"hex escape at the end", `{{.Agent}}\x`, false, `\x without two hex digits at byte 11`},
		{"half a byte", `02 4{{.Agent}}`, true, `no pair of hex digits at byte 4`},
		{"no hex digit", `zz{{.Agent}}`, true, `no pair of hex digits at byte 1`},
		{"a split byte", `0 2{{.Agent}}`, true, `no pair of hex digits at byte 1`},
		{"too long", strings.Repeat("x", MaxTemplate) + `{{.Agent}}`, false, `at most 4096`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			parse := ParseRegistration
			if tt.hex {
				parse = ParseRegistrationHex
			}
			_, err := parse(tt.template)
			if err == nil {
				t.Fatal("no error")
			}
			if got := err.Error(); !strings.Contains(got, tt.want) {
				t.Errorf("got %q, want it to contain %q", got, tt.want)
			}
		})
	}
}

func TestARegistrationIsReadBack(t *testing.T) {
	const both = `op={{.Agent}},ch={{.Channel}};`
	tests := []struct {
		name, template, received string
		agent, channel           string
		n                        int
		ok, more                 bool
	}{
		{name: "whole", template: both, received: "op=801,ch=-1;", agent: "801", channel: "-1", n: 13, ok: true},
		{name: "more behind it", template: both, received: "op=801,ch=-1;TRY_REP", agent: "801", channel: "-1", n: 13, ok: true},
		{name: "without a channel", template: both, received: "op=801,ch=;", agent: "801", n: 11, ok: true},
		{name: "without an agent", template: both, received: "op=,ch=1;", more: true},
		{name: "nothing yet", template: both, more: true},
		{name: "inside the text", template: both, received: "o", more: true},
		{name: "before the agent", template: both, received: "op=", more: true},
		{name: "inside the agent", template: both, received: "op=80", more: true},
		{name: "inside the second text", template: both, received: "op=801,c", more: true},
		{name: "before the end", template: both, received: "op=801,ch=-1", more: true},
		{name: "other text", template: both, received: "GET / HTTP/1.1"},
		{name: "an agent longer than any", template: both, received: "op=" + strings.Repeat("8", MaxValue+1)},
		{name: "the longest agent", template: both, received: "op=" + strings.Repeat("8", MaxValue) + ",ch=1;", agent: strings.Repeat("8", MaxValue), channel: "1", n: 3 + MaxValue + 6, ok: true},
		{name: "an agent that holds a part of what follows", template: `{{.Agent}}1;`, received: "811;", agent: "81", n: 4, ok: true},
		{name: "open end", template: `LOGIN {{.Agent}}`, received: "LOGIN 801", agent: "801", n: 9, ok: true, more: true},
		{name: "open end before the value", template: `LOGIN {{.Agent}}`, received: "LOGIN ", more: true},
		{name: "open end at its limit", template: `{{.Agent}}`, received: strings.Repeat("8", MaxValue+9), agent: strings.Repeat("8", MaxValue), n: MaxValue, ok: true},
		{name: "the agent twice", template: `{{.Agent}},{{.Agent}};`, received: "80,80;", agent: "80", n: 6, ok: true},
		{name: "the agent twice, not the same", template: `{{.Agent}},{{.Agent}};`, received: "80,81;", more: true},
		{name: "two values that touch", template: `{{.Agent}}{{.Channel}};`, received: "801-1;"},
		{name: "binary", template: `\0\x03{{.Agent}}\xff`, received: "\x00\x03801\xff", agent: "801", n: 6, ok: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r, err := ParseRegistration(tt.template)
			if err != nil {
				t.Fatal(err)
			}
			agent, channel, n, ok, more := r.Match([]byte(tt.received))
			if agent != tt.agent || channel != tt.channel || n != tt.n || ok != tt.ok || more != tt.more {
				t.Errorf("got agent %q, channel %q, n %d, ok %v, more %v; want %q, %q, %d, %v, %v",
					agent, channel, n, ok, more, tt.agent, tt.channel, tt.n, tt.ok, tt.more)
			}
		})
	}
}

func TestAPopTooLongForTheWireIsRefused(t *testing.T) {
	if _, err := AppendPop(nil, make([]byte, 256)); err == nil || !strings.Contains(err.Error(), "256 bytes") {
		t.Errorf("got %v, want an error that says 256 bytes", err)
	}
	if _, err := AppendPop(nil, []byte("RY_REQ"+strings.Repeat("x", 78))); err == nil {
		t.Error("a pop that reads as a heartbeat: no error")
	}
	for _, length := range []int{0, 1, 84, 255} {
		got, err := AppendPop([]byte("x"), make([]byte, length))
		if err != nil || len(got) != 2+length || got[1] != byte(length) {
			t.Errorf("%d bytes: got %q, %v", length, got, err)
		}
	}
}
