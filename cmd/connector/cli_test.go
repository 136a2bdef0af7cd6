package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/lqsim"
)

func TestTheDemoShowsSoManyPopsAndEnds(t *testing.T) {
	t.Run("json is one event a line and nothing else", func(t *testing.T) {
		r := connector(t, "", "demo", "--count", "7", "--rate", "200", "--agents", "3", "-o", "json")
		if r.code != exitGood {
			t.Fatalf("code %d: %s", r.code, r.stderr)
		}
		lines := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
		if len(lines) != 7 {
			t.Fatalf("%d lines: %s", len(lines), r.stdout)
		}
		for _, line := range lines {
			var p schema.CallPop
			if err := json.Unmarshal([]byte(line), &p); err != nil || p.ID == "" || p.Server != "demo" {
				t.Errorf("%s: %v", line, err)
			}
		}
	})
	t.Run("its broker is where NATS clients look, or on a free port, or where it is told", func(t *testing.T) {
		// Whoever has the port: this test, or another program.
		if taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", natsAddress); err == nil {
			defer func() { _ = taken.Close() }()
		}
		r := connector(t, "", "demo", "--count", "1", "--rate", "200", "--agents", "1")
		if r.code != exitGood || !strings.Contains(r.stderr, "nats://127.0.0.1:") || strings.Contains(r.stderr, natsAddress+"\n") {
			t.Errorf("with %s taken: code %d: %s", natsAddress, r.code, r.stderr)
		}
		address := freeAddress(t)
		r = connector(t, "", "demo", "--count", "1", "--rate", "200", "--agents", "1", "--listen", address)
		if r.code != exitGood || !strings.Contains(r.stderr, "nats://"+address) {
			t.Errorf("with --listen %s: code %d: %s", address, r.code, r.stderr)
		}
		if r = connector(t, "", "demo", "--listen", "4222"); r.code != exitUsage || !strings.Contains(r.stderr, `"4222": expected host:port`) {
			t.Errorf("with a wrong address: code %d: %s", r.code, r.stderr)
		}
	})
	t.Run("text is for people", func(t *testing.T) {
		r := connector(t, "", "demo", "--count", "3", "--rate", "200")
		if r.code != exitGood || len(strings.Split(strings.TrimSpace(r.stdout), "\n")) != 4 || !strings.HasPrefix(r.stdout, "TIME ") {
			t.Errorf("code %d: %s", r.code, r.stdout)
		}
		if !strings.Contains(r.stderr, "connector tail --nats nats://127.0.0.1:") {
			t.Errorf("stderr %s", r.stderr)
		}
	})
}

func TestDecodeGivesEventsAndPlacesMistakes(t *testing.T) {
	in := strings.Join([]string{
		"\xEF\xBB\xBFH=t1v2,ch=2,ph=86307627,id=12157703713752,tm=080711175931,dm=0;\r",
		"nonsense",
		"",
		"2,02586307627,1000,1208674344953,NA",
		"H=t1v2,ch=2,zz=1;",
		"https://crm.example/pop?phone=02586307627&oper=801&ch=8&startTime=564646465266&id=5646464652668&dtmf=1;2;#top",
		strings.Repeat("x", maxDecodeLine+10),
		"H=t1v5,ph=10086,sn=5,da=\xd0\xd5\xc3\xfb:\xd5\xc5\xc8\xfd;",
	}, "\n")
	r := connector(t, in, "decode", "-o", "json", "--server", "hq", "--area-code", "025")
	if r.code != exitFailed {
		t.Errorf("code %d", r.code)
	}
	var got []string
	for line := range strings.Lines(r.stdout) {
		var p schema.CallPop
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(p.Format, " ", p.Key, " ", p.Customer.E164, " ", p.IVR.Fields["姓名"]))
	}
	want := []string{
		"t1v2 hq/12157703713752 +862586307627 ",
		"t1v1 hq/12086743449532 +862586307627 ",
		"callback hq/5646464652668 +862586307627 ",
		"t1v5 hq/5  张三",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, line := range []string{"standard input:2:1: ", "standard input:5:", "standard input:7:65536: the line is longer"} {
		if !strings.Contains(r.stderr, line) {
			t.Errorf("no %q in %s", line, r.stderr)
		}
	}
	file := filepath.Join(t.TempDir(), "pops.txt")
	if err := os.WriteFile(file, []byte("2,02586307627,1000,1208674344953,NA\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := connector(t, "", "decode", file); r.code != exitGood || !strings.Contains(r.stdout, "hq/12086743449532") {
		t.Errorf("code %d: %s%s", r.code, r.stdout, r.stderr)
	}
}

func TestTailShowsWhatTheBrokerDelivers(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, embeddedConfig, lq))
	if err := lq.WaitSessions(patient(t), 20); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	var stdout, stderr outputtest.Output
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, world{
			args: []string{"tail", "--nats", "nats://" + d.spool.Addr().String(), "--agent", "805", "--count", "3", "-o", "json"},
			stop: make(chan struct{}), stdout: &stdout, stderr: &stderr,
		})
	}()
	for !strings.Contains(stderr.String(), "waiting for events") {
		if ctx.Err() != nil {
			t.Fatal(stderr.String())
		}
		time.Sleep(time.Millisecond) // polls what another goroutine writes
	}
	for i := range 10 {
		for _, agent := range []string{"804", "805"} {
			if err := lq.Send(agent, fmt.Appendf(nil, "H=t1v3,ph=10086,op=%s,sn=%d;", agent, i+1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := <-code; got != exitGood {
		t.Fatalf("code %d: %s", got, stderr.String())
	}
	if got := strings.Count(stdout.String(), `"agent":{"id":"805"}`); got != 3 {
		t.Errorf("%d of 3 events of 805: %s", got, stdout.String())
	}
}

func TestSimulateTakesSessionsAndPlaysScenarios(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	r := connector(t, "", "simulate", "--listen", address, "--agents", "801-803", "--count", "5", "--rate", "100")
	if r.code != exitGood || !strings.Contains(r.stderr, "missed") {
		t.Errorf("code %d: %s", r.code, r.stderr)
	}
	for _, c := range []struct {
		args []string
		want string
		code int
	}{
		{[]string{"--scenario", "no-such"}, `scenario "no-such": no such file, and no built-in scenario`, exitFailed},
		{[]string{"--format", "t1v9"}, "t1v9", exitUsage},
		{[]string{"--agents", "820-801"}, `--agents is "820-801"`, exitUsage},
		{[]string{"--rate", "-1"}, "rate -1", exitUsage},
	} {
		r := connector(t, "", append([]string{"simulate", "--listen", "127.0.0.1:0"}, c.args...)...)
		if r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%v: code %d, %s", c.args, r.code, r.stderr)
		}
	}
	bad := filepath.Join(t.TempDir(), "bad.yaml")
	if err := os.WriteFile(bad, []byte("steps:\n  - kind: explode\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := connector(t, "", "simulate", "--listen", "127.0.0.1:0", "--scenario", bad); r.code != exitFailed ||
		!strings.Contains(r.stderr, "bad.yaml:2") || !strings.Contains(r.stderr, "explode") {
		t.Errorf("code %d: %s", r.code, r.stderr)
	}
}

func TestCheckLooksWithoutTouching(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{})
	broker := startNATS(t)
	good := writeConfig(t, externalConfig(broker.url()), lq)
	r := connector(t, "", "check", "--config", good)
	if r.code != exitGood || !strings.Contains(r.stdout, "source hq") || !strings.Contains(r.stdout, "sink events") {
		t.Errorf("code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	if lq.Totals().Accepted != 0 {
		t.Error("check connected to the LQ server")
	}
	broker.stop()
	r = connector(t, "", "check", "--config", good, "-o", "json")
	var findings []finding
	if err := json.Unmarshal([]byte(r.stdout), &findings); err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for _, f := range findings {
		if !f.OK && f.Part == "sink events" && f.Detail != "" {
			wrong++
		}
	}
	if r.code != exitFailed || wrong == 0 {
		t.Errorf("code %d: %s", r.code, r.stdout)
	}
	broker.start()
}

func TestCheckNamesBadCredentialsAndShowsNone(t *testing.T) {
	broker, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, Username: "connector", Password: "right", NoSigs: true, NoLog: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	broker.Start()
	defer broker.WaitForShutdown()
	defer broker.Shutdown()
	if !broker.ReadyForConnections(patience) {
		t.Fatal("the NATS server does not start")
	}
	text := embeddedConfig + fmt.Sprintf("sinks: [{name: events, type: nats, url: %q, user: connector, password: \"${PASSWORD}\"}]\n", broker.ClientURL())
	r := connectorIn(t, []string{"PASSWORD=wrong-and-secret"}, "", "check", "--config", writeConfig(t, text, nil))
	if r.code != exitFailed || !strings.Contains(strings.ToLower(r.stdout), "authorization") {
		t.Errorf("code %d: %s%s", r.code, r.stdout, r.stderr)
	}
	if strings.Contains(r.stdout+r.stderr, "wrong-and-secret") {
		t.Errorf("the password is shown: %s%s", r.stdout, r.stderr)
	}
}

// TestAMistakeIsOneClearLine has the mistakes that people make, as they see them.
func TestAMistakeIsOneClearLine(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = busy.Close() }()
	used := t.TempDir()
	owner, err := spool.Open(t.Context(), spool.Options{Config: func() spool.Config { c := spool.DefaultConfig(); c.Dir = used; return c }()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = owner.Close(context.Background()) }()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	with := func(change, to string) string {
		text := strings.Replace(embeddedConfig, change, to, 1)
		if text == embeddedConfig {
			t.Fatalf("%q is not in the configuration", change)
		}
		return text
	}
	for _, c := range []struct {
		name, config string
		want         []string
		code         int
	}{
		{"unknown key", with("area_code:", "area_kode:"), []string{"area_kode", "area_code"}, exitFailed},
		{"wrong type", with("dial_rate: 1000", "dial_rate: fast"), []string{"dial_rate", "fast"}, exitFailed},
		{"unitless duration", with("reconnect_interval: 200ms", "reconnect_interval: 5"), []string{"reconnect_interval", "5s"}, exitFailed},
		{"impossible range", with("801-820", "820-801"), []string{"820-801", "lower number first"}, exitFailed},
		{"duplicate agent", with(`["801-820"]`, `["801-820", "805"]`), []string{"805", "already"}, exitFailed},
		{"no registration", with(`registration: 'op={{.Agent}},ch={{.Channel}};', `, ""), []string{"registration is missing", "connector capture"}, exitFailed},
		{"malformed registration", with("{{.Agent}}", "{{.Agnt}}"), []string{"registration", "Agnt"}, exitFailed},
		{"port in use", with(`health: "127.0.0.1:0"`, `health: "`+busy.Addr().String()+`"`), []string{"http.health", "in use"}, exitFailed},
		{"broker's port in use", with(`listen: "127.0.0.1:0"`, `listen: "`+busy.Addr().String()+`"`), []string{"embedded.listen", "in use"}, exitFailed},
		{"unwritable spool directory", with(`"{DIR}"`, `"`+file+`/spool"`), []string{"spool", "not a directory"}, exitFailed},
		{"spool in use", with(`"{DIR}"`, `"`+used+`"`), []string{"in use by process"}, exitFailed},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := connector(t, "", "run", "--config", writeConfig(t, c.config, nil))
			text := strings.TrimSpace(r.stderr)
			if r.code != c.code {
				t.Errorf("code %d, want %d", r.code, c.code)
			}
			for _, want := range c.want {
				if !strings.Contains(text, want) {
					t.Errorf("no %q in: %s", want, text)
				}
			}
			if strings.Contains(text, "goroutine ") || strings.Count(text, "\n") > 0 || r.stdout != "" {
				t.Errorf("not one line: %s%s", text, r.stdout)
			}
		})
	}
}

func TestWrongUseIsCodeTwoAndSaysWhereHelpIs(t *testing.T) {
	for _, args := range [][]string{
		{"frobnicate"}, {"demo", "--rte", "5"}, {"demo", "extra"}, {"demo", "--agents", "0"}, {"demo", "-o", "xml"}, {"run"},
		{"run", "--config", "/no/such/file.yaml"}, {"decode", "--timezone", "Mars"}, {"schema", "no-such"}, {"tail", "-o", "xml"}, {"check"},
	} {
		r := connector(t, "", args...)
		if r.code != exitUsage || !strings.Contains(r.stderr, "--help") || r.stdout != "" {
			t.Errorf("%v: code %d, stdout %q, stderr %q", args, r.code, r.stdout, r.stderr)
		}
	}
	for _, command := range []string{"run", "demo", "simulate", "decode", "check", "tail", "schema", "version"} {
		r := connector(t, "", command, "--help")
		if r.code != exitGood || !strings.Contains(r.stdout, "Example") && command != "version" {
			t.Errorf("%s --help: code %d, %s", command, r.code, r.stdout)
		}
	}
}

func TestTheSchemaAndTheVersionArePrinted(t *testing.T) {
	for _, name := range []string{"callpop", "session", "dead-letter"} {
		r := connector(t, "", "schema", name)
		if r.code != exitGood || !json.Valid([]byte(r.stdout)) || !strings.Contains(r.stdout, "2020-12") {
			t.Errorf("%s: code %d, %.80s", name, r.code, r.stdout)
		}
	}
	if r := connector(t, "", "schema", "asyncapi"); r.code != exitGood || !strings.Contains(r.stdout, "asyncapi: 3.1.0") {
		t.Errorf("asyncapi: code %d, %.80s", r.code, r.stdout)
	}
	if r := connector(t, "", "version", "-o", "json"); r.code != exitGood || !json.Valid([]byte(r.stdout)) {
		t.Errorf("version: %+v", r)
	}
}

func TestASinkThatLeadsBackToTheSpoolIsRefused(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(embeddedConfig, `listen: "127.0.0.1:0"`, `listen: "`+address+`"`, 1) +
		"sinks: [{name: events, type: nats, url: \"nats://" + address + "\"}]\n"
	r := connector(t, "", "run", "--config", writeConfig(t, text, nil))
	if r.code != exitFailed || !strings.Contains(r.stderr, "own embedded server") {
		t.Errorf("code %d: %s", r.code, r.stderr)
	}
}
