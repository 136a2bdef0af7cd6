package console

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/internal/control"
	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
)

func TestAViewerGetsOnlyWhatHasChanged(t *testing.T) {
	r := serve(t, t.TempDir(), "")
	r.emit(sessionOf("801", schema.Connected), sessionOf("802", schema.Connected))
	all := r.until("two agents", func(s state) bool { return len(s.Agents) == 2 })
	next := func(s state) state {
		return get[state](r, "/console/api/state?run="+url.QueryEscape(s.Run)+fmt.Sprintf("&after=%d", s.Version))
	}
	if s := next(all); len(s.Agents)+len(s.Events) != 0 {
		t.Errorf("without a change: %+v", s)
	}
	r.emit(sessionOf("802", schema.Failed))
	r.until("a change", func(s state) bool { return s.Version > all.Version })
	s := next(all)
	if len(s.Agents) != 1 || s.Agents[0].Agent != "802" || s.Agents[0].State != schema.Failed || len(s.Events) != 1 {
		t.Errorf("after a change: %+v", s)
	}
	s.Run = "another"
	if s = next(s); len(s.Agents) != 2 {
		t.Errorf("of another run: %d agents, want both", len(s.Agents))
	}
}

// TestTenThousandAgentsAreABoundedAnswer: the wall comes in pieces, each agent once, and
// then costs what changes.
func TestTenThousandAgentsAreABoundedAnswer(t *testing.T) {
	c := &Console{wall: newWall(time.Now())}
	w := c.wall
	const agents = 10_000
	sequence := uint64(0)
	take := func(e schema.Event) {
		sequence++
		w.take(spool.Record{Event: e, Sequence: sequence}, true)
	}
	for i := range agents {
		take(sessionOf(fmt.Sprint(i), schema.Connected))
	}
	for i := range agents {
		take(popOf(fmt.Sprint(i), "x").Event())
	}
	seen := map[string]bool{}
	run, version, pieces := "", uint64(0), 0
	for more := true; more; pieces++ {
		n := w.since(run, version, time.Now())
		if len(n.agents) > maxNews || len(n.events) > maxRecent*len(schema.Types) {
			t.Fatalf("%d agents and %d events in one answer", len(n.agents), len(n.events))
		}
		for _, a := range n.agents {
			if seen[a.key.agent] {
				t.Fatalf("agent %s twice", a.key.agent)
			}
			seen[a.key.agent] = true
		}
		run, version, more = n.run, n.version, n.more
	}
	if len(seen) != agents || pieces != agents/maxNews {
		t.Errorf("%d agents in %d pieces", len(seen), pieces)
	}
	took := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			take(popOf("77", "x").Event())
			if n := w.since(run, sequence-1, time.Now()); len(n.agents) != 1 {
				b.Fatalf("%d agents changed", len(n.agents))
			}
		}
	})
	t.Logf("an answer about one of %d agents: %v, %d bytes allocated", agents, time.Duration(took.NsPerOp()), took.AllocedBytesPerOp())
}

func TestNamesOffTheWireDoNotFillTheWall(t *testing.T) {
	w := newWall(time.Now())
	for i := range maxAgents + 10 {
		w.take(spool.Record{Event: popOf(fmt.Sprint("x", i), "x").Event(), Sequence: 1}, true)
	}
	n := w.since("", 0, time.Now())
	if len(w.agents) != maxAgents || !n.leftOff {
		t.Errorf("%d agents, left off %v", len(w.agents), n.leftOff)
	}
	w.prune(time.Now().Add(2 * closedTime))
	w.take(spool.Record{Event: sessionOf("801", schema.Connected), Sequence: 2}, true)
	again := w.since(n.run, n.version, time.Now())
	if again.run == n.run || len(again.agents) != 1 || again.agents[0].key.agent != "801" {
		t.Errorf("afterwards: %d agents, the same run: %v", len(again.agents), again.run == n.run)
	}
}

func TestAnAgentWhoseSessionWasClosedLeavesTheWall(t *testing.T) {
	w := newWall(time.Now())
	w.take(spool.Record{Event: sessionOf("801", schema.Closed), Sequence: 1}, true)
	w.take(spool.Record{Event: sessionOf("802", schema.Failed), Sequence: 2}, true)
	w.prune(time.Now().Add(closedTime - time.Minute))
	if len(w.agents) != 2 {
		t.Errorf("%d agents before the time", len(w.agents))
	}
	w.prune(time.Now().Add(48 * time.Hour))
	if len(w.agents) != 1 || w.agents[agentKey{"hq", "802"}] == nil {
		t.Errorf("left: %v", w.agents)
	}
}

func TestTheRateIsOfTheLastHour(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 30, 15, 0, time.UTC)
	r := newRates(now)
	for _, at := range []time.Time{
		now, now.Add(-10 * time.Second), now.Add(-time.Minute), now.Add(-60 * time.Minute), now.Add(-61 * time.Minute), now.Add(time.Hour),
	} {
		r.add(schema.TypeCallPop, at, now)
	}
	r.add(schema.TypeDeadLetter, now, now)
	v := r.view(now)
	if v.Pops[60] != 2 || v.Pops[59] != 1 || v.Pops[0] != 1 || v.DeadLetters[60] != 1 || !v.Until.Equal(now.Truncate(time.Minute)) {
		t.Errorf("got %+v", v)
	}
	later := r.view(now.Add(30 * time.Minute))
	if later.Pops[30] != 2 || later.Pops[29] != 1 || later.Pops[60] != 0 {
		t.Errorf("half an hour later: %v", later.Pops)
	}
	for _, n := range r.view(now.Add(3 * time.Hour)).Pops {
		if n != 0 {
			t.Error("three hours later there are still pops")
		}
	}
}

func TestWhatWasBeforeTheStartIsReadAndSaysNothingOfSessions(t *testing.T) {
	dir := t.TempDir()
	r := serve(t, dir, "")
	r.emit(sessionOf("801", schema.Connected), popOf("801", "x").Event())
	r.until("the pop", func(s state) bool { return len(s.Agents) == 1 && s.Agents[0].Pop != nil })
	r.stop()
	r = serve(t, dir, "")
	s := r.until("the pop of before", func(s state) bool { return len(s.Agents) == 1 && len(s.Events) == 2 })
	if a := s.Agents[0]; a.State != "" || a.Pop == nil {
		t.Errorf("got %+v: a session of the process before is not up", a)
	}
	if s.Rate.Pops[60]+s.Rate.Pops[59] != 1 || s.Stored[schema.TypeCallPop] != 1 {
		t.Errorf("got the rate %v, stored %v", s.Rate.Pops, s.Stored)
	}
}

func TestManyViewersAskAfterTheStateOnce(t *testing.T) {
	r := serve(t, t.TempDir(), "")
	began := time.Now()
	for range 50 {
		get[state](r, "/console/api/state")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if most := int(time.Since(began)/statusAge) + 1; r.asked > most {
		t.Errorf("asked %d times, want at most %d", r.asked, most)
	}
}

const secretPop = `H=t1v5,ch=2,ph=013812345678,ty=1,op=801,sn=1234,mb=621700001111,da=card:62220000|name:<b>,zz=13987654321,zz=1,13700001111=a,dm=1;2;3;4;5;6;`

// secretEvent is a pop of which every value that could be a customer's is known.
func secretEvent() schema.Event {
	p := popOf("801", secretPop)
	p.Format, p.Pop = schema.T1V5, schema.PopKind{Mode: schema.ModeInbound, Code: 1}
	p.Call.Line, p.Call.SN = "2", "1234"
	p.IVR = schema.IVR{Keys: "1;2;3;4;5;6", Member: "621700001111", Data: "card:62220000|name:<b>", Fields: map[string]string{"card": "62220000", "name": "<b>"}}
	p.Extra = map[string]string{"zz": "13987654321,1", "13700001111": "a"}
	p.RawBase64 = base64.StdEncoding.EncodeToString([]byte(secretPop))
	return p.Event()
}

var secrets = []string{"13812345678", "621700001111", "62220000", "13987654321", "13700001111", "1;2;3;4", base64.StdEncoding.EncodeToString([]byte("13812345678"))[:8]}

func TestNumbersAreMaskedInEveryAnswerUntilTheyAreAskedFor(t *testing.T) {
	r := serve(t, t.TempDir(), token)
	r.logIn()
	letter := letterOf(secretPop)
	pop := secretEvent()
	refused := letterOf(string(pop.Body))
	refused.Reason, refused.Sink = schema.ReasonRefused, "events"
	refused.Headers = map[string]string{schema.AttributeType: string(schema.TypeCallPop)}
	r.emit(sessionOf("801", schema.Connected), pop, letter.Event(), refused.Event())
	r.until("all", func(s state) bool { return len(s.Events) == 4 })
	paths := []string{
		"/console/api/state", "/console/api/agents/hq/801", "/console/api/dead-letters", "/console/api/events/callpop.v1/1",
		"/console/api/events/callpop.dlq.v1/1", "/console/api/events/callpop.dlq.v1/2", "/console/api/events/callpop.session.v1/1",
	}
	everything := func() (all string) {
		for _, path := range paths {
			status, body := r.call("GET", path, "")
			if status != http.StatusOK {
				t.Errorf("%s: %d %s", path, status, body)
			}
			all += body
		}
		return all
	}
	masked := everything()
	for _, s := range secrets {
		if at := strings.Index(masked, s); at >= 0 {
			t.Errorf("%q is shown: …%s…", s, masked[max(0, at-80):at+20])
		}
	}
	if status, body := r.call("POST", "/console/api/numbers", `{"show":true}`); status != http.StatusNoContent {
		t.Fatalf("ask for numbers: %d %s", status, body)
	}
	shown := everything()
	for _, s := range secrets[:6] {
		if !strings.Contains(shown, s) {
			t.Errorf("%q is hidden from who may see it", s)
		}
	}
	if said := r.log.String(); !strings.Contains(said, "customers' numbers") || strings.Contains(said, "13812345678") {
		t.Errorf("the log says %s", said)
	}
	if status, _ := r.call("POST", "/console/api/numbers", `{"show":false}`); status != http.StatusNoContent || strings.Contains(everything(), "13812345678") {
		t.Error("numbers stay when they are hidden again")
	}
}

func TestAPopIsExplainedPieceByPiece(t *testing.T) {
	var x explanation
	var p schema.CallPop
	if err := json.Unmarshal(secretEvent().Body, &p); err != nil {
		t.Fatal(err)
	}
	if err := x.pop(&p, false); err != nil {
		t.Fatal(err)
	}
	if want := "H=t1v5,ch=2,ph=013****5678,ty=1,op=801,sn=1234,mb=621****1111,da=card:****0000|name:<b>,zz=139****4321,zz=1,137****1111=a,dm=****;"; x.Text != want {
		t.Errorf("the text is\n%s, want\n%s", x.Text, want)
	}
	var got []string
	for _, p := range x.Parts {
		got = append(got, fmt.Sprintf("%s=%s > %s=%s", p.Name, p.Value, p.Field, p.Event))
	}
	want := []string{
		"H=t1v5 > format=t1v5", "ch=2 > call.line=2", "ph=013****5678 > customer.number=013****5678", "ty=1 > pop.code=1 (inbound)", "op=801 > agent.id=801",
		"sn=1234 > call.sn=1234", "mb=621****1111 > ivr.member=621****1111", "da=card:****0000|name:<b> > ivr.data=card:****0000|name:<b>",
		"zz=139****4321 > extra.zz=139****4321,1", "zz=1 > extra.zz=139****4321,1", "137****1111=a > extra.137****1111=a", "dm=**** > ivr.keys=****",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if x.Hex != "" || !strings.Contains(x.Body, "138") && strings.Contains(x.Body, "13812345678") {
		t.Errorf("bytes are shown: %s", x.Hex)
	}
}

func TestDeadLettersArePagedAndRetried(t *testing.T) {
	r := serve(t, t.TempDir(), token)
	r.logIn()
	var made []schema.DeadLetter
	for i := range 2*pageLetters + 5 {
		l := letterOf(fmt.Sprintf("junk %d", i))
		if i == 3 {
			l.Raw = "H=t1v3,ph=013812345678;"
		}
		made = append(made, l)
		r.emit(l.Event())
	}
	var got []string
	before, pages := uint64(0), 0
	for more := true; more; pages++ {
		page := get[letters](r, fmt.Sprint("/console/api/dead-letters?before=", before))
		for _, l := range page.Letters {
			got = append(got, l.ID)
		}
		before, more = page.Before, page.Before > 0
	}
	if len(got) != len(made) || pages != 3 || got[0] != made[len(made)-1].ID || got[len(got)-1] != made[0].ID {
		t.Fatalf("%d letters on %d pages, from %s to %s", len(got), pages, got[0], got[len(got)-1])
	}
	status, body := r.call("POST", "/console/api/dead-letters/retry", fmt.Sprintf(
		`{"letters":[{"id":%q,"sequence":4},{"id":%q,"sequence":1},{"id":%q,"sequence":9},{"id":"x","sequence":2}]}`, made[3].ID, made[0].ID, made[8].ID))
	var done struct {
		Retried []control.Retried
		Error   string
	}
	if err := json.Unmarshal([]byte(body), &done); err != nil || status != http.StatusOK || done.Error != "" || len(done.Retried) != 4 {
		t.Fatalf("retry: %d %s %v", status, body, err)
	}
	outcomes := map[string]control.Outcome{}
	for _, one := range done.Retried {
		outcomes[one.ID] = one.Outcome
	}
	if outcomes[made[3].ID] != control.Emitted || outcomes[made[0].ID] != control.Failed || outcomes[made[8].ID] != control.Failed || outcomes["x"] != control.Missing {
		t.Errorf("outcomes %v", outcomes)
	}
	r.until("the pop that came of it", func(s state) bool {
		return len(s.Agents) == 1 && s.Agents[0].Pop != nil && s.Agents[0].Pop.ID == made[3].ID
	})
}

func TestRequestsThatAreWrongAreRefused(t *testing.T) {
	r := serve(t, t.TempDir(), token)
	r.logIn()
	r.emit(popOf("801", "x").Event())
	many := strings.TrimSuffix(strings.Repeat(`{"id":"x","sequence":1},`, maxRetries+1), ",")
	for _, c := range []struct {
		method, path, body string
		want               int
	}{
		{"GET", "state?after=-1", "", 400},
		{"GET", "events/callpop.v1/0", "", 400},
		{"GET", "events/callpop.v1/99999999999999999999999", "", 400},
		{"GET", "events/nonsense/1", "", 400},
		{"GET", "events/callpop.v1/2", "", 404},
		{"GET", "dead-letters?before=x", "", 400},
		{"GET", "agents/" + strings.Repeat("x", 200) + "/801", "", 400},
		{"GET", "agents/hq/nobody", "", 200},
		{"GET", "nothing", "", 404},
		{"GET", "dead-letters/retry", "", 405},
		{"POST", "dead-letters/retry", `{"letters":[]}`, 400},
		{"POST", "dead-letters/retry", `{"letters":[{"id":"x"}]}`, 400},
		{"POST", "dead-letters/retry", `{"letters":[` + many + `]}`, 400},
		{"POST", "dead-letters/retry", `{"what":1}`, 400},
		{"POST", "dead-letters/retry", strings.Repeat("x", 2*maxRequest), 400},
		{"POST", "numbers", `{"show":true} {}`, 400},
	} {
		if status, body := r.call(c.method, "/console/api/"+c.path, c.body); status != c.want {
			t.Errorf("%s %s: got %d %s, want %d", c.method, c.path, status, body, c.want)
		}
	}
}

func TestPagesLoadNothingFromElsewhere(t *testing.T) {
	r := serve(t, t.TempDir(), "")
	for _, s := range served {
		path := strings.TrimSuffix(s.path, "{$}")
		response, err := r.client.Get(r.base + path) //nolint:noctx // the client has a timeout
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if got := response.Header.Get("Content-Security-Policy"); response.StatusCode != http.StatusOK || !strings.HasPrefix(got, "default-src 'none'") {
			t.Errorf("%s: %s, policy %q", path, response.Status, got)
		}
		content, err := assets.ReadFile("assets/" + s.name)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "https://", "http://"} {
			if strings.Contains(strings.ReplaceAll(string(content), "http://www.w3.org/2000/svg", ""), bad) {
				t.Errorf("%s has %s", s.name, bad)
			}
		}
	}
}

func TestNobodyChangesAnythingWhomNoGuardLetThrough(t *testing.T) {
	r := serve(t, t.TempDir(), token)
	for path, body := range map[string]string{"dead-letters/retry": `{"letters":[{"id":"x","sequence":1}]}`, "numbers": `{"show":true}`} {
		w := httptest.NewRecorder()
		r.console.Handler().ServeHTTP(w, httptest.NewRequest("POST", "/console/api/"+path, strings.NewReader(body)))
		if w.Code != http.StatusForbidden {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}
