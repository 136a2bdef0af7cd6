package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/schema"
)

// message is what a stream has.
type message struct {
	schema.Event
	messageID, replay string
}

// streamed reads a whole stream of a broker.
func streamed(t *testing.T, url, stream string) []message {
	t.Helper()
	st, err := jetStream(t, url).Stream(patient(t), stream)
	if err != nil {
		t.Fatal(err)
	}
	var messages []message
	for n := uint64(1); n <= st.CachedInfo().State.LastSeq; n++ {
		m, err := st.GetMsg(patient(t), n)
		if err != nil {
			t.Fatal(err)
		}
		e, err := schema.FromNATSHeaders(m.Header.Get, m.Data)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, message{e, m.Header.Get("Nats-Msg-Id"), m.Header.Get("callpop-replay")})
	}
	return messages
}

func TestAReplayReachesARealBrokerAsASecondCopy(t *testing.T) {
	broker := startNATS(t)
	file := writeConfig(t, toolConfig(fmt.Sprintf("{name: events, type: nats, url: %q, create: true}", broker.url())), nil)
	events := toolPops(40)
	d := start(t, file)
	d.emit(events...)
	received(t, broker.url(), "CALLPOP", 40)
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	before := 40
	eachWay(t, file, func(t *testing.T, _ func(...schema.Event)) {
		replay := func(want []schema.Event, args ...string) {
			t.Helper()
			r := connector(t, "", append([]string{"replay", "--config", file, "--sink", "events", "--yes", "-o", "json"}, args...)...)
			if r.code != exitGood || !strings.Contains(r.stderr, "received from") {
				t.Fatalf("%v: code %d: %s%s", args, r.code, r.stdout, r.stderr)
			}
			var result replayResult
			if err := json.Unmarshal([]byte(r.stdout), &result); err != nil {
				t.Fatal(err)
			}
			if result.Events != uint64(len(want)) || result.Replay == nil || !result.Replay.Done || result.Replay.Sent != uint64(len(want)) || result.Sink != "events" {
				t.Errorf("%v: %s", args, r.stdout)
			}
			all := streamed(t, broker.url(), "CALLPOP")
			got := all[before:]
			before = len(all)
			if len(got) != len(want) {
				t.Fatalf("%v: %d messages, want %d", args, len(got), len(want))
			}
			wanted := map[string][]schema.Event{} // of a key, in its order
			for _, e := range want {
				wanted[e.Key] = append(wanted[e.Key], e)
			}
			for _, m := range got {
				w := wanted[m.Key][0]
				wanted[m.Key] = wanted[m.Key][1:]
				if m.ID != w.ID || !bytes.Equal(m.Body, w.Body) || m.replay != result.Replay.Run || m.messageID != m.ID+".replay."+m.replay {
					t.Errorf("%v: message %+v, want event %s", args, m, w.ID)
				}
			}
		}
		replay(events)
		replay([]schema.Event{events[4], events[14], events[24], events[34]}, "--key", "hq/4")
		replay(events[20:25], "--since", events[20].Time.Format(time.RFC3339Nano), "--until", events[25].Time.Format(time.RFC3339Nano))
		replay([]schema.Event{events[37]}, "--after", "35", "--agent", "802")

		r := connector(t, "", "replay", "--config", file, "--sink", "events", "--key", "hq/4")
		if r.code != exitUsage || !strings.Contains(r.stderr, "4 events of type pops") || !strings.Contains(r.stderr, "--yes") {
			t.Errorf("not confirmed: code %d: %s", r.code, r.stderr)
		}
		if text := good(t, "replay", "--config", file, "--sink", "events", "--key", "hq/none"); !strings.Contains(text, "nothing to send") {
			t.Errorf("nothing: %s", text)
		}
		if got := len(streamed(t, broker.url(), "CALLPOP")); got != before {
			t.Errorf("%d messages, want %d", got, before)
		}
	})
}

func TestAReplayThatIsInterruptedSaysHowToGoOn(t *testing.T) {
	broker := startNATS(t)
	file := writeConfig(t, toolConfig(fmt.Sprintf("{name: events, type: nats, url: %q, create: true, publish_timeout: 500ms}", broker.url())), nil)
	fill(t, file, toolPops(20)...)
	broker.stop()
	eachWay(t, file, func(t *testing.T, _ func(...schema.Event)) {
		stop := make(chan struct{})
		var stdout, stderr outputtest.Output
		code := make(chan int, 1)
		go func() {
			code <- run(patient(t), world{
				args: []string{"replay", "--config", file, "--sink", "events", "--yes"}, stop: stop,
				stdin: strings.NewReader(""), stdout: &stdout, stderr: &stderr,
			})
		}()
		for deadline := time.Now().Add(patience); !strings.Contains(stderr.String(), "sink events is in trouble"); {
			if time.Now().After(deadline) {
				t.Fatal(stderr.String())
			}
			time.Sleep(time.Millisecond) // polls what another goroutine writes
		}
		close(stop)
		if got := <-code; got != exitFailed || !strings.Contains(stderr.String(), "0 of 20 events were sent; go on with the same command and --after 0") || stdout.String() != "" {
			t.Errorf("code %d: %s%s", got, stdout.String(), stderr.String())
		}
	})
	broker.start()
}
