package callback

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
)

func readResponse(t testing.TB, conn net.Conn) *http.Response {
	t.Helper()
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response
}

func TestTheManualsAddressBecomesAnEvent(t *testing.T) {
	r := newRig(t, nil)
	response := get(t, r.url+"?"+manualsExample)
	if response.StatusCode != http.StatusNoContent || response.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("answered %s %v", response.Status, response.Header)
	}
	p := decodePop(t, r.await(t, 1)[0])
	if p.Agent != (schema.Agent{ID: "801", Channel: "8"}) || p.Customer.E164 != "+862586307627" || p.IVR.Keys != "1;2" ||
		p.Call.ID != "5646464652668" || p.Key != "hq/5646464652668" || p.Format != schema.Callback ||
		p.Raw != manualsExample || p.Source != (schema.Source{Type: "callback", Name: "pages"}) {
		t.Errorf("got %+v", p)
	}
	// Its two times disagree: startTime counts, datetime is kept.
	if p.Call.StartedAt.UnixMilli() != 564646465266 || p.Extra["datetime"] != "080201153059" {
		t.Errorf("started %v, extra %v", p.Call.StartedAt, p.Extra)
	}
}

func TestOddQueriesBecomeWhatTheySay(t *testing.T) {
	for _, c := range []struct {
		name, query string
		want        func(*schema.CallPop) bool
	}{
		{"percent-encoded GBK", "phone=02586307627&oper=801&name=%D5%C5%C8%FD", func(p *schema.CallPop) bool {
			return p.Extra["name"] == "张三"
		}},
		{"raw GBK", "phone=02586307627&oper=801&name=\xD5\xC5\xC8\xFD", func(p *schema.CallPop) bool {
			return p.Extra["name"] == "张三" && strings.Contains(p.Raw, "张三") && p.RawBase64 == ""
		}},
		{"no phone", "oper=801&ch=8&id=5646464652668", func(p *schema.CallPop) bool {
			return p.Customer == (schema.Customer{}) && p.Agent.ID == "801"
		}},
		{"an empty phone", "phone=&oper=801&id=5", func(p *schema.CallPop) bool { return p.Customer.Number == "" && p.Call.ID == "5" }},
		{"a phone twice", "phone=10086&phone=95588&id=5", func(p *schema.CallPop) bool {
			return p.Customer.Number == "10086" && p.Extra["phone"] == "95588"
		}},
		{"t1v1: no id", "phone=10086&oper=801&ch=8&outch=2&startTime=1208674344953", func(p *schema.CallPop) bool {
			return p.Call.ID == "12086743449532" && p.Call.IDDerived && p.Call.Line == "2"
		}},
		{"a second question mark", "?phone=10086&id=5", func(p *schema.CallPop) bool { return p.Customer.Number == "10086" }},
		{"unknown parameters", "phone=10086&_data_=meb_id:2222|x&id=5", func(p *schema.CallPop) bool {
			return p.Extra["_data_"] == "meb_id:2222|x"
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, nil)
			response := raw(t, r.source.Addr().String(), "GET /pop?"+c.query+" HTTP/1.1\r\nHost: connector\r\nConnection: close\r\n\r\n")
			if response.StatusCode != http.StatusNoContent {
				t.Errorf("answered %s", response.Status)
			}
			if p := decodePop(t, r.await(t, 1)[0]); !c.want(&p) {
				t.Errorf("got %+v", p)
			}
		})
	}
}

func TestTheSameCallHasOneIdOverSocketAndCallback(t *testing.T) {
	st := newStore()
	in := startIntake(t, st.emit, &logged{})
	s, err := newSource(testConfig(nil), Options{Intake: in, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	socket := &source.Origin{Type: "session", Name: "hq", Server: "hq", Agent: "801", Channel: source.FindChannel, Decoding: s.origin.Decoding}
	in.Pop(socket, time.Now(), []byte("H=t1v2,ch=2,ph=86307627,id=12157703713752,tm=080711175931,dm=0;"))
	direct(s, http.MethodGet, "/pop?phone=86307627&oper=801&ch=8&outch=2&startTime=1215770371375&datetime=080711175931&id=12157703713752&dtmf=", nil)
	// The manual's t1v1 callback has no id: it is derived, and the same.
	direct(s, http.MethodGet, "/pop?phone=86307627&oper=801&ch=8&outch=2&startTime=1215770371375", nil)
	for _, e := range st.await(t, 3) {
		if p := decodePop(t, e); p.Call.ID != "12157703713752" || p.Key != "hq/12157703713752" {
			t.Errorf("%s: call %+v, key %s", p.Source.Type, p.Call, p.Key)
		}
	}
}

func TestAFormIsReadAsAQuery(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name, query, kind, body, want string
	}{
		{"form", "", form, manualsExample, manualsExample},
		{"form with a character set", "", form + "; charset=GBK", manualsExample, manualsExample},
		{"without a type", "", "", manualsExample, manualsExample},
		{"ends with a line end", "", "text/plain", manualsExample + "\r\n", manualsExample},
		{"address and form", "?site=nj", form, manualsExample, "site=nj&" + manualsExample},
		{"address alone", "?" + manualsExample, form, "", manualsExample},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, func(c *Config) { c.Redirect = "https://crm.example/c?phone={{.Customer.Number}}" })
			response := do(t, http.MethodPost, r.url+c.query, c.kind, []byte(c.body))
			if response.StatusCode != http.StatusSeeOther || response.Header.Get("Location") != "https://crm.example/c?phone=02586307627" {
				t.Errorf("answered %s to %s", response.Status, response.Header.Get("Location"))
			}
			if p := decodePop(t, r.await(t, 1)[0]); p.Raw != c.want {
				t.Errorf("got %s, want %s", p.Raw, c.want)
			}
		})
	}
}

func TestWhatIsNoPopIsADeadLetterAndThePageOpensAllTheSame(t *testing.T) {
	r := newRig(t, func(c *Config) {
		c.Redirect = "https://crm.example/c?phone={{.Customer.Number}}&agent={{.Agent.ID}}"
	})
	garbage := strings.Repeat("x=%00&", 8<<10/6)
	long := "phone=10086&id=1&x=" + strings.Repeat("y", 10<<10)
	for i, query := range []string{"hello=world", "oper=801", garbage, long, "%%%&&&===;;;"} {
		response := get(t, r.url+"?"+query)
		if want := "https://crm.example/c?phone=&agent="; response.StatusCode != http.StatusFound || response.Header.Get("Location") != want {
			t.Errorf("query %d: answered %s to %s, want 302 to %s", i, response.Status, response.Header.Get("Location"), want)
		}
	}
	for _, e := range r.await(t, 5) {
		if e.Type != schema.TypeDeadLetter {
			t.Errorf("got a %s: %.200s", e.Type, e.Body)
		}
	}
}

func TestNothingIsKeptOfARequestThatBringsNothing(t *testing.T) {
	r := newRig(t, nil)
	for _, c := range []struct {
		method, query, kind string
		body                []byte
		want                int
	}{
		{http.MethodGet, "", "", nil, http.StatusNoContent},
		{http.MethodGet, "?", "", nil, http.StatusNoContent},
		{http.MethodHead, "?" + manualsExample, "", nil, http.StatusNoContent},
		{http.MethodOptions, "?" + manualsExample, "", nil, http.StatusNoContent},
		{http.MethodPut, "?" + manualsExample, "", nil, http.StatusMethodNotAllowed},
		{http.MethodDelete, "?" + manualsExample, "", nil, http.StatusMethodNotAllowed},
		{"BREW", "?" + manualsExample, "", nil, http.StatusMethodNotAllowed},
		{http.MethodPost, "", "application/json", []byte(`{"phone":"1"}`), http.StatusUnsupportedMediaType},
		{http.MethodPost, "", "application/x-www-form-urlencoded", make([]byte, maxQuery+1), http.StatusRequestEntityTooLarge},
		{http.MethodGet, "?" + strings.Repeat("x", maxQuery), "", nil, http.StatusRequestURITooLong},
		{http.MethodGet, "/phone=1", "", nil, http.StatusNotFound},
	} {
		response := do(t, c.method, r.url+c.query, c.kind, c.body)
		if response.StatusCode != c.want {
			t.Errorf("%s %.30s: answered %s, want %d", c.method, c.query, response.Status, c.want)
		}
		if response.StatusCode == http.StatusMethodNotAllowed && response.Header.Get("Allow") != methods {
			t.Errorf("%s: Allow is %q", c.method, response.Header.Get("Allow"))
		}
	}
	endless := "GET /pop?" + manualsExample + " HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", maxHeader+8<<10) + "\r\n\r\n"
	if response := raw(t, r.source.Addr().String(), endless); response.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("endless headers: answered %s", response.Status)
	}
	get(t, r.url+"?"+manualsExample)
	if events := r.await(t, 1); len(events) != 1 {
		t.Errorf("%d events stored, want the last request's alone", len(events))
	}
}

func TestAMissingQuestionMarkIsGuessed(t *testing.T) {
	r := newRig(t, nil)
	response := get(t, r.url+manualsExample)
	body := make([]byte, 200)
	n, _ := response.Body.Read(body)
	if response.StatusCode != http.StatusNotFound || !strings.Contains(string(body[:n]), "question mark") {
		t.Errorf("answered %s: %s", response.Status, body[:n])
	}
	if log := r.log.String(); !strings.Contains(log, "question mark") || strings.Contains(log, "86307627") {
		t.Errorf("logged %q", log)
	}
}

func TestThePageOpensAfterThreeMillisecondsOfAStuckLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		st := newStore()
		st.before = func(context.Context) error {
			<-free
			return nil
		}
		log := &logged{}
		in := startIntake(t, st.emit, log)
		s, err := newSource(testConfig(func(c *Config) {
			c.Redirect = "https://crm.example/{{.Call.ID}}"
		}), Options{Intake: in, Logger: slog.New(slog.NewTextHandler(log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			begun := time.Now()
			w := direct(s, http.MethodGet, "/pop?"+manualsExample, nil)
			if took := time.Since(begun); took != patience || w.Code != http.StatusFound {
				t.Errorf("answered %d after %v, want 302 after %v", w.Code, took, patience)
			}
		}
		if got := strings.Count(log.String(), "answered before their pops are stored"); got != 1 {
			t.Errorf("said %d times that it does not wait, want once: %s", got, log)
		}
		close(free)
		synctest.Wait()
		begun := time.Now()
		direct(s, http.MethodGet, "/pop?"+manualsExample, nil)
		if took := time.Since(begun); took != 0 {
			t.Errorf("a log that takes events at once cost the page %v", took)
		}
		if got := len(st.await(t, 3)); got != 3 {
			t.Errorf("%d events stored, want 3", got)
		}
		if !strings.Contains(log.String(), "stored again") {
			t.Errorf("logged %s", log)
		}
	})
}

func TestAThousandRequestsAtOnceAreAllStored(t *testing.T) {
	r := newRig(t, nil)
	const clients, each = 20, 50
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			c := client()
			c.Transport = &http.Transport{}
			defer c.CloseIdleConnections()
			for j := range each {
				response, err := c.Get(fmt.Sprintf("%s?phone=10086&oper=8%02d&id=%d", r.url, i, 1+i*each+j))
				if err != nil {
					t.Error(err)
					return
				}
				_ = response.Body.Close()
				if response.StatusCode != http.StatusNoContent {
					t.Errorf("answered %s", response.Status)
				}
			}
		})
	}
	all.Wait()
	ids := map[string]bool{}
	for _, e := range r.await(t, clients*each) {
		ids[decodePop(t, e).Call.ID] = true
	}
	if len(ids) != clients*each {
		t.Errorf("%d different calls stored, want %d", len(ids), clients*each)
	}
}

func BenchmarkCallback(b *testing.B) {
	r := newRig(b, func(c *Config) { c.Redirect = "https://crm.example/c?phone={{.Customer.Number}}" })
	c := client()
	c.Transport = &http.Transport{}
	defer c.CloseIdleConnections()
	for b.Loop() {
		response, err := c.Get(r.url + "?" + manualsExample)
		if err != nil {
			b.Fatal(err)
		}
		_ = response.Body.Close()
	}
}
