package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/schema"
)

func TestDeadLettersAreLookedAtAndRetried(t *testing.T) {
	broker := startNATS(t)
	file := writeConfig(t, toolConfig(fmt.Sprintf("{name: events, type: nats, url: %q}", broker.url())), nil)
	js := jetStream(t, broker.url())
	small := jetstream.StreamConfig{Name: "CALLPOP", Subjects: []string{"callpop.v1.>"}, MaxMsgSize: 1500}
	for _, c := range []jetstream.StreamConfig{small, {Name: "CALLPOP_SESSION", Subjects: []string{"callpop.session.v1.>"}}, {Name: "CALLPOP_DLQ", Subjects: []string{"callpop.dlq.v1.>"}}} {
		if _, err := js.CreateStream(patient(t), c); err != nil {
			t.Fatal(err)
		}
	}
	big := small
	big.MaxMsgSize = -1
	eachWay(t, file, func(t *testing.T, emit func(...schema.Event)) {
		if _, err := js.UpdateStream(patient(t), small); err != nil {
			t.Fatal(err)
		}
		before := len(streamed(t, broker.url(), "CALLPOP"))
		fine, large := toolPop(1, 2), toolPop(2, 2)
		large.Body = bytes.Replace(large.Body, []byte("da=<"), []byte("da="+strings.Repeat("x", 2000)+"<"), 1)
		decodable := undecodable("H=t1v3,ph=13812345678,op=802,sn=4711,da=\xd5\xc5\xc8\xfd;")
		hopeless := undecodable("\x00\x01 no pop, but 13812345678")
		emit(fine, large, decodable, hopeless)
		refused := refusedLetter(t, file, large.ID)

		text := good(t, "dlq", "ls", "--config", file, "--since", "1h")
		for _, want := range []string{"REASON", refused.ID, decodable.ID, hopeless.ID, "undecodable", "refused", "events", "maximum"} {
			if !strings.Contains(text, want) {
				t.Errorf("dlq ls has no %q:\n%s", want, text)
			}
		}
		text = good(t, "dlq", "ls", "--config", file, "--reason", "undecodable", "--limit", "1", "-o", "json")
		if got := lines(text); len(got) != 1 || !json.Valid([]byte(got[0])) || !strings.Contains(got[0], `"reason":"undecodable"`) {
			t.Errorf("dlq ls -o json:\n%s", text)
		}
		showsLetter(t, file, &refused, hopeless)

		// Nothing was fixed yet.
		r := connector(t, "", "dlq", "retry", "--config", file, refused.ID)
		if r.code != exitFailed || !strings.Contains(r.stdout, "failed") || !strings.Contains(r.stdout, "maximum") {
			t.Errorf("before the fix: code %d: %s%s", r.code, r.stdout, r.stderr)
		}
		if _, err := js.UpdateStream(patient(t), big); err != nil {
			t.Fatal(err)
		}
		r = connector(t, "", "dlq", "retry", "--config", file, refused.ID, decodable.ID, hopeless.ID, "no-such-id")
		if r.code != exitFailed || !strings.Contains(r.stderr, "2 dead letters retried, 2 failed") {
			t.Errorf("retry: code %d: %s%s", r.code, r.stdout, r.stderr)
		}
		for _, want := range []string{
			refused.ID + "  sent        event " + large.ID + " to sink events",
			decodable.ID + "  emitted     event " + decodable.ID + " to every sink",
			hopeless.ID + "  failed      column 1",
			"missing",
		} {
			if !strings.Contains(r.stdout, want) {
				t.Errorf("no %q in:\n%s", want, r.stdout)
			}
		}
		if strings.Contains(r.stdout+r.stderr, customerNumber) {
			t.Errorf("a number is in %s%s", r.stdout, r.stderr)
		}
		if strings.Contains(t.Name(), "not_running") {
			emit() // a connector has to carry what was emitted to the sinks
		}
		arrives(t, broker, before, large, decodable)
	})
}

// undecodable makes the dead letter of bytes that came over a session.
func undecodable(raw string) schema.Event {
	now := time.Now()
	d := schema.DeadLetter{
		ID: schema.NewID(now), Version: 1, Server: "hq", Agent: "802", Reason: schema.ReasonUndecodable, Detail: "column 1: no number",
		Raw: raw, RawBase64: base64.StdEncoding.EncodeToString([]byte(raw)), ReceivedAt: now.UTC(),
		Source: schema.Source{Type: "session", Name: "hq"},
	}
	return d.Event()
}

// refusedLetter waits for the dead letter of an event.
func refusedLetter(t *testing.T, file, id string) schema.DeadLetter {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		for _, line := range lines(good(t, "dlq", "ls", "--config", file, "--reason", "refused", "--sink", "events", "-o", "json")) {
			var d schema.DeadLetter
			if err := json.Unmarshal([]byte(line), &d); err != nil {
				t.Fatal(err)
			}
			if d.Headers["id"] == id {
				return d
			}
		}
	}
	t.Fatal("no dead letter of the event that is too large")
	return schema.DeadLetter{}
}

// showsLetter looks at a refused event and at bytes that are no pop.
func showsLetter(t *testing.T, file string, refused *schema.DeadLetter, hopeless schema.Event) {
	t.Helper()
	text := good(t, "dlq", "show", "--config", file, refused.ID)
	for _, want := range []string{"reason", "refused", "header partitionkey", "hq/2", "as text:", "as hex:", "00000000  7b 22 69 64 22 3a 22"} {
		if !strings.Contains(text, want) {
			t.Errorf("dlq show has no %q:\n%.2000s", want, text)
		}
	}
	if strings.Contains(text, customerNumber) || !strings.Contains(text, "138****5678") {
		t.Errorf("dlq show of a refused event shows the number")
	}
	text = good(t, "dlq", "show", "--config", file, hopeless.ID)
	if !strings.Contains(text, "no pop, but 138****5678") || !strings.Contains(text, "00 01 20 6e 6f 20 70 6f") || strings.Contains(text, "32 33 34") {
		t.Errorf("dlq show:\n%s", text)
	}
	text = good(t, "dlq", "show", "--config", file, "--numbers", hopeless.ID)
	if !strings.Contains(text, customerNumber) || !strings.Contains(text, "33 38 31 32 33 34 35 36  37 38") {
		t.Errorf("dlq show --numbers:\n%s", text)
	}
	if text := good(t, "dlq", "show", "--config", file, "-o", "json", hopeless.ID); text != string(hopeless.Body)+"\n" {
		t.Errorf("dlq show -o json: %s", text)
	}
	if r := connector(t, "", "dlq", "show", "--config", file, "no-such-id"); r.code != exitFailed || !strings.Contains(r.stderr, `no dead letter "no-such-id"`) {
		t.Errorf("dlq show of nothing: code %d: %s", r.code, r.stderr)
	}
}

// arrives waits until the broker has a refused event, as a replay, and a decoded
// one, as a new event.
func arrives(t *testing.T, broker *natsServer, before int, large, decodable schema.Event) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		var sent, decoded bool
		for _, m := range streamed(t, broker.url(), "CALLPOP")[before:] {
			switch m.ID {
			case large.ID:
				sent = true
				if m.replay == "" || m.messageID != m.ID+".replay."+m.replay || !bytes.Equal(m.Body, large.Body) {
					t.Errorf("the refused event arrives as %+v", m)
				}
			case decodable.ID:
				decoded = true
				var p schema.CallPop
				if err := json.Unmarshal(m.Body, &p); err != nil {
					t.Fatal(err)
				}
				if m.replay != "" || m.messageID != m.ID || p.ID != m.ID || p.Key != "hq/4711" || p.Customer.E164 != "+8613812345678" ||
					p.IVR.Data != "张三" || p.Agent.ID != "802" || !p.ReceivedAt.Equal(decodable.Time) {
					t.Errorf("the decoded event arrives as %s", m.Body)
				}
			}
		}
		if sent && decoded {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("arrived: refused %t, decoded %t", sent, decoded)
		}
	}
}

func TestDigitsThatMayBeANumberAreMaskedByteForByte(t *testing.T) {
	for raw, want := range map[string]string{
		"":                      "",
		"ph=13812345678,ch=2":   "ph=138****5678,ch=2",
		"02586307627;":          "025****7627;",
		"1234567":               "****567",
		"123456":                "123456",
		"+86 138-1234-5678":     "+86 1**-****-5678",
		"1.3.8.1.2.3.4.5.6.7.8": "1.3.8.*.*.*.*.5.6.7.8",
		"12--345678":            "12--345678",
		"123,4567890":           "123,****890",
		"a1b2c3d4e5f6a7b8":      "a1b2c3d4e5f6a7b8",
		"\x001\x003\x008\x001\x002\x003\x004\x005":                         "\x00*\x00*\x00*\x00*\x002\x003\x004\x005",
		"１３８１２３４５６７８":                                                      "１３８" + strings.Repeat("*", 12) + "５６７８",
		"\xa3\xb1\xa3\xb3\xa3\xb8\xa3\xb1\xa3\xb2\xa3\xb3\xa3\xb4\xa3\xb5": "********\xa3\xb2\xa3\xb3\xa3\xb4\xa3\xb5",
		`{"raw":"x","raw_base64":"cGg9MTM4","n":1}`:                        `{"raw":"x","raw_base64":"********","n":1}`,
		`{"raw_base64":"cut`:                                               `{"raw_base64":"***`,
	} {
		got := string(maskDigits([]byte(raw)))
		if len(got) != len(raw) {
			t.Errorf("%q: %d bytes became %d", raw, len(raw), len(got))
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", raw, got, want)
		}
	}
}
