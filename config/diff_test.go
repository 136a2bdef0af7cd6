package config

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func compare(t *testing.T, old, next string) *Plan {
	t.Helper()
	p, err := Compare(mustLoad(t, old), mustLoad(t, next))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestADifferenceHasItsEffect(t *testing.T) {
	const old = minimal + `sinks: [{name: e, type: nats, url: "nats://a:4222"}]
http: {admin: "127.0.0.1:8090", admin_token: 0123456789abcdef}
`
	for _, c := range []struct{ from, to, want string }{
		{"", "", ""},
		{`["801"]`, `["801", "802"]`, "live sources[hq].agents"},
		{"10.0.0.5:7628", "10.0.0.6:7628", "reconnects sources[hq].address: 10.0.0.5:7628 -> 10.0.0.6:7628"},
		{"op={{.Agent}};", "op={{.Agent}},;", "reconnects sources[hq].registration: op={{.Agent}}; -> op={{.Agent}},;"},
		{"name: hq", "name: branch", "live sources[branch]: new, of type session|live sources[hq]: removed; it was of type session"},
		{"url: \"nats://a:4222\"", "url: \"nats://b:4222\"", "replaced sinks[e]: other settings; it goes on from its place in the spool"},
		{"name: e", "name: f", "live sinks[f]: new, of type nats|live sinks[e]: removed; its place in the spool is kept"},
		{"admin_token: 0123456789abcdef", "admin_token: fedcba9876543210", "live http.admin_token: another secret"},
		{"127.0.0.1:8090", "127.0.0.1:8091", "restart http.admin: 127.0.0.1:8090 -> 127.0.0.1:8091"},
		{"http:", "spool: {dir: ./other, max_age: 1h}\nhttp:", "restart spool.dir: ./data -> ./other|live spool.max_age: 72h -> 1h"},
		{"http:", "replicas: {count: 3, index: 2}\nhttp:", "live replicas.count: 1 -> 3|live replicas.index: 0 -> 2"},
		{"http:", "drain_pace: 5/s\nhttp:", `live drain_pace: "" -> 5/s`},
	} {
		next := strings.Replace(old, c.from, c.to, 1)
		var got []string
		for _, change := range compare(t, old, next).Changes {
			got = append(got, fmt.Sprintf("%s %v", change.Effect, change))
		}
		if strings.Join(got, "|") != c.want {
			t.Errorf("%s -> %s:\ngot  %s\nwant %s", c.from, c.to, strings.Join(got, "|"), c.want)
		}
	}
}

func TestWhatNeedsARestartStaysAsItWas(t *testing.T) {
	next := minimal + "spool: {dir: ./other, max_age: 1h}\nembedded: {listen: \"127.0.0.1:4222\"}\nhttp: {health: \"\"}\n"
	old := mustLoad(t, minimal)
	to := mustLoad(t, next)
	before := to.String()
	p, err := Compare(old, to)
	if err != nil {
		t.Fatal(err)
	}
	if got := p.Next; got.Spool.Dir != "./data" || got.Spool.MaxAge.Hours() != 1 || got.Embedded.Listen != "" || got.HTTP.Health != old.HTTP.Health {
		t.Errorf("next is\n%v", got)
	}
	var pending []string
	for _, c := range p.Pending() {
		pending = append(pending, c.Key)
	}
	if want := []string{"spool.dir", "embedded.listen", "http.health"}; !slices.Equal(pending, want) {
		t.Errorf("pending: %v, want %v", pending, want)
	}
	if to.String() != before {
		t.Error("the new configuration was changed")
	}
	// The same again is pending again.
	if again, err := Compare(p.Next, to); err != nil || len(again.Changes) != len(pending) {
		t.Errorf("%v, %v", again, err)
	}
}

func TestWhatStaysAndWhatChangesMustFitTogether(t *testing.T) {
	old := minimal + "  - {name: r, type: relay, listen: \"127.0.0.1:1\", address: \"10.0.0.9:7628\"}\n"
	// The relay keeps its address until a restart, and the session would go there now.
	next := strings.NewReplacer("10.0.0.9:7628", "10.0.0.8:7628", "10.0.0.5:7628", "10.0.0.9:7628").Replace(old)
	_, err := Compare(mustLoad(t, old), mustLoad(t, next))
	if err == nil || !strings.Contains(err.Error(), "needs a restart") || !strings.Contains(err.Error(), "an address of its own") {
		t.Errorf("got %v", err)
	}
}

// TestEveryEffectIsAKeysAndIsDocumented compares the table of docs/agents.md with
// what is done.
func TestEveryEffectIsAKeysAndIsDocumented(t *testing.T) {
	known := map[string]bool{}
	var add func(prefix string, v reflect.Value)
	add = func(prefix string, v reflect.Value) {
		for _, f := range fieldsOf(v) {
			known[prefix+f.key] = true
			if f.value.IsValid() && isSection(f.value.Type()) {
				add(prefix+f.key+".", f.value)
			}
		}
	}
	c := Default()
	add("", reflect.ValueOf(&c).Elem())
	for _, k := range sourceKinds() {
		add(k.name+".", reflect.ValueOf(k.make()).Elem())
	}
	text, err := os.ReadFile(filepath.Join("..", "docs", "agents.md"))
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]Effect{}
	row := regexp.MustCompile(`(?m)^\| (live|reconnects) \| (.+?) \|`)
	for _, m := range row.FindAllStringSubmatch(string(text), -1) {
		for _, key := range regexp.MustCompile("`([a-z_.]+)`").FindAllStringSubmatch(m[2], -1) {
			documented[key[1]] = Effect(m[1])
		}
	}
	for _, key := range keysWithEffects() {
		if !known[key] {
			t.Errorf("%s has an effect and is no key", key)
		}
		if documented[key] != EffectOf(key) {
			t.Errorf("%s is %q in docs/agents.md, and does %q", key, documented[key], EffectOf(key))
		}
		delete(documented, key)
	}
	for key, effect := range documented {
		t.Errorf("%s is %s in docs/agents.md, and needs a restart", key, effect)
	}
}

func TestFilesOfAgentsAreReadWithTheConfiguration(t *testing.T) {
	file := filepath.Join(t.TempDir(), "roster")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text := instead(`["801"]`, `["801", {id: "802", channel: "1"}]
    agents_file: `+file)
	write("802\n803\n")
	c := mustLoad(t, text)
	if got := onlySource(t, c).Configured().Ranges(); !slices.Equal(got, []string{"801-803"}) {
		t.Errorf("got %v", got)
	}
	if got := c.Files(); !slices.Equal(got, []string{"connector.yaml", file}) {
		t.Errorf("files: %v", got)
	}
	next, err := c.WithRoster("hq", nil)
	if err != nil || len(onlySource(t, next).Configured()) != 2 || len(onlySource(t, c).Configured()) != 3 {
		t.Errorf("%v, %v", next, err)
	}
	write("802\n\n80;3\n")
	_, err = loadText(text)
	if want := "connector.yaml:6: sources[0].agents_file: " + file + `:3: agent "80;3"`; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}
