//go:build linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source/lqsim"
)

// rewrite changes the configuration's file.
func (i *installed) rewrite(old, changed string) {
	i.t.Helper()
	text, err := os.ReadFile(i.file)
	if err != nil {
		i.t.Fatal(err)
	}
	if !strings.Contains(string(text), old) {
		i.t.Fatalf("%q is not in the configuration", old)
	}
	if err := os.WriteFile(i.file, []byte(strings.ReplaceAll(string(text), old, changed)), 0o600); err != nil {
		i.t.Fatal(err)
	}
}

func TestASuccessorWithAnotherRosterClosesOnlyWhomThatConcerns(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: time.Hour})
	i := install(t, `
sources: [{name: hq, type: session, address: "{LQ}", agents: ["801", "802", "803", "804"], registration: 'op={{.Agent}},ch={{.Channel}};'}]
spool: {dir: "{DIR}", min_free: 0}
watch: false`, lq)
	if err := lq.WaitSessions(patient(t), 4); err != nil {
		t.Fatal(err)
	}
	former := map[string]int64{}
	for _, s := range lq.Sessions() {
		former[s.Agent] = s.Number
	}
	pop := "H=t1v4,ch=2,ph=86307627,ty=1,tm=080711175931,op=801,sn=1,so=0,da=n:1,dm=0;"
	whole := append([]byte{byte(len(pop))}, pop...)
	if err := lq.SendBytes("801", whole[:20]); err != nil {
		t.Fatal(err)
	}
	i.rewrite(`"803", "804"`, `{id: "803", channel: "7"}, "805"`)
	t.Log(i.upgrade())
	if err := lq.SendBytes("801", whole[20:]); err != nil {
		t.Fatal(err)
	}
	var p schema.CallPop
	if err := json.Unmarshal(received(t, "nats://"+i.embedded, "CALLPOP", 1)[0].Body, &p); err != nil {
		t.Fatal(err)
	}
	if p.Raw != pop {
		t.Errorf("of a pop that came half before and half after: %q", p.Raw)
	}
	i.eventually("the sessions of the new roster", func() bool {
		now := map[string]int64{}
		for _, s := range lq.Sessions() {
			now[s.Agent] = s.Number
		}
		return len(now) == 4 && now["801"] == former["801"] && now["802"] == former["802"] &&
			now["803"] > former["804"] && now["805"] > former["804"]
	})
	states := map[string][]string{}
	for _, e := range received(t, "nats://"+i.embedded, "CALLPOP_SESSION", 4*2+2+3+1) {
		var s schema.SessionChanged
		if err := json.Unmarshal(e.Body, &s); err != nil {
			t.Fatal(err)
		}
		states[s.Agent] = append(states[s.Agent], strings.TrimSpace(string(s.State)+" "+s.Cause))
	}
	for agent, want := range map[string][]string{
		"801": {"connecting", "connected"}, "802": {"connecting", "connected"},
		"803": {"connecting", "connected", "closed configuration", "connecting", "connected"},
		"804": {"connecting", "connected", "closed roster"},
		"805": {"connecting", "connected"},
	} {
		if !slices.Equal(states[agent], want) {
			t.Errorf("agent %s: %q, want %q", agent, states[agent], want)
		}
	}
	// The program and the file are those that it was started with.
	before := i.process
	if err := syscall.Kill(before, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	i.eventually("the upgrade that a signal asks for", func() bool { return !alive(before) })
	text, err := i.logged()
	if err != nil {
		t.Fatal(err)
	}
	last := text[strings.LastIndex(text, `"a successor takes over","successor":`):]
	if _, err := fmt.Sscanf(last, `"a successor takes over","successor":%d`, &i.process); err != nil {
		t.Fatal(err)
	}
	if totals := lq.Totals(); totals.Live != 4 || totals.Accepted != 6 {
		t.Errorf("%+v", totals)
	}
}

func TestAnUpgradeWithAMistakeIsRefusedBeforeAnythingIsHandedOver(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond})
	i := install(t, `
sources: [{name: hq, type: session, address: "{LQ}", agents: ["801"], registration: 'op={{.Agent}},ch={{.Channel}};'}]
spool: {dir: "{DIR}", min_free: 0}
watch: false`, lq)
	if err := lq.WaitSessions(patient(t), 1); err != nil {
		t.Fatal(err)
	}
	for _, mistake := range []struct {
		name, old, changed, want string
	}{
		{"a key that there is not", "min_free: 0", "min_fre: 0", "min_fre"},
		{"a source that is gone", "name: hq", "name: other", "source hq of type session is not in the successor's configuration"},
		{"an address in use", `health: "` + i.health, `health: "` + i.embedded, "http.health: listen on " + i.embedded},
	} {
		t.Run(mistake.name, func(t *testing.T) {
			i.rewrite(mistake.old, mistake.changed)
			defer i.rewrite(mistake.changed, mistake.old)
			out, err := i.command("upgrade", "--config", i.file)
			if err == nil || !strings.Contains(out, mistake.want) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
	out, err := i.command("upgrade", "--config", i.file, "--binary", "/bin/false")
	if err == nil || !strings.Contains(out, "the successor ended before it took anything over: exit status 1") {
		t.Errorf("a program that is no connector: %v: %s", err, out)
	}
	i.eventually("it to be ready", i.ready)
	t.Log(i.upgrade())
	if totals := lq.Totals(); totals.Live != 1 || totals.Accepted != 1 {
		t.Errorf("%+v", totals)
	}
}

func TestADrainedConnectorIsDrainedAfterAnUpgrade(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{Heartbeat: 100 * time.Millisecond})
	i := install(t, `
sources: [{name: hq, type: session, address: "{LQ}", agents: ["801-803"], registration: 'op={{.Agent}},ch={{.Channel}};'}]
spool: {dir: "{DIR}", min_free: 0}`, lq)
	if err := lq.WaitSessions(patient(t), 3); err != nil {
		t.Fatal(err)
	}
	if out, err := i.command("drain", "--config", i.file, "--pace", "0"); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Log(i.upgrade())
	if out, err := i.command("drain", "--config", i.file, "--undo"); err != nil || !strings.Contains(out, "3 sessions to open") {
		t.Errorf("%v: %s", err, out)
	}
	if err := lq.WaitSessions(patient(t), 3); err != nil {
		t.Fatal(err)
	}
}

func TestASuccessorThatHangsIsGivenUpAndCannotTakeOverLater(t *testing.T) {
	if testing.Short() {
		t.Skip("the sockets are paused for seconds")
	}
	lq := startSimulator(t, lqsim.Options{Heartbeat: time.Second})
	i := install(t, `
sources: [{name: hq, type: session, address: "{LQ}", agents: ["801-803"], registration: 'op={{.Agent}},ch={{.Channel}};'}]
spool: {dir: "{DIR}", min_free: 0}`, lq)
	if err := lq.WaitSessions(patient(t), 3); err != nil {
		t.Fatal(err)
	}
	f := i.fake(i.spoolDir())
	f.hello()
	f.hear(kindSpool)
	f.open()
	f.say(kindOpen, emptyBody{})
	f.hear(kindWhole)
	i.eventually("it to be given up", func() bool {
		text, _ := i.logged()
		return strings.Contains(text, "this process goes on")
	})
	if err := f.line.Send(kindTaken, emptyBody{}); err == nil {
		t.Error("its last word goes out after it was given up")
	}
	if err := lq.Send("801", []byte("H=t1v2,ch=2,ph=86307627,id=1,dm=0;")); err != nil {
		t.Fatal(err)
	}
	f.die()
	i.eventually("the spool to be open again", func() bool {
		text, _ := i.logged()
		return strings.Contains(text, "spool serves again")
	})
	received(t, "nats://"+i.embedded, "CALLPOP", 1)
	if totals := lq.Totals(); totals.Live != 3 || totals.Accepted != 3 {
		t.Errorf("%+v", totals)
	}
}
