package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/internal/collectortest"
	"github.com/callpop/connector/internal/feed"
	"github.com/callpop/connector/internal/secret"
	"github.com/callpop/connector/source/lqsim"
)

func privateConfig(collector, nats, kafka, locked, secretFile string) string {
	return fmt.Sprintf(`
sources:
  - {name: hq, type: session, address: "{LQ}", agents: ["801-803"], registration: 'op={{.Agent}},ch={{.Channel}};', area_code: "025", dial_rate: 1000, reconnect_interval: 100ms}
  - {name: desktops, type: relay, server: hq2, listen: "127.0.0.1:0", address: "{LQ}", allow_overlap: true}
  - {name: pages, type: callback, server: hq, listen: "127.0.0.1:0", secret: hunter2-page-of-the-vendor, redirect: "https://crm.example/c?phone={{.Customer.Number}}"}
sinks:
  - {name: events, type: nats, url: %q, create: true, user: u, password: hunter2-nats, publish_timeout: 1s}
  - {name: lake, type: kafka, brokers: [%q], publish_timeout: 1s}
  - {name: locked, type: kafka, brokers: [%q], publish_timeout: 1s, sasl: {mechanism: plain, user: u, password: hunter2-kafka}}
spool: {dir: "{DIR}", min_free: 0}
embedded: {listen: "127.0.0.1:0", user: e, password_file: %q}
http: {health: "127.0.0.1:0", public: "127.0.0.1:0"}
feed: {signing_key: %q}
log: {level: debug}
shutdown_timeout: 2s
`, nats, kafka, locked, secretFile, feedKey) + exportConfig(collector, "http/protobuf")
}

// smallStream makes the pops' stream such that it refuses a large one for good.
func smallStream(t *testing.T, url string) {
	t.Helper()
	if _, err := jetStream(t, url).CreateStream(patient(t), jetstream.StreamConfig{Name: "CALLPOP", Subjects: []string{"callpop.v1.>"}, MaxMsgSize: 1300}); err != nil {
		t.Fatal(err)
	}
}

// popsOf are pops of a number in every format, and what is no pop but has it.
func popsOf(number string, sn int) (good, bad []string) {
	good = []string{
		fmt.Sprintf("2,%s,1000,1208674344953,NA", number),
		fmt.Sprintf("H=t1v2,ch=2,ph=%s,id=12157703713%03d,dm=0;", number, sn),
		fmt.Sprintf("H=t1v3,ch=2,ph=%s,id=12157703714%03d,tm=080711175931,op=801,sn=%d,dm=%s;", number, sn, sn, number),
		fmt.Sprintf("H=t1v5,ch=2,ph=%s,ty=5,tm=080711175931,op=802,sn=%d,so=801,mb=%s,da=tel:%s|ord_id:3333,dm=1;2;", number, sn, number, number),
		fmt.Sprintf("H=t1v5,ch=2,ph=%s,ty=1,tm=080711175931,op=801,sn=%d,da=%s,dm=1;", number, sn, strings.Repeat("x", 150)), // refused by the small stream
	}
	bad = []string{
		number + " is no pop",
		"H=t9,zz=" + number,
		"H=t1v3,ch=2,tm=" + number + ",dm=0;",
		"\xd5\xc5\xc8\xfd " + number, // GB18030
	}
	return good, bad
}

func TestNoNumberAndNoSecretLeavesTheConnectorButInEvents(t *testing.T) {
	for _, format := range []string{"json", "text"} {
		t.Run(format, func(t *testing.T) { livePrivately(t, format) })
	}
}

// livePrivately runs a whole connector through good days and bad ones, and looks
// at everything that it says.
func livePrivately(t *testing.T, format string) {
	collector := collectortest.Start(t)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
	t.Setenv("OTEL_BLRP_SCHEDULE_DELAY", "50")
	lq := startSimulator(t, lqsim.Options{})
	broker := startNATS(t)
	smallStream(t, broker.url())
	kafka, locked := freeAddress(t), freeAddress(t)
	startKafka(t, kafka)
	startKafka(t, locked)
	secretFile := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(secretFile, []byte("hunter2-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := privateConfig(collector.HTTP(), broker.url(), kafka, locked, secretFile)
	d := start(t, writeConfig(t, strings.Replace(config, "level: debug", "level: debug, format: "+format, 1), lq))
	relayed := d.sources[1].source.(interface{ Addr() net.Addr }).Addr().String()
	page := "http://" + d.sources[2].source.(interface{ Addr() net.Addr }).Addr().String() + "/pop"
	pops := make(chan string, 1000)
	desktop(t, relayed, "901", pops)
	if err := lq.WaitSessions(patient(t), 4); err != nil {
		t.Fatal(err)
	}

	sent := 0
	for i, number := range customers {
		good, bad := popsOf(number, 100+10*i)
		for _, raw := range append(good, bad...) {
			for _, agent := range []string{"801", "901"} {
				if err := lq.Send(agent, []byte(raw)); err != nil {
					t.Fatal(err)
				}
				sent++
			}
		}
		callBack(t, page, number)
		askFeed(t, d.public.URL(), number)
	}
	// Frames that break, with a number in them, and an outage of the broker.
	if err := lq.Cut("802", []byte("H=t1v2,ch=2,ph="+customers[0]+",id=1,dm=0;"), 30); err != nil {
		t.Fatal(err)
	}
	if err := lq.SendBytes("803", []byte("\x00"+customers[2]+strings.Repeat("\x00", 20))); err != nil {
		t.Fatal(err)
	}
	// One who registers with a number, and one who speaks another protocol.
	for _, hello := range []string{"tel=" + customers[0] + ";", "GET /?phone=" + customers[2] + " HTTP/1.0\r\n\r\n"} {
		conn := dialPatiently(t, relayed)
		_, _ = io.WriteString(conn, hello)
		t.Cleanup(func() { _ = conn.Close() })
	}
	counted := func(reason string) *regexp.Regexp {
		return regexp.MustCompile(`callpop_decode_errors_total\{[^}]*reason="` + reason + `"[^}]*\} [1-9]`)
	}
	eventually(t, "dead letters of all kinds", func() bool {
		_, metrics := d.get(t, "/metrics")
		return counted("unrecognised").MatchString(metrics) && counted("cut_frame").MatchString(metrics) &&
			strings.Contains(d.stderr.String(), "it went to the dead letters")
	})
	broker.stop()
	good, _ := popsOf(customers[1], 900)
	if err := lq.Send("801", []byte(good[1])); err != nil {
		t.Fatal(err)
	}
	trouble := regexp.MustCompile(`the sink is in trouble.*sink"?[=:]"?events`)
	eventually(t, "the outage in the log", func() bool { return trouble.MatchString(d.stderr.String()) })
	_, ready := d.get(t, "/readyz?full")
	_, metrics := d.get(t, "/metrics")
	broker.start()
	eventually(t, "the recovery", func() bool { return strings.Contains(d.stderr.String(), "the sink has recovered") })
	collector.WaitSpans(sent, func(s collectortest.Span) bool { return s.Name == "receive" })
	eventually(t, "logs and metrics at the collector", func() bool { return len(collector.Logs()) > 0 && len(collector.Metrics()) > 0 })
	status := fmt.Sprintf("%+v", d.config)
	_ = d.end() // the locked sink is never drained
	collector.Stop()

	for where, text := range map[string]string{
		"the log": d.stderr.String(), "/readyz": ready, "/metrics": metrics, "OTLP": collector.Text(), "the configuration": status,
	} {
		if len(text) < 300 {
			t.Errorf("%s says next to nothing: %q", where, text)
		}
		private(t, where, text)
	}
	if !strings.Contains(d.stderr.String(), "DBG") && !strings.Contains(d.stderr.String(), `"DEBUG"`) {
		t.Error("the log has no debug lines")
	}
}

// callBack calls the page as the vendor's client does: rightly, without the secret,
// and with what is no call.
func callBack(t *testing.T, page, number string) {
	t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	for _, query := range []string{
		"?secret=hunter2-page-of-the-vendor&phone=" + url.QueryEscape(number) + "&oper=801&ch=8&outch=2&startTime=1215770371375&id=12157703713752",
		"?secret=hunter2-page-of-the-vendorwrong&phone=" + url.QueryEscape(number),
		"?phone=" + url.QueryEscape(number),
		"?secret=hunter2-page-of-the-vendor&ph%6fne=%zz" + url.QueryEscape(number),
		"?secret=hunter2-page-of-the-vendor&nothing=" + url.QueryEscape(number),
	} {
		request, err := http.NewRequestWithContext(patient(t), http.MethodGet, page+query, nil)
		if err != nil {
			continue // it cannot even be asked
		}
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		_ = response.Body.Close()
		if response.StatusCode != http.StatusFound {
			private(t, "the answer to a callback", string(body))
		}
	}
}

// askFeed asks for an agent's pops as pages do: rightly, with a number where none
// belongs, and with a wrong token.
func askFeed(t *testing.T, url, number string) {
	t.Helper()
	token, err := feed.Sign(secret.New(feedKey), "hq", "801", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, ask := range []struct{ path, token string }{
		{"/v1/servers/hq/agents/801/pops/latest", token},
		{"/v1/servers/hq/agents/" + number + "/pops/latest", token},
		{"/v1/servers/hq/agents/801/pops?since=" + number, token},
		{"/v1/servers/hq/agents/801/pops/latest", token + number},
		{"/v1/servers/hq/agents/801/pops/latest", feedKey},
	} {
		request, err := http.NewRequestWithContext(patient(t), http.MethodGet, url+ask.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+ask.token)
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
	}
}

func TestNoSecretAndNoNumberIsInTheErrorOfACommand(t *testing.T) {
	base := writeConfig(t, embeddedConfig, nil)
	text, err := os.ReadFile(base)
	if err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{
		"sinks: [{name: e, type: nats, url: 'nats://u:hunter2-nats@h:4222'}]",
		"sinks: [{name: e, type: nats, url: 'nats://127.0.0.1:1', user: u, password: hunter2-nats, pasword: hunter2-nats}]",
		"sinks: [{name: k, type: kafka, brokers: ['127.0.0.1:1'], sasl: {mechanism: plane, user: u, password: hunter2-kafka}}]",
		"telemetry: {otlp: {endpoint: 'http://u:hunter2-otlp@collector:4318'}}",
		"telemetry: {otlp: {endpoint: 'http://collector:4318/?key=hunter2-otlp'}}",
		"telemetry: {otlp: {headers: 'hunter2-otlp'}}",
		"telemetry: {otlp: {headers: {authorization: hunter2-otlp}}}",
		"telemetry: {traces: {exporter: otlp}, otlp: {headers: 'authorization=hunter2-otlp', tls: {ca_file: missing}}}",
	} {
		file := filepath.Join(t.TempDir(), "connector.yaml")
		if err := os.WriteFile(file, append(text, wrong...), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"check", "run"} {
			r := connector(t, "", command, "--config", file)
			if r.code == exitGood && command == "run" {
				t.Errorf("%s: it runs", wrong)
			}
			private(t, command+" of "+strings.ReplaceAll(wrong, "hunter2", "…"), r.stdout+r.stderr)
		}
	}
	r := connector(t, customers[0]+" is no pop\nH=t9,zz="+customers[1]+"\n", "decode", "-")
	private(t, "the error of decode", r.stderr)
}
