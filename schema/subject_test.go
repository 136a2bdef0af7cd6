package schema_test

import (
	"strings"
	"testing"

	"github.com/callpop/connector/schema"
)

var names = []string{
	"", "%", "801", "hq", "a.b", "a b", "*", ">", "a/b", "张三", "总部", "a\r\nb", "\x00", "\xff", `"q"`,
	"%41", "A", "%25", "-_", "..", "$JS", "\u2028", strings.Repeat("长", 100),
}

// isToken reports whether NATS takes s as one token that is no wildcard, and that
// needs no quoting anywhere else.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		return r != '%' && r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
	})
}

func tokenProperties(t *testing.T, name string) string {
	t.Helper()
	token := schema.Token(name)
	if !isToken(token) {
		t.Fatalf("name %q gives %q, which is not one legal token", name, token)
	}
	back, err := schema.ParseToken(token)
	if err != nil || back != name {
		t.Fatalf("name %q gives %q and back %q, %v", name, token, back, err)
	}
	if got := string(schema.AppendToken([]byte("x"), name)); got != "x"+token {
		t.Fatalf("name %q: appended %q, want x%q", name, got, token)
	}
	return token
}

func TestNoTwoNamesShareAToken(t *testing.T) {
	seen := make(map[string]string)
	add := func(name string) {
		token := tokenProperties(t, name)
		if other, ok := seen[token]; ok && other != name {
			t.Fatalf("%q and %q share the token %q", name, other, token)
		}
		seen[token] = name
	}
	for _, name := range names {
		add(name)
		add(schema.Token(name)) // a name that looks like a token is a name like any other
	}
	for a := range 256 {
		add(string([]byte{byte(a)}))
		for b := range 256 {
			add(string([]byte{byte(a), byte(b)}))
		}
	}
	r := newRandom(7)
	for range 10_000 {
		add(r.anyText())
	}
}

func TestTokenEscapesByteByByteInUpperCase(t *testing.T) {
	for name, want := range map[string]string{
		"": "%", "801": "801", "hq-2_B": "hq-2_B", "a.b": "a%2Eb", "%": "%25", "张": "%E5%BC%A0", "\r\n": "%0D%0A", "*": "%2A", "~": "%7E",
	} {
		if got := schema.Token(name); got != want {
			t.Errorf("name %q: got %q, want %q", name, got, want)
		}
	}
}

func TestParseTokenRefusesWhatTokenNeverGives(t *testing.T) {
	for _, token := range []string{"", "a.b", "%2", "%%", "a%", "%2e", "%2G", "%41", "%5F", "a b", "*", "张", "%%25", "%-1", "% 1"} {
		if name, err := schema.ParseToken(token); err == nil {
			t.Errorf("token %q: got the name %q, want an error", token, name)
		} else if !strings.HasPrefix(err.Error(), "parse subject token: ") {
			t.Errorf("token %q: error %q does not say what was tried", token, err)
		}
	}
}

func TestSubjectsHaveATokenForEachName(t *testing.T) {
	for _, c := range []struct {
		event schema.Event
		want  string
	}{
		{schema.Event{Type: schema.TypeCallPop, Server: "hq", Agent: "801"}, "callpop.v1.hq.801"},
		{schema.Event{Type: schema.TypeCallPop, Server: "hq.2", Agent: ""}, "callpop.v1.hq%2E2.%"},
		{schema.Event{Type: schema.TypeSessionChanged, Server: "总", Agent: "8 1"}, "callpop.session.v1.%E6%80%BB.8%201"},
		{schema.Event{Type: schema.TypeDeadLetter, Server: "hq>", Agent: "801"}, "callpop.dlq.v1.hq%3E"},
	} {
		if got := c.event.Subject(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
		under := "acme.pops" + strings.TrimPrefix(c.want, string(c.event.Type))
		if got := c.event.SubjectUnder("acme.pops"); got != under {
			t.Errorf("got %q, want %q", got, under)
		}
	}
	if got, want := schema.Subject("callpop.v1", "hq", "801"), "callpop.v1.hq.801"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Every name gives one legal token and comes back; every token that parses is the
// one that its name gives.
func FuzzToken(f *testing.F) {
	for _, name := range names {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, s string) {
		tokenProperties(t, s)
		if name, err := schema.ParseToken(s); err == nil && schema.Token(name) != s {
			t.Fatalf("token %q parses to %q, whose token is %q", s, name, schema.Token(name))
		}
	})
}
