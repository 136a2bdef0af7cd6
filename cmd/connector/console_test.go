package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/callpop/connector/internal/browsertest"
	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/source/lqsim"
)

const consoleToken = "an-admin-token-of-the-tests"

// consoleConfig has agents 801 to 803 and an admin listener; more is what else there
// is.
func consoleConfig(token, more string) string {
	return fmt.Sprintf(`
sources:
  - {name: hq, type: session, address: "{LQ}", agents: ["801-803"], registration: 'op={{.Agent}},ch={{.Channel}};', area_code: "025", dial_rate: 1000, reconnect_interval: 200ms}
spool: {dir: "{DIR}", min_free: 0}
http: {health: "", admin: "127.0.0.1:0", admin_token: %q}
%s`, token, more)
}

// logIn opens the console and logs in by the page.
func logIn(b *browsertest.Browser, base string, look browsertest.Look) *browsertest.Page {
	p := b.Open(base, look)
	p.Wait("document.querySelector('#token')?.checkVisibility()")
	p.Type("#token", consoleToken)
	p.Click("#form button")
	p.Wait("document.body?.dataset.ready && document.querySelector('#log-out')?.checkVisibility()")
	return p
}

// stateOf is what a tool sees that has the token.
func stateOf(t *testing.T, d *running) string {
	t.Helper()
	r, err := http.NewRequestWithContext(patient(t), http.MethodGet, d.admin.URL()+"/console/api/state", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+consoleToken)
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s: %v", response.Status, err)
	}
	return string(body)
}

// tile waits for what an agent's tile says.
func tile(p *browsertest.Page, agent, class string) {
	p.Wait(fmt.Sprintf(`[...document.querySelectorAll('#tiles .%s b')].some((b) => b.textContent === '%s')`, class, agent))
}

func TestTheConsoleShowsAnAgentGoingDownAndUp(t *testing.T) {
	b := browsertest.Start(t)
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, consoleConfig(consoleToken, ""), lq))
	p := b.Open(d.admin.URL(), browsertest.Look{Height: 1500, Width: 1280})
	p.Wait("document.querySelector('#token')?.checkVisibility()")
	if at := browsertest.Get[string](p, "location.pathname"); at != "/console/login" {
		t.Errorf("who is not logged in is led to %s", at)
	}
	p.Type("#token", "not the token at all")
	p.Click("#form button")
	p.Wait("document.querySelector('#refused').innerText")
	if got := p.Text("#refused"); got != "This is not the token." {
		t.Errorf("a wrong token: %q", got)
	}
	p.Picture("login-light-en")
	p.Errors() // the browser notes the 401
	p.Type("#token", consoleToken)
	p.Click("#form button")
	p.Wait("document.body?.dataset.ready && document.querySelector('#log-out')?.checkVisibility()")
	if cookies := browsertest.Get[string](p, "document.cookie"); cookies != "" {
		t.Errorf("scripts can read the cookie: %q", cookies)
	}
	for _, agent := range []string{"801", "802", "803"} {
		tile(p, agent, "connected")
	}
	if got := p.Text("#summary"); got != "3 of 3 connected" {
		t.Errorf("the wall says %q", got)
	}
	p.Wait("document.querySelector('#health').innerText === 'All is well'")

	if err := lq.Refuse(true); err != nil {
		t.Fatal(err)
	}
	if err := lq.Reset("802"); err != nil {
		t.Fatal(err)
	}
	p.Wait("document.querySelector('.tile:is(.failed, .reconnecting) b')?.textContent === '802'")
	tile(p, "801", "connected")
	p.Wait("document.querySelector('#problem-list').innerText === 'Server hq: 2 of 3 sessions are up.'")
	p.Wait("document.querySelector('#summary').innerText === '2 of 3 connected, 1 in trouble'")
	p.Picture("down-light-en")
	if err := lq.Refuse(false); err != nil {
		t.Fatal(err)
	}
	tile(p, "802", "connected")
	p.Wait("!document.querySelector('#problems').checkVisibility()")

	ring(t, lq, "801", popString("013812345678", 1234))
	p.Wait("document.querySelector('#event-rows .pop')")
	p.Wait("document.querySelector('#rate-hour').innerText === '1'")
	if got := p.Text("#event-rows .what"); got != "138****5678 · inbound" && got != "013****5678 · inbound" {
		t.Errorf("the list says %q", got)
	}
	p.Picture("up-light-en")
	quiet(t, p)

	// An agent's tile leads to what happened to it, from there to an event.
	p.Press("#tiles li:nth-child(2) button", "Enter")
	p.Wait("document.querySelectorAll('#dialog tbody tr').length >= 3")
	p.Picture("agent-light-en")
	p.Click("#dialog tbody button")
	p.Wait("document.querySelector('#dialog dl') && document.querySelector('#dialog-back').checkVisibility()")
	p.Click("#dialog-back")
	p.Wait("document.querySelectorAll('#dialog tbody tr').length >= 3")
	p.Press("#dialog-close", "Escape")
	p.Wait("!document.querySelector('#dialog').open && document.activeElement.closest('#tiles')")
	p.Click("#log-out")
	p.Wait("location.pathname === '/console/login'")
	p.Navigate(d.admin.URL() + "/console/")
	p.Wait("location.pathname === '/console/login'")
	quiet(t, p)
	if said := d.stderr.String(); strings.Contains(said, consoleToken) || strings.Contains(said, "13812345678") {
		t.Errorf("the log has the token or a number: %s", said)
	}
}

// TestTheConsoleExplainsBytesInChineseAndShowsScriptsAsText looks at a pop whose every
// value is HTML, with numbers and without.
func TestTheConsoleExplainsBytesInChineseAndShowsScriptsAsText(t *testing.T) {
	b := browsertest.Start(t)
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, consoleConfig(consoleToken, ""), lq))
	p := logIn(b, d.admin.URL()+"/console/?lang=zh", browsertest.Look{Language: "zh-CN", Dark: true, Height: 1400, Width: 1280})
	tile(p, "801", "connected")
	const script = "<script>alert(1)</script>"
	ring(t, lq, "801", "H=t1v5,ch=2,ph=013812345678,ty=5,tm=080711175931,op="+script+",sn="+script+",so=802,mb="+script+",da=name:"+script+"|card:62220000,xx="+script+",dm=1;2;")
	ring(t, lq, "802", "H="+script+",nothing 013812345678") // a dead letter
	p.Wait("document.querySelector('#event-rows .pop') && document.querySelector('#letter-rows button')")
	if got := browsertest.Get[string](p, "document.documentElement.lang"); got != "zh-CN" {
		t.Errorf("the page's language is %q", got)
	}
	// The tile of an agent whose name is a script.
	p.Wait(fmt.Sprintf("[...document.querySelectorAll('#tiles b')].some((e) => e.textContent === %q)", script))
	explained := func() string {
		p.Click("#event-rows tr:has(.pop) button")
		p.Wait("document.querySelector('#parts')")
		return p.Text("#dialog-body")
	}
	masked := explained()
	for _, want := range []string{"013****5678", "弹屏模式", "inbound_transfer", script, "发起转接的坐席", "客户号码", "没有对应字段，原样保留"} {
		if !strings.Contains(masked, want) {
			t.Errorf("the explanation says %q, without %q", masked, want)
		}
	}
	whole := browsertest.Get[string](p, "document.body.textContent")
	for _, number := range []string{"13812345678", "62220000"} {
		if strings.Contains(whole, number) {
			t.Errorf("%s is not masked", number)
		}
	}
	p.Picture("explained-masked-dark-zh")
	p.Click("#dialog-close")
	p.Click("#letter-rows button")
	p.Wait("document.querySelector('#dialog #raw')")
	if got := p.Text("#raw"); !strings.Contains(got, script) || strings.Contains(got, "13812345678") {
		t.Errorf("the dead letter says %q", got)
	}
	p.Picture("letter-masked-dark-zh")
	p.Click("#dialog-close")
	p.Picture("console-dark-zh")

	p.Click("#numbers")
	p.Wait("document.querySelector('#numbers').innerText === '隐藏号码' && document.querySelector('#event-rows').innerText.includes('013812345678')")
	shown := explained()
	for _, want := range []string{"ph=013812345678", "card:62220000", "+8613812345678"} {
		if whole := browsertest.Get[string](p, "document.querySelector('#dialog-body').textContent"); !strings.Contains(whole, want) {
			t.Errorf("the explanation says %q, without %q", shown, want)
		}
	}
	browsertest.Get[*string](p, "document.querySelector('#dialog details').open = true; null")
	p.Picture("explained-dark-zh")
	p.Click("#dialog-close")
	if n := browsertest.Get[int](p, "document.querySelectorAll('script:not([src])').length"); n != 0 {
		t.Errorf("%d scripts came off the wire", n)
	}
	p.Click("#language")
	p.Wait("document.querySelector('#agents-title').innerText === 'Agents'")
	quiet(t, p)
	if said := d.stderr.String(); !strings.Contains(said, "customers' numbers in the console") {
		t.Errorf("that numbers were shown is not in the log: %s", said)
	}
	// Another log-in does not see them.
	if got := stateOf(t, d); !strings.Contains(got, "013****5678") || strings.Contains(got, "13812345678") {
		t.Errorf("a second log-in that asked for nothing sees %s", got)
	}
}

func TestDeadLettersAreRetriedInTheConsole(t *testing.T) {
	b := browsertest.Start(t)
	broker := startNATS(t)
	js := jetStream(t, broker.url())
	stream := jetstream.StreamConfig{Name: "CALLPOP", Subjects: []string{"callpop.v1.>"}, MaxMsgSize: 1300}
	for _, c := range []jetstream.StreamConfig{stream, {Name: "CALLPOP_SESSION", Subjects: []string{"callpop.session.v1.>"}}, {Name: "CALLPOP_DLQ", Subjects: []string{"callpop.dlq.v1.>"}}} {
		if _, err := js.CreateStream(patient(t), c); err != nil {
			t.Fatal(err)
		}
	}
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, consoleConfig(consoleToken, fmt.Sprintf("sinks: [{name: events, type: nats, url: %q}]", broker.url())), lq))
	p := logIn(b, d.admin.URL(), browsertest.Look{Height: 1500, Width: 1280})
	tile(p, "801", "connected")
	long := strings.Repeat("x", 170)
	ring(t, lq, "801", "H=t1v5,ph=013812345678,op=801,sn=77,da=note:"+long+",dm=1;")
	p.Wait("document.querySelectorAll('#letter-rows button').length === 1")
	p.Picture("letter-light-en")
	try := func(says string) {
		t.Helper()
		p.Click("#letter-rows input")
		p.Click("#retry")
		p.Wait(fmt.Sprintf("document.querySelector('#letters-said').innerText === %q", says))
	}
	try("0 retried, 1 failed.")
	if got := p.Text("#letter-rows .outcome"); !strings.Contains(got, "failed") || !strings.Contains(got, "maximum") {
		t.Errorf("a retry before the fix: %q", got)
	}
	p.Picture("retry-failed-light-en")
	stream.MaxMsgSize = -1
	if _, err := js.UpdateStream(patient(t), stream); err != nil {
		t.Fatal(err)
	}
	try("1 retried, 0 failed.")
	if got := p.Text("#letter-rows .outcome"); got != "sent to its sink" {
		t.Errorf("a retry after the fix: %q", got)
	}
	p.Picture("retried-light-en")
	quiet(t, p)

	// A sink that is away.
	broker.stop()
	ring(t, lq, "802", strings.Replace(popString("02500000000", 1236), "op=801", "op=802", 1))
	p.Wait("document.querySelector('#sink-rows .retrying') && document.querySelector('#problems').checkVisibility()")
	p.Picture("sink-away-light-en")
	broker.start()
	p.Wait("document.querySelector('#sink-rows .idle') && !document.querySelector('#problems').checkVisibility()")
	quiet(t, p)
}

func TestWithoutATokenTheConsoleIsReadOnlyAndMasked(t *testing.T) {
	b := browsertest.Start(t)
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, consoleConfig("", ""), lq))
	p := b.Open(d.admin.URL(), browsertest.Look{Width: 390, Height: 844})
	tile(p, "801", "connected")
	ring(t, lq, "801", popString("013812345678", 1))
	ring(t, lq, "801", "no pop at all")
	p.Wait("document.querySelector('#event-rows .pop') && document.querySelector('#letter-rows button')")
	for _, hidden := range []string{"#log-in", "#log-out", "#numbers", "#retry", "#letter-rows input"} {
		if browsertest.Get[bool](p, fmt.Sprintf("Boolean(document.querySelector(%q)?.checkVisibility())", hidden)) {
			t.Errorf("%s is there for who may only read", hidden)
		}
	}
	if got := p.Text("#read-only"); got != "Read only" {
		t.Errorf("the page says %q of what one may do", got)
	}
	if got := browsertest.Get[string](p, "document.body.textContent"); strings.Contains(got, "13812345678") {
		t.Error("a number is not masked")
	}
	if wide := browsertest.Get[bool](p, "document.documentElement.scrollWidth > innerWidth"); wide {
		t.Error("the page is wider than the telephone")
	}
	p.Picture("small-light-en")
	quiet(t, p)
	for path, body := range map[string]string{"dead-letters/retry": `{letters: [{id: 'x', sequence: 1}]}`, "numbers": `{show: true}`} {
		script := fmt.Sprintf("fetch('/console/api/%s', {method: 'POST', body: JSON.stringify(%s)}).then((a) => a.status)", path, body)
		if got := browsertest.Get[int](p, script); got != 403 {
			t.Errorf("%s answers %d, want 403", path, got)
		}
	}
}

// TestTheConsoleIsAccessible has axe-core look at every view, in both languages and
// colour schemes.
func TestTheConsoleIsAccessible(t *testing.T) {
	source, err := os.ReadFile(filepath.Join("..", "..", "internal", "console", "axe", "node_modules", "axe-core", "axe.min.js"))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip("axe-core is missing: npm ci --prefix internal/console/axe")
	}
	b := browsertest.Start(t)
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, consoleConfig(consoleToken, ""), lq))
	for _, look := range []browsertest.Look{{}, {Language: "zh-CN", Dark: true}, {Width: 390, Height: 844}} {
		name := fmt.Sprintf("%+v", look)
		check := func(p *browsertest.Page, view string) {
			t.Helper()
			browsertest.Get[*string](p, string(source)+"; null")
			for _, v := range browsertest.Get[[]string](p, `axe.run(document, {resultTypes: ['violations']}).then(({violations}) =>
				violations.map((v) => v.id + ': ' + v.help + ': ' + v.nodes.map((n) => n.target.join(' ') + ' ' + n.any.map((a) => a.message).join()).join('; ')))`) {
				t.Errorf("%s, %s: %s", name, view, v)
			}
		}
		p := b.Open(d.admin.URL(), look)
		p.Wait("document.querySelector('#token')?.checkVisibility()")
		check(p, "log-in")
		p.Type("#token", consoleToken)
		p.Click("#form button")
		p.Wait("document.body?.dataset.ready")
		tile(p, "801", "connected")
		ring(t, lq, "801", popString("013812345678", 1))
		ring(t, lq, "801", "no pop at all")
		if err := lq.Refuse(true); err != nil {
			t.Fatal(err)
		}
		if err := lq.Reset("802"); err != nil {
			t.Fatal(err)
		}
		p.Wait("document.querySelector('#event-rows .pop') && document.querySelector('#letter-rows button') && document.querySelector('#problems').checkVisibility()")
		browsertest.Get[*string](p, "document.querySelector('#rate-table').open = true; null")
		check(p, "console")
		p.Click("#event-rows tr:has(.pop) button")
		p.Wait("document.querySelector('#parts')")
		check(p, "an event")
		p.Click("#dialog-close")
		p.Click("#log-out")
		p.Wait("location.pathname === '/console/login'")
		if err := lq.Refuse(false); err != nil {
			t.Fatal(err)
		}
		if err := lq.WaitSessions(patient(t), 3); err != nil {
			t.Fatal(err)
		}
	}
}

// TestTheConsoleSurvivesARestart: the page says that the connector is away, and goes on
// with the next one where no log-in is needed.
func TestTheConsoleSurvivesARestart(t *testing.T) {
	b := browsertest.Start(t)
	lq := startSimulator(t, lqsim.Options{})
	file := writeConfig(t, strings.Replace(consoleConfig("", ""), "127.0.0.1:0", freeAddress(t), 1), lq)
	d := start(t, file)
	p := b.Open(d.admin.URL(), browsertest.Look{})
	tile(p, "801", "connected")
	ring(t, lq, "801", popString("013812345678", 1))
	p.Wait("document.querySelector('#tiles .pop').innerText.includes('5678')")
	began := time.Now()
	if err := d.end(); err != nil {
		t.Fatal(err)
	}
	t.Logf("stopped within %v beside an open console", time.Since(began))
	p.Wait("document.querySelector('#away').checkVisibility()")
	start(t, file)
	p.Wait("!document.querySelector('#away').checkVisibility()")
	tile(p, "801", "connected")
	// What was before is read from the spool.
	p.Wait("document.querySelector('#tiles .pop').innerText.includes('5678') && document.querySelector('#rate-hour').innerText === '1'")
}

func TestTheDemosConsoleIsAlive(t *testing.T) {
	b := browsertest.Start(t)
	var stderr outputtest.Output
	stop, ended := make(chan struct{}), make(chan int, 1)
	go func() {
		ended <- run(context.Background(), world{
			args: []string{"demo", "--agents", "20", "--rate", "10"}, stdin: strings.NewReader(""), stdout: &outputtest.Output{}, stderr: &stderr, stop: stop,
		})
	}()
	defer func() {
		close(stop)
		if code := <-ended; code != exitGood {
			t.Errorf("the demo ended with %d: %s", code, &stderr)
		}
	}()
	address := regexp.MustCompile(`http://\S+/console/login#token=\S+`)
	eventually(t, "the demo prints the console's address", func() bool { return address.MatchString(stderr.String()) })
	p := b.Open(address.FindString(stderr.String()), browsertest.Look{Height: 1100, Width: 1280})
	p.Wait("document.querySelectorAll('#tiles .connected').length >= 20 && Number(document.querySelector('#rate-hour').innerText) > 20")
	before := browsertest.Get[int](p, "Number(document.querySelector('#rate-hour').innerText)")
	p.Wait(fmt.Sprintf("Number(document.querySelector('#rate-hour').innerText) > %d", before))
	if at := browsertest.Get[string](p, "location.href"); strings.Contains(at, "token") {
		t.Errorf("the token stays in the address: %s", at)
	}
	p.Picture("demo-console-light-en")
	quiet(t, p)
}

// TestTheWallHoldsThousandsOfAgents pages, finds and filters, and follows one of them.
func TestTheWallHoldsThousandsOfAgents(t *testing.T) {
	if testing.Short() {
		t.Skip("1500 agents are not short")
	}
	const agents = 1500
	b := browsertest.Start(t)
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, strings.NewReplacer("801-803", fmt.Sprintf("10001-%d", 10000+agents), "200ms", "20s").Replace(consoleConfig("", "")), lq))
	if err := lq.WaitSessions(patient(t), agents); err != nil {
		t.Fatal(err)
	}
	p := b.Open(d.admin.URL(), browsertest.Look{Height: 1500, Width: 1280})
	p.Wait("document.querySelector('#summary').innerText === '1,500 of 1,500 connected'")
	if got := p.Text("#place"); got != "1–200 of 1,500" {
		t.Errorf("the first page is %q", got)
	}
	if n := browsertest.Get[int](p, "document.querySelectorAll('#tiles li').length"); n != 200 {
		t.Errorf("%d tiles on a page", n)
	}
	p.Press("#next", "Enter")
	if got := p.Text("#place"); got != "201–400 of 1,500" {
		t.Errorf("the second page is %q", got)
	}
	if got := p.Text("#tiles b"); got != "10201" {
		t.Errorf("the second page begins with %s", got)
	}
	p.Picture("many-light-en")
	if err := lq.Refuse(true); err != nil {
		t.Fatal(err)
	}
	if err := lq.Reset("11499"); err != nil {
		t.Fatal(err)
	}
	p.Wait("document.querySelector('#summary').innerText === '1,499 of 1,500 connected, 1 in trouble'")
	browsertest.Get[*string](p, "document.querySelector('#only-state').value = 'trouble'; document.querySelector('#only-state').dispatchEvent(new Event('input')); null")
	if got := p.Text("#tiles b"); got != "11499" {
		t.Errorf("in trouble is %q", got)
	}
	browsertest.Get[*string](p, "document.querySelector('#only-state').value = ''; document.querySelector('#only-state').dispatchEvent(new Event('input')); null")
	p.Type("#find", "10777")
	if got := p.Text("#tiles"); !strings.HasPrefix(got, "10777") || browsertest.Get[int](p, "document.querySelectorAll('#tiles li').length") != 1 {
		t.Errorf("found %q", got)
	}
	// What the page costs each second, when nothing happens.
	size := browsertest.Get[int](p, `(async () => {
		const all = await fetch('/console/api/state').then((a) => a.json())
		let {run, version} = all
		for (;;) {
			const text = await fetch('/console/api/state?run=' + run + '&after=' + version).then((a) => a.text())
			const next = JSON.parse(text)
			if (!next.more && next.version === version) return text.length
			version = next.version
		}
	})()`)
	t.Logf("an answer without news has %d bytes", size)
	if size > 4<<10 {
		t.Errorf("an answer without news has %d bytes", size)
	}
	quiet(t, p)
}

func TestTheConsoleNeedsNoMouse(t *testing.T) {
	b := browsertest.Start(t)
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, consoleConfig("", ""), lq))
	p := b.Open(d.admin.URL(), browsertest.Look{})
	tile(p, "803", "connected")
	focus := func() string {
		return browsertest.Get[string](p, "document.activeElement.id || document.activeElement.className || document.activeElement.innerText")
	}
	p.Press("", "Tab")
	if got := focus(); got != "skip" {
		t.Errorf("the first stop is %q", got)
	}
	p.Press("", "Enter")
	p.Wait("document.activeElement.id === 'agents'")
	var stops []string
	for range 6 {
		p.Press("", "Tab")
		stops = append(stops, strings.Fields(focus())[0])
	}
	if got, want := strings.Join(stops, " "), "find only-state only-server 801 802 803"; got != want {
		t.Errorf("the stops are %s, want %s", got, want)
	}
	// The tile keeps the focus while the wall changes under it.
	ring(t, lq, "803", popString("013812345678", 1))
	ring(t, lq, "801", strings.Replace(popString("013812345678", 1), "op=801", "op=100", 1))
	tile(p, "100", "none")
	p.Wait("document.querySelectorAll('#event-rows .pop').length === 2")
	if got := focus(); !strings.HasPrefix(got, "803") {
		t.Errorf("the focus went to %q", got)
	}
	p.Press("", "Enter")
	p.Wait("document.querySelector('#dialog').open && document.querySelector('#dialog tbody button')")
	p.Press("#dialog tbody button", "Enter")
	p.Wait("document.querySelector('#dialog-back').checkVisibility()")
	p.Press("", "Escape")
	p.Wait("!document.querySelector('#dialog').open")
	if got := focus(); !strings.HasPrefix(got, "803") {
		t.Errorf("after the dialogue the focus is at %q", got)
	}
	quiet(t, p)
}
