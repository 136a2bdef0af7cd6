package capture

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/lqsim"
)

// shape is an invented way to register.
type shape struct {
	name string
	// template is what the simulator insists on.
	template string
	// message is what the vendor's client sends.
	message func(agent, channel string) []byte
	binary  bool
	warning string
}

func text2(format string) func(agent, channel string) []byte {
	return func(agent, channel string) []byte { return fmt.Appendf(nil, format, agent, channel) }
}

func shapes() []shape {
	return []shape{
		{name: "text", template: `op={{.Agent}},ch={{.Channel}};`, message: text2("op=%s,ch=%s;")},
		{name: "CRLF", template: `REG {{.Agent}} {{.Channel}}\r\n\r\n`, message: text2("REG %s %s\r\n\r\n")},
		{name: "line end alone", template: `LOGIN|{{.Agent}}|1.0\n`, message: func(agent, _ string) []byte { return []byte("LOGIN|" + agent + "|1.0\n") }},
		{
			name: "length-prefixed", template: `\x07\x03{{.Agent}}\x02{{.Channel}}`, binary: true, warning: "is the length of what follows",
			message: func(agent, channel string) []byte {
				m := append([]byte{byte(2 + len(agent) + len(channel)), byte(len(agent))}, agent...)
				return append(append(m, byte(len(channel))), channel...)
			},
		},
		{name: "GBK name", template: `name=\xd7\xf9\xcf\xaf,no={{.Agent}},line={{.Channel}};`, message: text2("name=\xd7\xf9\xcf\xaf,no=%s,line=%s;")},
		{name: "binary with NUL", template: `\x01\0\0\0{{.Agent}}\0{{.Channel}}\0\xff`, binary: true, message: text2("\x01\x00\x00\x00%s\x00%s\x00\xff")},
		{name: "fixed width", template: `R{{.Agent}}     {{.Channel}}  #`, warning: "padded to 8 bytes", message: text2("R%-8s%-4s#")},
		{
			name: "XML", template: `<?xml version="1.0"?><login><oper>{{.Agent}}</oper><ch>{{.Channel}}</ch></login>`,
			message: text2(`<?xml version="1.0"?><login><oper>%s</oper><ch>%s</ch></login>`),
		},
		{name: "the agent twice", template: `{"user":"{{.Agent}}","sip":"{{.Agent}}@pbx","ch":{{.Channel}}}`, message: func(agent, channel string) []byte {
			return fmt.Appendf(nil, `{"user":"%s","sip":"%s@pbx","ch":%s}`, agent, agent, channel)
		}},
		{name: "escapes and braces", template: `\x7b{a\\b'$\x7bop}={{.Agent}}}}`, message: func(agent, _ string) []byte {
			return []byte(`{{a\b'${op}=` + agent + `}}`)
		}},
	}
}

// captured records two agents who register in this shape and get a pop each.
func captured(t *testing.T, s shape) *Transcript {
	t.Helper()
	server := simulator(t, lqsim.Options{Registration: s.template, Heartbeat: 20 * time.Millisecond})
	r := record(t, server.Addr().String(), nil)
	for i, agent := range []string{"801", "802"} {
		v := connect(t, r.addr, s.message(agent, []string{"-1", "12"}[i]))
		must(t, server.WaitAgent(within(t), agent, func(a lqsim.Agent) bool { return a.Live == 1 && a.Replies > 0 }))
		pop := fmt.Appendf(nil, "H=t1v3,ch=2,ph=86307627,id=12157703713752,tm=080711175931,op=%s,sn=%d,dm=0;", agent, i+1)
		before := len(v.received())
		must(t, server.Send(agent, pop))
		v.await(t, before+1+len(pop))
	}
	return r.transcript()
}

func TestTheTemplateIsFoundAndRegistersWithAServerThatInsistsOnIt(t *testing.T) {
	for _, s := range shapes() {
		t.Run(s.name, func(t *testing.T) {
			templates, unexplained := Infer(captured(t, s), Hints{})
			if len(templates) != 1 || len(unexplained) != 0 {
				t.Fatalf("got %d templates, unexplained %v", len(templates), unexplained)
			}
			found := templates[0]
			if found.Binary != s.binary {
				t.Errorf("%s: binary is %t, want %t", found.Text, found.Binary, s.binary)
			}
			if s.warning == "" && (found.Certainty != Sure || len(found.Warnings) > 0) {
				t.Errorf("%s is %s: %q, warnings %q", found.Text, found.Certainty, found.Why, found.Warnings)
			}
			if s.warning != "" && (found.Certainty != Likely || !strings.Contains(strings.Join(found.Warnings, "\n"), s.warning)) {
				t.Errorf("%s is %s, warnings %q, want %q", found.Text, found.Certainty, found.Warnings, s.warning)
			}
			if found.AgentPattern == "" {
				t.Errorf("%s: no pattern finds the agent", found.Text)
			}
			text, err := frame.ParseRegistration(found.Text)
			must(t, err)
			hex, err := frame.ParseRegistrationHex(found.Hex)
			must(t, err)

			// An agent whom the recorder never saw.
			server := simulator(t, lqsim.Options{Registration: s.template})
			for _, r := range []frame.Registration{text, hex} {
				message := r.Append(nil, "803", "-1")
				if want := s.message("803", "-1"); found.hasChannel() && len(s.warning) == 0 && string(message) != string(want) {
					t.Errorf("renders %q, the client sends %q", message, want)
				}
				v := connect(t, server.Addr().String(), message)
				must(t, server.WaitAgent(within(t), "803", func(a lqsim.Agent) bool { return a.Live == 1 }))
				v.close()
				must(t, server.WaitAgent(within(t), "803", func(a lqsim.Agent) bool { return a.Live == 0 }))
			}
		})
	}
}

// dialogueOf is a connection whose client sent message, and whose pops name agents.
func dialogueOf(number int64, message []byte, agents ...string) *dialogue {
	c := &Connection{Number: number, From: "10.0.0.7:1", Opened: time.Unix(1, 0), Entries: []Entry{{At: time.Unix(2, 0), Kind: Client, Data: message}}}
	for _, agent := range agents {
		wire, err := frame.AppendPop(nil, []byte("H=t1v3,ph=1,op="+agent+",sn=1;"))
		if err != nil {
			panic(err)
		}
		c.Entries = append(c.Entries, Entry{At: time.Unix(3, 0), Kind: Server, Data: wire})
	}
	return takeApart(c)
}

func TestWhatATemplateRestsOnIsSaid(t *testing.T) {
	for _, c := range []struct {
		name      string
		dialogues []*dialogue
		hints     Hints
		template  string // empty: none
		certainty Certainty
		say       string // in the reasons, warnings or why nothing was found
	}{
		{
			"one agent, named by its pops", []*dialogue{dialogueOf(1, []byte("op=801,ch=-1;"), "801", "801", "805")}, Hints{},
			"op={{.Agent}},ch={{.Channel}};", Likely, "record a second one",
		},
		{
			"one agent, named by the operator", []*dialogue{dialogueOf(1, []byte("801 7\n"))}, Hints{Agents: []string{"900", "801"}},
			`{{.Agent}} 7\n`, Likely, "record a second one",
		},
		{
			"a channel, named by the operator", []*dialogue{dialogueOf(1, []byte("801 7\n"))}, Hints{Agents: []string{"801"}, Channels: []string{"7"}},
			`{{.Agent}} {{.Channel}}\n`, Likely, "",
		},
		{
			"no agent, but a name before it", []*dialogue{dialogueOf(1, []byte("v=12;oper=801;"))}, Hints{},
			"v=12;oper={{.Agent}};", Guess, "no pop and no hint",
		},
		{
			"no agent, but the one number that differs", []*dialogue{dialogueOf(1, []byte("v 12 801;")), dialogueOf(2, []byte("v 12 802;"))}, Hints{},
			"v 12 {{.Agent}};", Guess, "no pop and no hint",
		},
		{
			"no agent, and nothing to tell it by", []*dialogue{dialogueOf(1, []byte("12 801 77"))}, Hints{},
			"", "", "--agent",
		},
		{
			"a channel like the agent", []*dialogue{dialogueOf(1, []byte("op=801,ch=801;"), "801")}, Hints{},
			"op={{.Agent}},ch={{.Channel}};", Likely, "stands in it more than once",
		},
		{
			"the agent inside a longer number", []*dialogue{dialogueOf(1, []byte("T1801;801"), "801")}, Hints{},
			"T1801;{{.Agent}}", Likely, "",
		},
		{
			"zeros in front", []*dialogue{dialogueOf(1, []byte("A00000801"), "801")}, Hints{},
			"A00000{{.Agent}}", Likely, "padded with zeros to 8 digits",
		},
		{
			"something that changes each time", []*dialogue{dialogueOf(1, []byte("op=801;t=1700000001"), "801"), dialogueOf(2, []byte("op=801;t=1700000002"), "801")}, Hints{},
			"op={{.Agent}};t=1700000001", Likely, "changes with each registration",
		},
		{
			"a name that is each agent's own", []*dialogue{dialogueOf(1, []byte("801,\xd5\xc5\xc8\xfd;"), "801"), dialogueOf(2, []byte("802,\xc0\xee\xcb\xc4;"), "802")}, Hints{},
			`{{.Agent}},\xd5\xc5\xc8\xfd;`, Likely, "(李四)",
		},
		{
			"a number of 16 bits", []*dialogue{dialogueOf(1, binary.LittleEndian.AppendUint16([]byte{1, 2}, 801), "801")}, Hints{},
			"", "", "a number of 16 bits, lowest byte first from byte 3 on",
		},
		{
			"UTF-16", []*dialogue{dialogueOf(1, []byte("8\x000\x001\x00"), "801")}, Hints{},
			"", "", "text in UTF-16 from byte 1 on",
		},
		{
			"encrypted", []*dialogue{dialogueOf(1, []byte("\x93\x11\xfe\x07"), "801")}, Hints{},
			"", "", "use a relay source",
		},
		{
			"no client of an LQ server", []*dialogue{dialogueOf(1, bytes.Repeat([]byte("801 "), 1<<18), "801")}, Hints{},
			"", "", "is this a client of an LQ server?",
		},
		{"nothing at all", []*dialogue{dialogueOf(1, nil, "801")}, Hints{}, "", "", ""},
	} {
		templates, unexplained := infer(c.dialogues, c.hints)
		said := fmt.Sprint(unexplained)
		if len(templates) > 0 {
			said += fmt.Sprint(templates[0].Why, templates[0].Warnings)
		}
		if !strings.Contains(said, c.say) {
			t.Errorf("%s: said %s, want %q", c.name, said, c.say)
		}
		switch {
		case c.template == "" && len(templates) > 0:
			t.Errorf("%s: got %s, want none", c.name, templates[0].Text)
		case c.template != "" && (len(templates) == 0 || templates[0].Text != c.template || templates[0].Certainty != c.certainty):
			t.Errorf("%s: got %+v, want %s, %s", c.name, templates, c.template, c.certainty)
		}
	}
}

func TestAgentsOfTwoLengthsGetATemplateEach(t *testing.T) {
	message := func(agent string) []byte { return append([]byte{byte(len(agent))}, agent...) }
	dialogues := []*dialogue{
		dialogueOf(1, message("801"), "801"), dialogueOf(2, message("802"), "802"), dialogueOf(3, message("1001"), "1001"),
	}
	templates, unexplained := infer(dialogues, Hints{})
	if len(templates) != 2 || len(unexplained) != 0 {
		t.Fatalf("got %d templates, unexplained %v", len(templates), unexplained)
	}
	if got := templates[0]; got.Text != `\x03{{.Agent}}` || !slices.Equal(got.Connections, []int64{1, 2}) {
		t.Errorf("the first is %+v", got)
	}
	if got := templates[1]; got.Text != `\x04{{.Agent}}` || !slices.Equal(got.Connections, []int64{3}) {
		t.Errorf("the second is %+v", got)
	}
}

func TestTheConfigurationToPasteIsTheTemplate(t *testing.T) {
	for _, s := range shapes() {
		summary, err := Summarize(captured(t, s), ExplainOptions{})
		must(t, err)
		var pasted struct {
			Sources []struct {
				Name, Type, Address, Registration string
				Hex                               string `yaml:"registration_hex"`
				Agents                            []any
				Pattern                           string `yaml:"agent_pattern"`
			}
		}
		// As the configuration is read: $${ stands for ${.
		must(t, yaml.Unmarshal([]byte(strings.ReplaceAll(Configuration(summary), "$${", "${")), &pasted))
		found, in := summary.Templates[0], pasted.Sources[0]
		if in.Registration+in.Hex != map[bool]string{false: found.Text, true: found.Hex}[found.Binary] {
			t.Errorf("%s: pasted %q and %q, want %q", s.name, in.Registration, in.Hex, found.Text)
		}
		roster, err := source.ParseRoster(in.Agents)
		must(t, err)
		if len(roster) != 2 || roster[0].ID != "801" || found.hasChannel() && roster[1] != (source.Agent{ID: "802", Channel: "12"}) {
			t.Errorf("%s: agents %v", s.name, roster)
		}
		must(t, yaml.Unmarshal([]byte(strings.ReplaceAll(relayConfiguration(summary, found.AgentPattern), "$${", "${")), &pasted))
		if got := pasted.Sources[0].Pattern; got != found.AgentPattern {
			t.Errorf("%s: pasted %q, want %q", s.name, got, found.AgentPattern)
		}
	}
}
