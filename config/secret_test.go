package config

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sentinel stands for a secret: it may show up nowhere.
const sentinel = "hunter2"

func TestASecretIsInNoError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(sentinel), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		// The wrong type, or another value than was meant.
		with("embedded: {password: {hunter2: hunter2}}\n"),
		with("embedded: {password: [hunter2]}\n"),
		with("embedded: {password: !hunter2 x}\n"),
		with("embedded: {password: !hunter2}\n"),
		with("embedded: {password: *hunter2}\n"),
		with("embedded: {password: &hunter2 }\n"),
		with("embedded: {password: hunter2: x}\n"),
		with("embedded: {password: 'hunter2\n"),
		with("embedded: {password: \"hunter2\\q\"}\n"),
		with("embedded: {password: @hunter2}\n"),
		with("embedded: {password: %hunter2}\n"),
		with("embedded: {password: '${hunter2'}\n"),
		// The right type, and something else is wrong.
		with("embedded: {password: hunter2}\n"),
		with("embedded: {user: u, password: hunter2, listen: x}\n"),
		with("embedded: {user: u, password: hunter2, password_file: x}\n"),
		with("embedded: {user: u, password_file: '" + file + "', listen: x}\n"),
		// The wrong key.
		with("embedded: {pasword: hunter2}\n"),
		with("embedded: {zzz: hunter2}\n"),
		with("password: hunter2\n"),
		with("embedded: {password: hunter2, password: hunter2}\n"),
		// In a URL.
		with("sinks:\n  - {name: n, type: nats, url: 'nats://user:hunter2@h:1'}\n"),
		with("sinks:\n  - {name: n, type: nats, url: 'nats://user:hun%hunter2@h:1'}\n"),
		with("sinks:\n  - {name: n, type: nats, url: ['nats://user:hunter2@h:1']}\n"),
		with("sinks:\n  - {name: n, type: nats, max_in_flight: 'nats://user:hunter2@h:1', url: x}\n"),
		with("sinks:\n  - {name: n, type: kafka, brokers: ['user:hunter2@h:1']}\n"),
		with("sinks:\n  - {name: n, type: kafka, brokers: ['http://user:hunter2@h:1']}\n"),
		instead("10.0.0.5:7628", "'http://user:hunter2@h'"),
		with("sinks:\n  - {name: n, type: kafka, brokers: [h:1], sasl: {password: hunter2}}\n"),
		with("sinks:\n  - {name: n, type: kafka, brokers: [h:1], sasl: {mechanism: oauthbearer, oauth: {client_secret: hunter2}}}\n"),
		// From the environment, where something else was expected.
		with("spool: {max_age: '${SECRET}'}\n"),
		with("spool: {sync: '${SECRET}'}\n"),
		with("spool: {max_bytes: 'x${SECRET}'}\n"),
		with("    dial_rate: ${SECRET}\n"),
		with("log: {numbers: '${SECRET}'}\n"),
		with("zzz: '${SECRET}'\n"),
		with("spool: {dir: '${SECRET}${MISSING}'}\n"),
		with("sinks:\n  - {name: n, type: kafka, start: '${SECRET}', brokers: [h:1]}\n"),
	} {
		c, err := loadText(text, "SECRET="+sentinel)
		if err == nil {
			t.Errorf("loaded\n%v\nof\n%s", c, text)
			continue
		}
		// What was typed as the name of a key or of a variable is not a value.
		shown := err.Error()
		if strings.Contains(text, "'${hunter2'") || strings.Contains(text, "{hunter2:") {
			shown = strings.ReplaceAll(shown, "${hunter2", "")
		}
		if strings.Contains(shown, sentinel) || strings.Contains(fmt.Sprintf("%+v", err), sentinel) {
			t.Errorf("shown in\n%v\nof\n%s", err, text)
		}
		if strings.Count(err.Error(), "\n") > 2 {
			t.Errorf("not a line for each mistake:\n%v", err)
		}
	}
	for _, variable := range []string{"CONNECTOR_EMBEDDED__PASSWORD=hunter2", "CONNECTOR_EMBEDDED__PASSWRD=hunter2", "CONNECTOR_PASSWORD=hunter2"} {
		if _, err := loadText(minimal, variable); err == nil || strings.Contains(err.Error(), sentinel) {
			t.Errorf("%s: %v", variable, err)
		}
	}
}

func TestASecretIsInNoOutput(t *testing.T) {
	c := mustLoad(t, with(`sinks:
  - {name: a, type: nats, url: 'nats://h', user: u, password: hunter2}
  - {name: b, type: nats, url: 'nats://h', token: '${SECRET}'}
  - {name: c, type: kafka, brokers: [h:1], sasl: {mechanism: plain, user: u, password: hunter2}}
spool: {dir: 'http://user:hunter2@h/x'}
embedded: {user: u, password: hunter2}
`), "SECRET="+sentinel)
	text, err := c.YAML()
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "config", c)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "config", c)
	for _, shown := range []string{string(text), log.String(), fmt.Sprintf("%v %+v %s", c, c, c), c.String()} {
		if strings.Contains(shown, sentinel) {
			t.Errorf("shown in\n%s", shown)
		}
	}
	if got := strings.Count(string(text), `password: '[redacted]'`); got != 3 {
		t.Errorf("%d passwords redacted, want 3, in\n%s", got, text)
	}
	if c.Embedded.Password.Reveal() != sentinel {
		t.Error("printing changed the secret")
	}
}
