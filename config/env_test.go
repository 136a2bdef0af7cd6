package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/sink/kafkasink"
	"github.com/callpop/connector/source"
)

func TestAnUnknownVariableIsAMistakeThatDoesNotShowItsValue(t *testing.T) {
	const aKey = "expected the name of a key, such as CONNECTOR_SPOOL__SYNC"
	const inFile = " are set in the file, where ${NAME} takes a value from the environment"
	for name, want := range map[string]string{
		"CONNECTOR_SPOOL_SYNC":            "did you mean CONNECTOR_SPOOL__SYNC?",
		"CONNECTOR_SPOOL__SNYC":           "did you mean CONNECTOR_SPOOL__SYNC?",
		"CONNECTOR_Spool__Sync":           "did you mean CONNECTOR_SPOOL__SYNC?",
		"CONNECTOR_SPOOL__SYNC__X":        "did you mean CONNECTOR_SPOOL__SYNC?",
		"CONNECTOR_SHUTDOWNTIMEOUT":       "did you mean CONNECTOR_SHUTDOWN_TIMEOUT?",
		"CONNECTOR_NATS_PASSWORD":         aKey,
		"CONNECTOR_SPOOL":                 aKey,
		"CONNECTOR_":                      aKey,
		"CONNECTOR_SOURCES__0__ADDRESS":   "sources" + inFile,
		"CONNECTOR_SINKS":                 "sinks" + inFile,
		"CONNECTOR_SINKS__EVENTS__TOKEN":  "sinks" + inFile,
		"CONNECTOR_SERVICE_HOST":          aKey, // not an address
		"CONNECTOR_PORT":                  aKey, // not a URL
		"CONNECTOR_PORT_8080_TCP":         aKey,
		"CONNECTOR_PORT_8080_TCP_PORT":    aKey,
		"CONNECTOR_SPOOL__SERVICE_HOST":   aKey,
		"CONNECTOR_HEALTH_SERVICE_PORT_X": aKey,
	} {
		_, err := loadText(minimal, name+"=hunter2")
		if want := name + ": not a known setting: " + want; err == nil || err.Error() != want {
			t.Errorf("got  %v\nwant %s", err, want)
		}
	}
}

func TestLinksThatKubernetesMakesAreNoMistakes(t *testing.T) {
	mustLoad(t, minimal,
		"CONNECTOR_SERVICE_HOST=10.96.0.10", "CONNECTOR_SERVICE_PORT=8080", "CONNECTOR_SERVICE_PORT_HEALTH=8080",
		"CONNECTOR_PORT=tcp://10.96.0.10:8080", "CONNECTOR_PORT_8080_TCP=tcp://10.96.0.10:8080",
		"CONNECTOR_PORT_8080_TCP_PROTO=tcp", "CONNECTOR_PORT_8080_TCP_PORT=8080", "CONNECTOR_PORT_8080_TCP_ADDR=10.96.0.10",
		"CONNECTOR_HEALTH_SERVICE_HOST=fd00::1", "CONNECTOR_HEALTH_SERVICE_PORT=8080",
		"CONNECTOR_HEALTH_PORT=tcp://[fd00::1]:8080", "CONNECTOR_HEALTH_PORT_53_UDP=udp://10.96.0.10:53",
		"CONNECTOR_HEALTH_PORT_53_UDP_PROTO=udp",
	)
}

func TestAPodSaysByAVariableWhichReplicaItIs(t *testing.T) {
	c := mustLoad(t, with("replicas: {count: 3}\n"), "CONNECTOR_REPLICAS__INDEX=2")
	if got, want := c.Replicas, (source.Replicas{Count: 3, Index: 2, GainDelay: 30 * time.Second}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	_, err := loadText(minimal, "CONNECTOR_REPLICAS__INDEX=callpop-2")
	if want := "CONNECTOR_REPLICAS__INDEX"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAVariableThatTheFileNamesIsNoSetting(t *testing.T) {
	c := mustLoad(t, with("spool: {dir: '${CONNECTOR_DATA}'}\n"), "CONNECTOR_DATA=/data")
	if c.Spool.Dir != "/data" {
		t.Errorf("spool.dir is %q", c.Spool.Dir)
	}
}

func TestVariablesExpandInTextAlone(t *testing.T) {
	environ := []string{
		"DIR=/data", "EVIL=x\n  sync: always # ${DIR} $${DIR} {}", "SYNC=1s", "RATE=7", "LEVEL=debug", "NUMBERS=true",
		"AGENT=0815", "SIZE=2GiB", "BROKERS=a:1,b:2", "KEY=spool", "EMPTY=", "TIMEOUT=3s",
	}
	text := func(dir string) string {
		return instead(`["801"]`, `["${AGENT}", "801"]`) + "    dial_rate: ${RATE}\n    area_code: \"025\"\n" +
			"log: {level: \"${LEVEL}\", numbers: \"${NUMBERS}\"}\n" +
			"shutdown_timeout: ${TIMEOUT} # ${NOT_SET} is not looked at\n" +
			"spool:\n  sync: ${SYNC}\n  max_bytes: ${SIZE}\n  dir: " + dir + "\n"
	}
	for _, c := range []struct{ dir, want string }{
		{"${DIR}", "/data"}, {"'${DIR}/${DIR}'", "/data//data"}, {"a${EMPTY}b", "ab"},
		{"$${DIR}", "${DIR}"}, {"$$${DIR}", "$${DIR}"}, {"a$${DIR}${DIR}", "a${DIR}/data"},
		{"$DIR", "$DIR"}, {"a$", "a$"}, {"$$", "$$"}, {"'{{.Agent}}$'", "{{.Agent}}$"},
		{"${EVIL}", environ[1][len("EVIL="):]}, {"\"${EVIL}\"", environ[1][len("EVIL="):]},
		{"|\n    ${DIR}\n    b", "/data\nb\n"},
	} {
		got := mustLoad(t, text(c.dir), environ...)
		if got.Spool.Dir != c.want {
			t.Errorf("%s: got %q, want %q", c.dir, got.Spool.Dir, c.want)
		}
		s := onlySource(t, got)
		if got.Spool.Sync == spool.SyncAlways || s.DialRate != 7 || s.Agents[0].ID != "0815" || got.Log.Level != "debug" || !got.Log.Numbers || got.ShutdownTimeout.String() != "3s" || got.Spool.MaxBytes.String() != "2GiB" {
			t.Errorf("%s: got\n%v", c.dir, got)
		}
	}
	// A key is not expanded.
	if _, err := loadText(with("${KEY}: {sync: 1s}\n"), environ...); err == nil || !strings.Contains(err.Error(), `"${KEY}" is not a known key`) {
		t.Errorf("a key: %v", err)
	}
}

func TestWhatVariablesBringIsBounded(t *testing.T) {
	text := with("spool: {dir: '" + strings.Repeat("${A}", 100) + "'}\n")
	_, err := loadText(text, "A="+strings.Repeat("x", 100<<10))
	if want := "connector.yaml:7: more than 4MiB of variables: expected a configuration"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAVariableMayBringAWholeList(t *testing.T) {
	c := mustLoad(t, with("sinks:\n  - {name: lake, type: kafka, brokers: '${BROKERS}'}\n"), "BROKERS=a:1, b:2,")
	if kafka, ok := c.Sinks[0].Config.(*kafkasink.Config); !ok || !slices.Equal(kafka.Brokers, []string{"a:1", "b:2"}) {
		t.Errorf("got\n%v", c)
	}
	// One that is part of an entry brings one entry.
	c = mustLoad(t, with("sinks:\n  - {name: lake, type: kafka, brokers: ['${HOST}:1']}\n"), "HOST=a")
	if kafka, ok := c.Sinks[0].Config.(*kafkasink.Config); !ok || !slices.Equal(kafka.Brokers, []string{"a:1"}) {
		t.Errorf("got\n%v", c)
	}
}
