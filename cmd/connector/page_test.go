package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/callpop/connector/internal/browsertest"
	"github.com/callpop/connector/internal/feed"
	"github.com/callpop/connector/internal/secret"
	"github.com/callpop/connector/source/lqsim"
)

const testKey = "a signing key of the tests, longer than it has to be"

// crm is a CRM: its pages say which customer they were opened for.
type crm struct {
	*httptest.Server
	mu     sync.Mutex
	opened []string // guarded by mu; the queries of /customer
}

func startCRM(t *testing.T) *crm {
	c := &crm{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/customer" {
			c.mu.Lock()
			c.opened = append(c.opened, r.URL.RawQuery)
			c.mu.Unlock()
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!doctype html><link rel=icon href=data:,><title>CRM</title><h1>CRM</h1>")
	}))
	t.Cleanup(c.Close)
	return c
}

func (c *crm) queries() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.opened)
}

// feedConfig serves agents 801 and 802 to pages; more goes under feed.
func feedConfig(public, more string) string {
	return fmt.Sprintf(`
sources:
  - {name: hq, type: session, address: "{LQ}", agents: ["801", "802"], registration: 'op={{.Agent}},ch={{.Channel}};', area_code: "025", dial_rate: 1000, reconnect_interval: 200ms}
spool: {dir: "{DIR}", min_free: 0}
http: {health: "", public: %q}
feed:
  signing_key: %q
%s`, public, testKey, more)
}

func tokenFor(t *testing.T, agent string) string {
	t.Helper()
	token, err := feed.Sign(secret.New(testKey), "hq", agent, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func popString(number string, sn int) string {
	return fmt.Sprintf("H=t1v5,ch=2,ph=%s,ty=1,tm=%s,op=801,sn=%d,so=0,mb=VIP-77,da=order:3333|score:4444,dm=1;2;",
		number, time.Now().In(time.FixedZone("", 8*3600)).Format("060102150405"), sn)
}

func ring(t *testing.T, lq *lqsim.Server, agent, text string) {
	t.Helper()
	if err := lq.Send(agent, []byte(text)); err != nil {
		t.Fatal(err)
	}
}

// live opens an agent's page and waits until its feed is open.
func live(b *browsertest.Browser, base, agent, token string, look browsertest.Look) *browsertest.Page {
	p := b.Open(base+pagePath("hq", agent)+"#token="+token, look)
	p.Wait("document.querySelector('#feed.live') && document.querySelector('#session.connected')")
	return p
}

func quiet(t *testing.T, p *browsertest.Page) {
	t.Helper()
	if said := p.Errors(); len(said) > 0 {
		t.Errorf("the page's console: %q", said)
	}
}

func TestAPopReachesTheAgentsPageAndOpensTheCRM(t *testing.T) {
	b := browsertest.Start(t)
	crm := startCRM(t)
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, feedConfig("127.0.0.1:0", fmt.Sprintf("  page: {open: %q}",
		crm.URL+"/customer?phone={customer.number}&member={ivr.member}&name={ivr.fields.name}&none={ivr.fields.none}")), lq))
	p := live(b, d.public.URL(), "801", tokenFor(t, "801"), browsertest.Look{})
	if address := browsertest.Get[string](p, "location.href"); strings.Contains(address, "token") {
		t.Errorf("the token stays in the address: %s", address)
	}
	p.Picture("waiting-light-en")

	sent := time.Now()
	ring(t, lq, "801", "H=t1v5,ch=2,ph=013812345678,ty=5,tm=080711175931,op=801,sn=1234,so=802,mb=VIP 7&7,da=name:<script>alert(1)</script>|order:3333,dm=1;2;")
	p.Wait("document.querySelector('#number').innerText")
	t.Logf("from the LQ server's socket to the screen: %v", time.Since(sent))
	if got, want := p.Text("#number"), "0138 1234 5678"; got != want {
		t.Errorf("the number is %q, want %q", got, want)
	}
	if got, want := p.Text("#mode"), "Inbound, transferred"; got != want {
		t.Errorf("the kind is %q, want %q", got, want)
	}
	for _, want := range []string{"1234", "VIP 7&7", "<script>alert(1)</script>", "1;2", "802"} {
		if got := p.Text("#call"); !strings.Contains(got, want) {
			t.Errorf("the page says %q, without %q", got, want)
		}
	}
	if n := browsertest.Get[int](p, "document.querySelectorAll('#call script, #recent script').length"); n != 0 {
		t.Errorf("%d scripts came from an IVR", n)
	}

	// A browser opens no window by itself until somebody allows it or has clicked.
	if got := p.Text("#notice"); !strings.Contains(got, "blocked") {
		t.Errorf("where the browser blocks windows, the page says %q", got)
	}
	p.Click("#open")
	want := crm.URL + "/customer?phone=013812345678&member=VIP%207%267&name=%3Cscript%3Ealert(1)%3C%2Fscript%3E&none="
	if got := b.Popup(crm.URL); got != want {
		t.Errorf("the CRM's window is at %s, want %s", got, want)
	}
	p.Wait("!document.querySelector('#notice').innerText")
	p.Picture("call-light-en")
	// From here on the window is there, and pops lead it on without a click.
	before := b.Pages()
	ring(t, lq, "801", popString("02586307627", 1235))
	p.Wait("document.querySelector('#number').innerText === '02586307627'")
	eventually(t, "the CRM's page of the next customer", func() bool { return len(crm.queries()) == 2 })
	if got := crm.queries()[1]; got != "phone=02586307627&member=VIP-77&name=&none=" {
		t.Errorf("the second page is of %q", got)
	}
	if after := b.Pages(); after != before {
		t.Errorf("%d windows after the second pop, %d before", after, before)
	}
	// Another agent's page is not told.
	ring(t, lq, "802", strings.Replace(popString("02500000000", 1236), "op=801", "op=802", 1))
	ring(t, lq, "801", popString("02586307627", 1237))
	p.Wait("document.querySelectorAll('#recent li').length === 3")
	if got := p.Text("#recent"); strings.Contains(got, "02500000000") {
		t.Errorf("agent 801's page shows a pop of 802: %q", got)
	}
	if got := browsertest.Get[int](p, "document.querySelectorAll('#history li').length"); got != 1 {
		t.Errorf("%d earlier calls of the customer are shown, want 1", got)
	}
	p.Picture("history-light-en")
	p.Click("#language")
	if got := p.Text("#call"); !strings.Contains(got, "该客户此前的来电") {
		t.Errorf("after the change of language the page says %q", got)
	}
	quiet(t, p)
}

func TestAnAgentsPageSpeaksChineseInTheDarkAndOnATelephone(t *testing.T) {
	b := browsertest.Start(t)
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, feedConfig("127.0.0.1:0", ""), lq))
	p := live(b, d.public.URL(), "801", tokenFor(t, "801"), browsertest.Look{Language: "zh-CN", Dark: true})
	if got, want := p.Text("#waiting"), "等待来电"; !strings.Contains(got, want) {
		t.Errorf("the page says %q, without %q", got, want)
	}
	ring(t, lq, "801", popString("013812345678", 1))
	ring(t, lq, "801", popString("013812345678", 2))
	p.Wait("document.querySelectorAll('#recent li').length === 2")
	for selector, want := range map[string]string{"#mode": "呼入", "#feed": "在线", "#session": "小灵呼已连接", "#call": "会员号"} {
		if got := p.Text(selector); !strings.Contains(got, want) {
			t.Errorf("%s says %q, without %q", selector, got, want)
		}
	}
	if got := browsertest.Get[string](p, "document.documentElement.lang"); got != "zh-CN" {
		t.Errorf("the page's language is %q", got)
	}
	p.Picture("call-dark-zh")
	quiet(t, p)
	small := live(b, d.public.URL(), "801", tokenFor(t, "801"), browsertest.Look{Width: 390, Height: 844})
	small.Wait("document.querySelectorAll('#recent li').length === 2")
	if wide := browsertest.Get[bool](small, "document.documentElement.scrollWidth > innerWidth"); wide {
		t.Error("the page is wider than the telephone")
	}
	small.Picture("call-small")
	quiet(t, small)
}

func TestAnAgentsPageSurvivesRestartsAndReloadsWithEachPopOnce(t *testing.T) {
	b := browsertest.Start(t)
	lq := startSimulator(t, lqsim.Options{})
	file := writeConfig(t, feedConfig(freeAddress(t), ""), lq)
	d := start(t, file)
	base := d.public.URL()
	p := live(b, base, "801", tokenFor(t, "801"), browsertest.Look{})
	// What popped is noted where a reload does not forget it.
	note := "document.addEventListener('callpop', (e) => { sessionStorage.popped = (sessionStorage.popped ?? '') + e.detail.call.sn + ' ' })"
	browsertest.Get[*string](p, note+"; null")
	sn := 100
	var want string
	next := func(n int) {
		for range n {
			sn++
			ring(t, lq, "801", popString(fmt.Sprintf("0138%08d", sn), sn))
			want += fmt.Sprint(sn, " ")
		}
	}
	all := func() {
		t.Helper()
		p.Wait(fmt.Sprintf("sessionStorage.popped?.length >= %d", len(want)))
		// Only pops of one call have an order.
		got := strings.Fields(browsertest.Get[string](p, "sessionStorage.popped"))
		slices.Sort(got)
		if !slices.Equal(got, strings.Fields(want)) {
			t.Fatalf("popped %q, want %q", got, want)
		}
	}
	next(3)
	all()
	for range 2 {
		if err := d.end(); err != nil {
			t.Fatal(err)
		}
		p.Wait("document.querySelector('#feed.waiting')")
		d = start(t, file)
		if err := lq.WaitSessions(patient(t), 2); err != nil {
			t.Fatal(err)
		}
		next(3) // before or after the page is back: both have to do
		all()
	}
	p.Wait("document.querySelector('#feed.live')")
	for _, line := range p.Errors() {
		// The browser itself says that nobody listened while the connector was away.
		if !strings.Contains(line, "net::ERR_") {
			t.Errorf("the page's console: %s", line)
		}
	}
	// While a reload is under way, pops go on. What the tab has seen is not popped
	// again; the list is as long as before and has the new ones.
	p.Navigate("about:blank")
	next(2)
	p.OnLoad(note)
	p.Navigate(base + pagePath("hq", "801"))
	p.Wait("document.querySelectorAll('#recent li').length === 11")
	all()
	if got := p.Text("#number"); !strings.HasPrefix(got, "0138 0000 01") {
		t.Errorf("after the reload the page shows %q", got)
	}
	quiet(t, p)
}

func TestTheFrameShowsTheCRMAndAWrongTokenIsSaid(t *testing.T) {
	b := browsertest.Start(t)
	crm := startCRM(t)
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, feedConfig("127.0.0.1:0", fmt.Sprintf("  page: {open: %q, in: frame}", crm.URL+"/customer?phone={customer.e164}")), lq))
	p := b.Open(d.public.URL()+pagePath("hq", "801"), browsertest.Look{})
	p.Wait("document.querySelector('#login').checkVisibility()")
	p.Picture("login-light-en")
	p.Type("#token", tokenFor(t, "802"))
	p.Click("#login button")
	p.Wait("document.querySelector('#refused').innerText")
	if got, want := p.Text("#refused"), `this token is for agent "802" of server "hq"`; got != want {
		t.Errorf("the page says %q, want %q", got, want)
	}
	p.Picture("refused-light-en")
	p.Errors() // the browser notes the 403
	p.Type("#token", tokenFor(t, "801"))
	p.Click("#login button")
	p.Wait("document.querySelector('#session.connected')")
	ring(t, lq, "801", popString("013812345678", 1))
	eventually(t, "the CRM in its frame", func() bool { return len(crm.queries()) > 0 })
	if got, want := crm.queries()[0], "phone="+url.QueryEscape("+8613812345678"); got != want {
		t.Errorf("the frame is at %q, want %q", got, want)
	}
	p.Wait("document.querySelector('#number').innerText")
	if n := b.Pages(); n != 2 { // the browser's own and this one
		t.Errorf("%d windows, want no more than the page", n)
	}
	p.Picture("frame-light-en")
	quiet(t, p)
}

func TestAPageOfAnotherOriginReadsOnlyWhereItIsAllowed(t *testing.T) {
	b := browsertest.Start(t)
	allowed, other := startCRM(t), startCRM(t)
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, feedConfig("127.0.0.1:0", fmt.Sprintf("  allow_origins: [%q]", allowed.URL)), lq))
	if err := lq.WaitSessions(patient(t), 2); err != nil {
		t.Fatal(err)
	}
	feedURL := d.public.URL() + "/v1/servers/hq/agents/801/pops"
	read := fmt.Sprintf(`(async () => {
		const headers = {Authorization: 'Bearer %s'}
		const tried = []
		for (const [method, what] of [['GET', ''], ['GET', '/latest'], ['POST', '/ticket']]) {
			tried.push(await fetch('%s' + what, {method, headers}).then((a) => { a.body.cancel(); return a.status }, () => 'blocked'))
		}
		return tried.join(' ')
	})()`, tokenFor(t, "801"), feedURL)
	stranger := b.Open(other.URL, browsertest.Look{})
	if got := browsertest.Get[string](stranger, read); got != "blocked blocked blocked" {
		t.Errorf("a page of another origin: %s", got)
	}
	friend := b.Open(allowed.URL, browsertest.Look{})
	if got := browsertest.Get[string](friend, read); got != "200 200 201" {
		t.Errorf("a page that is allowed: %s", got)
	}

	// The allowed page uses the script, and an EventSource with a ticket, once.
	browsertest.Get[bool](friend, fmt.Sprintf(`new Promise((loaded) => {
		document.head.append(Object.assign(document.createElement('script'), {src: '%s/callpop.js', onload: () => loaded(true)}))
	})`, d.public.URL()))
	browsertest.Get[bool](friend, fmt.Sprintf(`(async () => {
		window.popped = []
		window.feed = CallPop.connect({server: 'hq', agent: '801', token: async () => '%s', onPop: (pop) => popped.push(pop.call.sn)})
		const answer = await fetch('%s/ticket', {method: 'POST', headers: {Authorization: 'Bearer %[1]s'}})
		const {ticket} = await answer.json()
		window.url = '%[2]s?ticket=' + ticket
		window.source = new EventSource(url)
		source.addEventListener('pop', (e) => popped.push(JSON.parse(e.data).call.sn + ' ' + e.lastEventId.length))
		await new Promise((ready) => source.addEventListener('ready', ready))
		return true
	})()`, tokenFor(t, "801"), feedURL))
	friend.Wait("feed.state.feed === 'live'")
	ring(t, lq, "801", popString("013812345678", 7))
	friend.Wait("popped.length === 2")
	if got := browsertest.Get[string](friend, "popped.sort().join()"); got != "7,7 41" {
		t.Errorf("the page's scripts saw %q", got)
	}
	if got := browsertest.Get[int](friend, "fetch(url).then((a) => a.status)"); got != http.StatusUnauthorized {
		t.Errorf("a ticket that was used answers %d", got)
	}
	browsertest.Get[*string](friend, "source.close(); feed.close(); null")
}
