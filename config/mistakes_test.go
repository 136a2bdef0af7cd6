package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// with is the minimal configuration and more after it, from line 7 on.
func with(more string) string { return minimal + more }

// instead is the minimal configuration with one thing replaced.
func instead(old, replacement string) string {
	if !strings.Contains(minimal, old) {
		panic("minimal has no " + old)
	}
	return strings.Replace(minimal, old, replacement, 1)
}

// another is a second source on lines 7 to 11.
func another(old, replacement string) string {
	source := strings.TrimPrefix(minimal, "sources:\n")
	return minimal + strings.Replace(source, old, replacement, 1)
}

func TestEachMistakeIsOneClearLine(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"an empty file", "", `connector.yaml: sources is empty: expected at least one source`},
		{"comments alone", "# nothing\n", `connector.yaml: sources is empty: expected at least one source`},
		{"no sources", "sources: []\n", `connector.yaml:1: sources is empty: expected at least one source`},
		{"a list", "- a\n", `connector.yaml:1: the file is a list: expected keys and values, such as sources and sinks`},
		{"a word", "\nhello\n", `connector.yaml:2: the file is a single value: expected keys and values, such as sources and sinks`},
		{"no YAML", "a: b: c\n", `connector.yaml:1: not YAML: mapping values are not allowed in this context`},
		{"no YAML further down", "a: 1\nb: c: d\n", `connector.yaml:2: not YAML: mapping values are not allowed in this context`},
		{"no UTF-8", "a: 1\nb: \xc4\xe3\n", `connector.yaml:2: not UTF-8 text: expected a configuration`},
		{"control characters", "a: \x01\n", `connector.yaml: not YAML: control characters are not allowed`},
		{"two documents", with("---\nspool: {}\n"), `connector.yaml:7: a second document begins: expected one`},
		{"an alias of nothing", with("spool: *there\n"), `connector.yaml: not YAML: an alias without its anchor: a text that starts with * needs quotes`},
		{"a tag", with("spool: {dir: !there x}\n"), `connector.yaml:7: spool.dir has a tag: a text that starts with ! needs quotes`},
		{"a key given twice", with("spool:\n  sync: 1s\n  dir: x\n  sync: 2s\n"), `connector.yaml:10: spool.sync is given twice, first in line 8`},
		{"a section given twice", with("log: {}\nlog: {}\n"), `connector.yaml:8: log is given twice, first in line 7`},
		{"a list as a key", with("? [a]\n: b\n"), `connector.yaml:7: a key is a list: expected text`},
		{"a merge of nothing to merge", with("spool:\n  <<: 5\n"), `connector.yaml:8: << is a single value: expected an alias of a mapping`},

		{"an unknown key", with("spool: {zzz: 1}\n"), `connector.yaml:7: spool.zzz is not a known key: expected one of dir, max_age, max_bytes, min_free, sync`},
		{"a slip of the finger", with("    regstration: x\n"), `connector.yaml:7: sources[0].regstration is not a known key: did you mean registration?`},
		{"a swap", with("spool: {snyc: 1s}\n"), `connector.yaml:7: spool.snyc is not a known key: did you mean sync?`},
		{"a section in the wrong case", with("Spool: {}\n"), `connector.yaml:7: Spool is not a known key: did you mean spool?`},
		{"a key in the wrong case", with("sinks:\n  - {name: n, type: nats, Url: nats://h}\n"), `connector.yaml:8: sinks[0].Url is not a known key: did you mean url?`},
		{"a key in camel case", with("spool: {maxAge: 1h}\n"), `connector.yaml:7: spool.maxAge is not a known key: did you mean max_age?`},
		{"a path for a key", with("spool.sync: 1s\n"), `connector.yaml:7: "spool.sync" is not a known key: expected one of drain_pace, embedded, feed, http, log, replicas, shutdown_timeout, sinks, source, sources, spool, telemetry, watch`},
		{"nothing for a key", with("spool: {\"\": 1}\n"), `connector.yaml:7: spool."" is not a known key: expected one of dir, max_age, max_bytes, min_free, sync`},
		{"a number for a key", with("5: 5\n"), `connector.yaml:7: 5 is not a known key: expected one of drain_pace, embedded, feed, http, log, replicas, shutdown_timeout, sinks, source, sources, spool, telemetry, watch`},
		{"a key of another kind of sink", with("sinks:\n  - {name: n, type: kafka, brokers: [h:1], max_in_flight: 5}\n"), `connector.yaml:8: sinks[0].max_in_flight is not a known key: expected one of acks, balancer, batch_bytes, batch_records, brokers, client_id, compression, create_topics, dead_letter_topic, name, publish_timeout, sasl, session_topic, start, tls, topic, type`},

		{"a section without a value", with("spool:\n"), `connector.yaml:7: spool has no value: expected keys and values, or the key left out`},
		{"a list without a value", with("sinks:\n"), `connector.yaml:7: sinks has no value: expected a list, or the key left out`},
		{"a null", with("spool:\n  max_age: ~\n"), `connector.yaml:8: spool.max_age has no value: expected a duration with a unit, such as 5s, or the key left out`},

		{"a section that is a number", with("spool: 5\n"), `connector.yaml:7: spool is 5: expected keys and values`},
		{"sinks that are a mapping", with("sinks: {a: b}\n"), `connector.yaml:7: sinks is a mapping: expected a list`},
		{"a sink that is a word", with("sinks: [nats]\n"), `connector.yaml:7: sinks[0] is "nats": expected a mapping with name and type`},
		{"a sink that is null", with("sinks: [~]\n"), `connector.yaml:7: sinks[0] is null: expected a mapping with name and type`},
		{"a number for text", with("spool: {dir: 5}\n"), `connector.yaml:7: spool.dir is 5: expected text, in quotes: "5"`},
		{"a list for text", with("spool: {dir: [a]}\n"), `connector.yaml:7: spool.dir is a list: expected text`},
		{"text for a list", with("sinks:\n  - {name: n, type: kafka, brokers: h}\n"), `connector.yaml:8: sinks[0].brokers is "h": expected a list`},
		{"a number in a mapping of text", with("sinks:\n  - {name: n, type: kafka, brokers: [h:1], create_topics: {config: {retention.ms: 5}}}\n"), `connector.yaml:8: sinks[0].create_topics.config."retention.ms" is 5: expected text, in quotes: "5"`},
		{"a public address that nobody may read", with("http: {public: ':8443'}\n"), `connector.yaml:7: http.public is ":8443": expected feed.signing_key or feed.token beside it, since without either nobody may read the feed`},
		{"a short signing key", with("feed: {signing_key: abc}\n"), `connector.yaml:7: feed.signing_key: 3 bytes: expected 32 to 1024, such as 'openssl rand -base64 48' gives`},
		{"an origin with a path", with("feed: {allow_origins: ['https://crm.example/']}\n"), `connector.yaml:7: feed.allow_origins is "https://crm.example/": expected an origin as browsers send it, such as https://crm.example or http://10.0.0.7:8080`},
		{"a field of no event", with("feed: {page: {open: 'https://crm.example/{phone}'}}\n"), `connector.yaml:7: feed.page.open: "https://crm.example/{phone}": {phone}: expected a field of the event in braces, one of id, fingerprint, key, server, agent, pop, direction, call, customer, ivr, format, declared_format, extra, source, received_at, with a dot before what is within it`},
		{"text for true or false", with("log: {numbers: yes}\n"), `connector.yaml:7: log.numbers is "yes": expected true or false`},
		{"a number for true or false", with("log: {numbers: 1}\n"), `connector.yaml:7: log.numbers is 1: expected true or false`},
		{"text for a number", with("    dial_rate: '50'\n"), `connector.yaml:7: sources[0].dial_rate is "50": expected a whole number`},
		{"a fraction", with("    dial_rate: 50.5\n"), `connector.yaml:7: sources[0].dial_rate is 50.5: expected a whole number`},
		{"a number that could be octal", with("    dial_rate: 010\n"), `connector.yaml:7: sources[0].dial_rate is 010: expected a whole number`},
		{"a number that is too large", with("    dial_rate: 99999999999999999999\n"), `connector.yaml:7: sources[0].dial_rate is 99999999999999999999: expected a whole number`},

		{"a duration without a unit", with("spool: {max_age: 5}\n"), `connector.yaml:7: spool.max_age is 5: expected a duration with a unit, such as 5s`},
		{"a duration without a unit in quotes", with("spool: {max_age: '5'}\n"), `connector.yaml:7: spool.max_age is "5": expected a duration with a unit, such as 5s`},
		{"a duration without a unit in a source", with("    expire_after: 5\n"), `connector.yaml:7: sources[0].expire_after is 5: expected a duration with a unit, such as 5s`},
		{"a duration in days", with("spool: {max_age: 3d}\n"), `connector.yaml:7: spool.max_age is "3d": expected a duration with a unit, such as 5s`},
		{"a duration that is too long", with("spool: {max_age: 9999999h}\n"), `connector.yaml:7: spool.max_age is "9999999h": expected a duration with a unit, such as 5s`},
		{"an interval without a unit", with("spool: {sync: 5}\n"), `connector.yaml:7: spool.sync is 5: expected "always" or a duration with a unit, such as 100ms`},
		{"a size that is none", with("spool: {max_bytes: lots}\n"), `connector.yaml:7: spool.max_bytes is "lots": not a size in bytes, such as 256MiB or 4GiB`},
		{"a list for a size", with("spool: {max_bytes: [1]}\n"), `connector.yaml:7: spool.max_bytes is a list: expected a value such as 4GiB`},

		{"a size out of range", with("source: {buffer_bytes: 1}\n"), `connector.yaml:7: source.buffer_bytes is 1: expected 1MiB to 64GiB`},
		{"a negative duration", with("spool: {max_age: -5h}\n"), `connector.yaml:7: spool.max_age is -5h0m0s: expected 1m0s or more, such as 72h`},
		{"a time to stop that is too short", with("shutdown_timeout: 5ms\n"), `connector.yaml:7: shutdown_timeout is 5ms: expected 1s to 10m`},
		{"a number out of range", with("    dial_rate: 0\n"), `connector.yaml:7: sources[0].dial_rate is 0: expected 1 to 10000 connections a second`},
		{"two mistakes in one section", with("spool:\n  max_age: 1s\n  min_free: 0\n  sync: 1h\n"), "connector.yaml:8: spool.max_age is 1s: expected 1m0s or more, such as 72h\n" +
			`connector.yaml:10: spool.sync is 1h0m0s: expected "always" or a duration from 1ms to 1m0s`},
		{"an entry of a list", with("sinks:\n  - name: n\n    type: kafka\n    brokers:\n      - h:1\n      - h\n"), `connector.yaml:12: sinks[0].brokers[1] is "h": expected host:port, such as kafka:9092`},
		{"a listener that all may reach", with("embedded: {listen: '0.0.0.0:4222'}\n"), `connector.yaml:7: embedded.listen is "0.0.0.0:4222": expected a loopback address such as 127.0.0.1:4222, or credentials beside it (user and password, or tls.client_ca_file): without them anyone who reaches this machine could read every event`},

		{"no type", instead("    type: session\n", ""), `connector.yaml:2: sources[0] has no type: expected session, relay or callback`},
		{"an unknown type", instead("type: session", "type: sesion"), `connector.yaml:3: sources[0].type is "sesion": expected session, relay or callback: did you mean session?`},
		{"a callback's path twice", with("  - {name: p, type: callback, listen: '127.0.0.1:81'}\n  - {name: q, type: callback, listen: '127.0.0.1:81'}\n"), `connector.yaml:8: sources[2].path is "/pop", which source p has on 127.0.0.1:81 as well: expected a path of its own`},
		{"a relay on a session's server", with("  - {name: r, type: relay, listen: '127.0.0.1:82', address: '10.0.0.5:7628'}\n"), `connector.yaml:7: sources[1].address is "10.0.0.5:7628": expected an address of its own, as sources[0] is on this one and agents would be registered twice; allow_overlap: true permits it`},
		{"an unknown sink", with("sinks:\n  - {name: n, type: rabbitmq}\n"), `connector.yaml:8: sinks[0].type is "rabbitmq": expected nats or kafka`},
		{"a number for a type", instead("type: session", "type: 5"), `connector.yaml:3: sources[0].type is 5: expected text, in quotes: "5"`},
		{"no name", instead("- name: hq\n   ", "-"), `connector.yaml:2: sources[0].name is "": expected 1 to 64 bytes of letters, digits and marks, without spaces and slashes`},
		{"a name with a space", instead("name: hq", "name: h q"), `connector.yaml:2: sources[0].name is "h q": expected 1 to 64 bytes of letters, digits and marks, without spaces and slashes`},
		{"a sink without a name", with("sinks:\n  - {type: nats, url: nats://h}\n"), `connector.yaml:8: sinks[0].name is "": expected 1 to 64 bytes of letters, digits and marks, without spaces and slashes`},
		{"a wrong way to start", with("sinks:\n  - {name: n, type: nats, start: old, url: nats://h}\n"), `connector.yaml:8: sinks[0].start is "old": not a way to start: want new or all`},

		{"no agents", instead(`["801"]`, "[]"), `connector.yaml:5: sources[0].agents is empty: expected at least one agent, such as ["801", "810-829"], or agents_file, or http.admin with admin_token to set them by`},
		{"an agent that is no list", instead(`["801"]`, `"801"`), `connector.yaml:5: sources[0].agents is "801": expected a list of agents, such as ["801", "810-829"]`},
		{"a range backwards", instead(`["801"]`, `["801", "829-810"]`), `connector.yaml:5: sources[0].agents: entry 2: range "829-810": expected the lower number first, such as "810-829"`},
		{"an agent twice", instead(`["801"]`, "\n      - 800-805\n      - 810\n      - 801"), `connector.yaml:8: sources[0].agents: entry 3: agent 801 is in the list already, by entry 1`},
		{"an agent that is true", instead(`["801"]`, `[true]`), `connector.yaml:5: sources[0].agents: entry 1: true: expected an agent such as "801", a range such as "810-829", or {id: "901", channel: "12"}`},
		{"an agent that is null", instead(`["801"]`, `[~]`), `connector.yaml:5: sources[0].agents: entry 1: null: expected an agent such as "801", a range such as "810-829", or {id: "901", channel: "12"}`},
		{"more agents than a machine holds", instead(`["801"]`, `["1-60000"]`) + strings.NewReplacer("hq", "b", "10.0.0.5", "10.0.0.6").Replace(another(`["801"]`, `["100001-160000"]`)[len(minimal):]), `connector.yaml:10: sources[1].agents is a list of 60000 agents: expected at most 100000 in all sources`},

		{"a source's name twice", another("10.0.0.5:7628", "10.0.0.6:7628\n    server: b"), `connector.yaml:7: sources[1].name is "hq": expected a name of its own, as sources[0] has this one`},
		{"a sink's name twice", with("sinks:\n  - {name: a, type: nats, url: nats://h}\n  - {name: a, type: kafka, brokers: [h:1]}\n"), `connector.yaml:9: sinks[1].name is "a": expected a name of its own, as sinks[0] has this one`},
		{"an address twice", another("hq", "b"), `connector.yaml:9: sources[1].address is "10.0.0.5:7628": expected an address of its own, as sources[0] is on this one and agents would be registered twice; allow_overlap: true permits it`},
		{"an agent of a server in two sources", another("name: hq", "name: b\n    server: hq\n    allow_overlap: true"), `connector.yaml:12: sources[1].agents has agent 801 of server hq, as sources[0] does: expected each agent of a server in one source`},

		{"a variable that is not set", with("spool: {dir: './${NOPE}'}\n"), `connector.yaml:7: spool.dir: the variable NOPE is not set in the environment`},
		{"a variable without its end", with("spool: {dir: '${NOPE'}\n"), `connector.yaml:7: spool.dir: ${ begins a variable: expected ${NAME}, or $${ for the characters themselves`},
		{"a variable with an odd name", with("spool: {dir: '${NO-PE}'}\n"), `connector.yaml:7: spool.dir: ${ begins a variable: expected ${NAME}, or $${ for the characters themselves`},

		{"a value that is long", with("spool: {max_age: '" + strings.Repeat("号", 100) + "'}\n"), `connector.yaml:7: spool.max_age is "` + strings.Repeat("号", 26) + `"…: expected a duration with a unit, such as 5s`},
		{"a number that is long", with("spool: {max_age: " + strings.Repeat("1", 100) + "}\n"), `connector.yaml:7: spool.max_age is "` + strings.Repeat("1", 80) + `"…: expected a duration with a unit, such as 5s`},
		{"a key that is long", with(strings.Repeat("k", 100) + ": 1\n"), `connector.yaml:7: "` + strings.Repeat("k", 64) + `"… is not a known key: expected one of drain_pace, embedded, feed, http, log, replicas, shutdown_timeout, sinks, source, sources, spool, telemetry, watch`},
		{"control characters in a key and a value", with("spool: {\"a\\e[2J\\n\": 1, max_age: \"\\e\\n\\u202e\", max_bytes: \"\\x01\\n\"}\n"), `connector.yaml:7: spool.max_age is "\x1b\n\u202e": expected a duration with a unit, such as 5s` + "\n" +
			`connector.yaml:7: spool.max_bytes is "\x01\n": not a size in bytes, such as 256MiB or 4GiB` + "\n" +
			`connector.yaml:7: spool."a\x1b[2J\n" is not a known key: expected one of dir, max_age, max_bytes, min_free, sync`},

		{"more than 4 MiB", minimal + strings.Repeat("#\n", maxFile/2), `connector.yaml: larger than 4MiB: expected a configuration`},
		{"more sinks than a machine can serve", with("sinks: [" + strings.Repeat("{},", 1001) + "]\n"), `connector.yaml:7: sinks is a list of 1001: expected at most 1000 entries`},
		{"too deep", with("spool: " + strings.Repeat("[", 40) + strings.Repeat("]", 40) + "\n"), `connector.yaml:7: more than 1000000 values or 32 levels, aliases included: expected a configuration`},
		{"an alias in itself", "spool: &a [*a]\n", `connector.yaml:1: more than 1000000 values or 32 levels, aliases included: expected a configuration`},
		{"a merge of itself", "spool: &a {<<: *a}\n", `connector.yaml:1: more than 1000000 values or 32 levels, aliases included: expected a configuration`},
		{"a bomb of aliases", bomb("[%s]"), `connector.yaml:2: more than 1000000 values or 32 levels, aliases included: expected a configuration`},
		{"a bomb of merges", bomb("{<<: [%s]}"), `connector.yaml:2: more than 1000000 values or 32 levels, aliases included: expected a configuration`},
	} {
		_, err := loadText(c.text)
		if err == nil || err.Error() != c.want {
			t.Errorf("%s:\ngot  %v\nwant %s", c.name, err, c.want)
		}
		var errs Errors
		if err != nil && !errors.As(err, &errs) {
			t.Errorf("%s: the error is a %T", c.name, err)
		}
	}
}

// bomb grows ninefold with each line.
func bomb(form string) string {
	var text strings.Builder
	text.WriteString("a: &a {x: 1}\n")
	for c := 'b'; c <= 'z'; c++ {
		fmt.Fprintf(&text, "%c: &%c %s\n", c, c, fmt.Sprintf(form, strings.Repeat(fmt.Sprintf("*%c,", c-1), 9)))
	}
	return text.String()
}

func TestAnOverlapThatIsDeclaredIsAllowed(t *testing.T) {
	second := strings.NewReplacer("name: hq", "name: b\n    allow_overlap: true", `"801"`, `"802"`)
	mustLoad(t, minimal+second.Replace(strings.TrimPrefix(minimal, "sources:\n")))
}

func TestAnAddressIsTheSameHoweverItIsWritten(t *testing.T) {
	for _, pair := range [][2]string{
		{"10.0.0.5:7628", "10.0.0.5:07628"}, {"LQ.example:7628", "lq.example.:7628"}, {"10.0.0.5:7628", "[::ffff:10.0.0.5]:7628"}, {"[::1]:7628", "[0:0::1]:7628"},
	} {
		second := strings.NewReplacer("name: hq", "name: b", "10.0.0.5:7628", "'"+pair[1]+"'")
		text := instead("10.0.0.5:7628", "'"+pair[0]+"'") + second.Replace(strings.TrimPrefix(minimal, "sources:\n"))
		if _, err := loadText(text); err == nil || !strings.Contains(err.Error(), "allow_overlap") {
			t.Errorf("%s and %s: %v", pair[0], pair[1], err)
		}
	}
}

func TestAMistakeOfTheFileIsNotHiddenByAVariable(t *testing.T) {
	_, err := loadText(with("spool: 5\n"), "CONNECTOR_SPOOL__SYNC=always")
	if want := "connector.yaml:7: spool is 5: expected keys and values"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAMergeKeyBringsWhatIsNotGiven(t *testing.T) {
	c := mustLoad(t, `sources:
  - &hq
    name: hq
    type: session
    address: 10.0.0.5:7628
    agents: ["801"]
    registration: 'op={{.Agent}};'
    dial_rate: 7
  - <<: *hq
    name: b
    address: 10.0.0.6:7628
sinks: &none []
`)
	first, second := c.Sources[0], c.Sources[1]
	if first.Name != "hq" || second.Name != "b" || !strings.Contains(c.String(), "dial_rate: 7") || strings.Contains(c.String(), "dial_rate: 50") {
		t.Errorf("got\n%v", c)
	}
	_, err := loadText(`sources:
  - &hq
    name: hq
    type: session
    address: 10.0.0.5:7628
    agents: ["801"]
    registration: 'op={{.Agent}};'
    dial_rate: x
  - {<<: [*hq], name: b, address: 'b:1'}
`)
	want := `connector.yaml:8: sources[0].dial_rate is "x": expected a whole number
connector.yaml:8: sources[1].dial_rate is "x": expected a whole number`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestASecretsFileIsReadAndItsMistakesNameKeyAndPath(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good, empty, large := write("good", "hunter2 \r\n"), write("empty", "\n"), write("large", strings.Repeat("x", 70<<10))
	c := mustLoad(t, with("embedded: {user: u, password_file: '"+good+"'}\n"))
	if got := c.Embedded.Password.Reveal(); got != "hunter2 " {
		t.Errorf("password is %q", got)
	}
	c = mustLoad(t, minimal, "CONNECTOR_EMBEDDED__USER=u", "CONNECTOR_EMBEDDED__PASSWORD_FILE="+good)
	if got := c.Embedded.Password.Reveal(); got != "hunter2 " {
		t.Errorf("password is %q", got)
	}
	missing := filepath.Join(dir, "missing")
	for _, test := range []struct{ more, want string }{
		{"embedded: {user: u, password_file: '" + missing + "'}\n", `connector.yaml:7: embedded.password_file is "` + missing + `": open ` + missing + `: no such file or directory`},
		{"embedded: {user: u, password_file: '" + empty + "'}\n", `connector.yaml:7: embedded.password_file is "` + empty + `": read ` + empty + `: the file is empty`},
		{"embedded: {user: u, password_file: '" + large + "'}\n", `connector.yaml:7: embedded.password_file is "` + large + `": read ` + large + `: more than 65536 bytes, too long for a secret`},
		{"embedded: {user: u, password: x, password_file: '" + good + "'}\n", `connector.yaml:7: embedded.password_file is set beside password: expected one of the two`},
		{"embedded: {user: u, password_file: 5}\n", `connector.yaml:7: embedded.password_file is 5: expected text, in quotes: "5"`},
		// The sink reads this one itself, at each connection; the start is refused all the same.
		{"sinks:\n  - {name: n, type: nats, url: 'nats://h', user: u, password_file: '" + missing + "'}\n", `connector.yaml:8: sinks[0].password_file is "` + missing + `": open ` + missing + `: no such file or directory`},
	} {
		if _, err := loadText(with(test.more)); err == nil || err.Error() != test.want {
			t.Errorf("got  %v\nwant %s", err, test.want)
		}
	}
}
