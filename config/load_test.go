package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/sink"
	"github.com/callpop/connector/sink/kafkasink"
	"github.com/callpop/connector/sink/natssink"
	"github.com/callpop/connector/source/session"
)

// minimal is the least that is a configuration, on lines 1 to 6.
const minimal = `sources:
  - name: hq
    type: session
    address: 10.0.0.5:7628
    agents: ["801"]
    registration: 'op={{.Agent}};'
`

func loadText(text string, environ ...string) (*Config, error) {
	return load(Input{File: "connector.yaml", Environ: environ}, []byte(text))
}

func mustLoad(t *testing.T, text string, environ ...string) *Config {
	t.Helper()
	c, err := loadText(text, environ...)
	if err != nil {
		t.Fatalf("%v\nin\n%s", err, text)
	}
	return c
}

// onlySource is the first source.
func onlySource(t *testing.T, c *Config) *session.Config {
	t.Helper()
	s, ok := c.Sources[0].Config.(*session.Config)
	if !ok {
		t.Fatalf("sources[0] is a %T", c.Sources[0].Config)
	}
	return s
}

func TestWhatIsNotGivenHasItsDefault(t *testing.T) {
	c := mustLoad(t, minimal)
	want := Default()
	source := session.DefaultConfig()
	source.Name, source.Server, source.Address = "hq", "hq", "10.0.0.5:7628"
	source.Agents = onlySource(t, c).Agents
	source.Registration = "op={{.Agent}};"
	want.Sources = []Source{{Name: "hq", Type: "session", Config: &source}}
	want.File, want.Digest = "connector.yaml", c.Digest
	if !reflect.DeepEqual(*c, want) {
		t.Errorf("got\n%v\nwant\n%v", c, &want)
	}
	if len(source.Agents) != 1 || source.Agents[0].ID != "801" || source.Agents[0].Channel != "-1" {
		t.Errorf("agents are %v", source.Agents)
	}
}

// designed is a configuration with everything that people usually set.
const designed = `
sources:
  - name: hq
    type: session
    server: head-office
    address: 10.0.0.5:7628
    agents: ["801", "810-829", {id: "901", channel: "12"}, 0902]
    registration: 'op={{.Agent}},ch={{.Channel}};'
    charset: auto
    timezone: Asia/Shanghai
    area_code: "025"
    expire_after: 30s
    reconnect_interval: 20s
    dial_rate: 50
sinks:
  - {name: events, type: nats,  url: nats://nats:4222, stream: CALLPOP}
  - {name: lake,   type: kafka, brokers: [kafka:9092], topic: callpop.v1, start: all}
spool:    {dir: ./data, sync: 100ms, max_age: 72h, max_bytes: 4GiB, min_free: 256MiB}
embedded: {listen: ""}
http:
  health: 127.0.0.1:8080
  public: ""
  admin: ""
shutdown_timeout: 30s
`

func TestAWholeConfigurationLoads(t *testing.T) {
	c := mustLoad(t, designed)
	s := onlySource(t, c)
	if got := len(s.Agents); got != 23 {
		t.Errorf("%d agents, want 23", got)
	}
	if a := s.Agents[21]; a.ID != "901" || a.Channel != "12" {
		t.Errorf("the agent with a channel is %v", a)
	}
	if a := s.Agents[22]; a.ID != "0902" {
		t.Errorf("an agent with a leading zero became %v", a)
	}
	if s.Server != "head-office" || s.AreaCode != "025" || s.DialRate != 50 || s.ExpireAfter != 30*time.Second {
		t.Errorf("the source is %+v", s)
	}
	if nats, ok := c.Sinks[0].Config.(*natssink.Config); !ok || nats.URL != "nats://nats:4222" || c.Sinks[0].Start != sink.StartNew {
		t.Errorf("sinks[0] is %+v", c.Sinks[0])
	}
	if kafka, ok := c.Sinks[1].Config.(*kafkasink.Config); !ok || len(kafka.Brokers) != 1 || c.Sinks[1].Start != sink.StartAll || c.Sinks[1].Name != "lake" {
		t.Errorf("sinks[1] is %+v", c.Sinks[1])
	}
	if c.Spool != spool.DefaultConfig() || c.ShutdownTimeout != 30*time.Second {
		t.Errorf("spool is %+v, shutdown_timeout %v", c.Spool, c.ShutdownTimeout)
	}
}

func TestAnEmptySinksListIsAllowed(t *testing.T) {
	if c := mustLoad(t, minimal+"sinks: []\n"); len(c.Sinks) != 0 {
		t.Errorf("sinks are %v", c.Sinks)
	}
}

func TestTheFileIsReadFromDisk(t *testing.T) {
	file := filepath.Join(t.TempDir(), "connector.yaml")
	if err := os.WriteFile(file, []byte(minimal+"spool: {sync: always}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Load(Input{File: file})
	if err != nil || c.Spool.Sync != spool.SyncAlways {
		t.Errorf("got %v, %v", c, err)
	}
	missing := filepath.Join(t.TempDir(), "none.yaml")
	if _, err := Load(Input{File: missing}); !errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Load(Input{File: t.TempDir()}); err == nil || strings.Contains(err.Error(), "\n") {
		t.Errorf("a directory: %v", err)
	}
}

func TestVariablesOverrideTheFileAndFlagsOverrideBoth(t *testing.T) {
	const file = minimal + "spool: {sync: 50ms, max_bytes: 1GiB, dir: ./kept}\nlog: {level: warn}\n"
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	flags.String("log-level", "error", "")
	flags.String("log-format", "text", "")
	flags.Bool("numbers", false, "")
	flags.String("config", "x.yaml", "")
	if err := flags.Parse([]string{"--log-level=debug", "--numbers", "--config=y.yaml"}); err != nil {
		t.Fatal(err)
	}
	c, err := load(Input{
		File: "connector.yaml", Flags: flags,
		FlagKeys: map[string]string{"log-level": "log.level", "log-format": "log.format", "numbers": "log.numbers"},
		Environ: []string{
			"CONNECTOR_SPOOL__SYNC=always", "CONNECTOR_SPOOL__MAX_BYTES=1", "CONNECTOR_SPOOL__MAX_BYTES=2GiB",
			"CONNECTOR_LOG__LEVEL=info", "CONNECTOR_SHUTDOWN_TIMEOUT=5s", "CONNECTOR_SOURCE__BUFFER_BYTES=32MiB",
			"CONNECTOR_LOG__NUMBERS=false", "PATH=/bin", "spool__sync=1s",
		},
	}, []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	if c.Spool.Sync != spool.SyncAlways || c.Spool.MaxBytes != 2*bytesize.GiB || c.Spool.Dir != "./kept" {
		t.Errorf("spool is %+v", c.Spool)
	}
	if c.Log.Level != "debug" || !c.Log.Numbers {
		t.Errorf("log is %+v: the flags that were given must win", c.Log)
	}
	if c.Log.Format != "auto" {
		t.Errorf("log.format is %s: a flag's default must not count", c.Log.Format)
	}
	if c.ShutdownTimeout != 5*time.Second || c.Intake.BufferBytes != 32*bytesize.MiB {
		t.Errorf("shutdown_timeout is %v, source.buffer_bytes %v", c.ShutdownTimeout, c.Intake.BufferBytes)
	}
}

func TestEverySettingHasAVariable(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := mustLoad(t, minimal).String()
	keys := settings()
	for _, key := range []string{"spool.sync", "embedded.tls.cert_file", "embedded.password_file", "shutdown_timeout"} {
		if !keys[key] {
			t.Errorf("%s has no variable", key)
		}
	}
	for key := range keys {
		// A value of the right type, or else a mistake in its section, says that the
		// value arrived.
		arrived := false
		for _, value := range []string{"7s", "7GiB", "true", "127.0.0.1:7", "text", file} {
			c, err := loadText(minimal, variable(key)+"="+value)
			var errs Errors
			if errors.As(err, &errs) && under(key, strings.Split(errs[0].Key, ".")[0]) || err == nil && c.String() != before {
				arrived = true
			}
		}
		if !arrived {
			t.Errorf("%s changes nothing", variable(key))
		}
	}
}

func TestAllMistakesAreReportedInTheOrderOfTheFile(t *testing.T) {
	_, err := loadText(`sources:
  - name: hq
    type: session
    addrss: 10.0.0.5:7628
    expire_after: 5
spool:
  sync: never
  dirr: x
log: {level: loud}
`, "CONNECTOR_SPOOL__MAX_AGE=3")
	const want = `connector.yaml:4: sources[0].addrss is not a known key: did you mean address?
connector.yaml:5: sources[0].expire_after is 5: expected a duration with a unit, such as 5s
connector.yaml:7: spool.sync is "never": expected "always" or a duration with a unit, such as 100ms
connector.yaml:8: spool.dirr is not a known key: did you mean dir?
connector.yaml:9: log.level is "loud": expected debug, info, warn or error
CONNECTOR_SPOOL__MAX_AGE: spool.max_age is "3": expected a duration with a unit, such as 5s`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
	var errs Errors
	if !errors.As(err, &errs) || len(errs) != 6 {
		t.Fatalf("the error is a %T", err)
	}
	if e := errs[1]; e.File != "connector.yaml" || e.Line != 5 || e.Key != "sources[0].expire_after" || e.Value != "5" || e.Expected == "" {
		t.Errorf("the second mistake is %+v", e)
	}
}

func TestTheListOfMistakesIsBounded(t *testing.T) {
	var text strings.Builder
	text.WriteString(minimal)
	for i := range 5000 {
		fmt.Fprintf(&text, "key%d: 1\n", i)
	}
	_, err := loadText(text.String())
	if err == nil {
		t.Fatal("loaded")
	}
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != maxErrors+1 || lines[maxErrors] != "and at least 480 more" {
		t.Errorf("%d lines, the last is %q", len(lines), lines[len(lines)-1])
	}
}

func TestAMissingRegistrationSaysHowToGetIt(t *testing.T) {
	_, err := loadText(strings.Replace(minimal, "    registration: 'op={{.Agent}};'\n", "", 1))
	if !errors.Is(err, session.ErrNoRegistration) {
		t.Fatalf("got %v", err)
	}
	if want := "connector.yaml:2: sources[0]." + session.ErrNoRegistration.Error(); err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestAMistakeInAFlagNamesTheFlag(t *testing.T) {
	flags := pflag.NewFlagSet("run", pflag.ContinueOnError)
	flags.String("log-level", "info", "")
	flags.String("stop-within", "20s", "")
	if err := flags.Parse([]string{"--log-level=loud", "--stop-within=5"}); err != nil {
		t.Fatal(err)
	}
	_, err := load(Input{
		File: "connector.yaml", Flags: flags,
		FlagKeys: map[string]string{"log-level": "log.level", "stop-within": "shutdown_timeout"},
	}, []byte(minimal))
	const want = `--stop-within: shutdown_timeout is "5": expected a duration with a unit, such as 5s
--log-level: log.level is "loud": expected debug, info, warn or error`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestAConfigurationMadeByHandIsCheckedToo(t *testing.T) {
	c := Default()
	if err := c.Validate(); err == nil || err.Error() != "sources is empty: expected at least one source" {
		t.Errorf("without a source: %v", err)
	}
	s := session.DefaultConfig()
	s.Name, s.Server, s.Address, s.Registration = "hq", "hq", "h:1", "{{.Agent}}"
	c.Sources = []Source{{Name: s.Name, Type: s.Type, Config: &s}, {Name: "empty"}}
	c.Spool.Dir = ""
	const want = `sources[0].agents is empty: expected at least one agent, such as ["801", "810-829"], or agents_file, or http.admin with admin_token to set them by
sources[1].type is missing: expected a source
spool.dir is "": expected a directory`
	if err := c.Validate(); err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

func TestLoadsDoNotShareAnything(t *testing.T) {
	var loads sync.WaitGroup
	for i := range 8 {
		loads.Go(func() {
			want := time.Duration(i+1) * time.Second
			c, err := loadText(designed, "CONNECTOR_SHUTDOWN_TIMEOUT="+want.String())
			if err != nil || c.ShutdownTimeout != want {
				t.Errorf("got %v, %v, want %v", c, err, want)
			}
		})
	}
	loads.Wait()
}
