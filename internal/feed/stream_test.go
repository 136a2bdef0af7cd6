package feed

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/schema"
)

// resumeOf is how a stream says that it goes on.
func resumeOf(t *testing.T, ready event) readyEvent {
	t.Helper()
	var r readyEvent
	if err := json.Unmarshal([]byte(ready.data), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAFeedHasItsAgentsPopsAsTheyAreStored(t *testing.T) {
	r := serve(t, t.TempDir(), nil)
	r.pop("801", 0)
	r.handedOut(1)
	s, ready := r.open("801")
	if got := resumeOf(t, ready); got.Resume != resumeNow || got.Server != "hq" || got.Agent != "801" || got.HeartbeatSeconds != 15 || got.MaxAgeSeconds != 120 {
		t.Errorf("ready is %+v", got)
	}
	r.pop("802", 0)
	want := r.pop("801", 0)
	e := s.next()
	records, err := r.spool.AgentEvents(t.Context(), line801, 0)
	if err != nil {
		t.Fatal(err)
	}
	stored := records[1]
	if e.name != "pop" || e.data != string(stored.Body) || e.id != stored.SpoolSequence || bodyID(e.data) != want {
		t.Errorf("got %+v, want %s %s", e, stored.SpoolSequence, stored.Body)
	}
}

func TestAFeedGoesOnAfterTheLastEventWithoutLossOrRepeat(t *testing.T) {
	dir := t.TempDir()
	r := serve(t, dir, nil)
	var want []string
	more := func(n int) {
		for range n {
			want = append(want, r.pop("801", 0))
			r.pop("802", 0)
		}
	}
	s, ready := r.open("801")
	s.last = ready.id // where nothing came yet, there is a place all the same
	var got []string
	for restart := range 3 {
		more(25) // more than one read of the spool gives
		got = append(got, s.pops(10)...)
		last := s.last
		_ = s.body.Close()
		more(40)
		if restart == 1 { // the connector too
			r.stop()
			r = serve(t, dir, nil)
		}
		s, ready = r.open("801", "Last-Event-ID", last)
		if got := resumeOf(t, ready); got.Resume != resumeExact || ready.id != last {
			t.Errorf("ready is %+v, %s", got, ready.id)
		}
		more(5)
		got = append(got, s.pops(len(want)-len(got))...)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %d pops, want %d: %q, %q", len(got), len(want), got, want)
	}
}

func TestAFeedThatSawNothingGoesOnFromWhereItWas(t *testing.T) {
	dir := t.TempDir()
	r := serve(t, dir, nil)
	r.pop("801", 0)
	r.handedOut(1)
	s, ready := r.open("801")
	_ = s.body.Close()
	want := r.pop("801", 0)
	r.stop()
	r = serve(t, dir, nil)
	s, _ = r.openURL(r.line("801")+"?last_event_id="+ready.id, "Authorization", "Bearer "+r.token("801"))
	if got := s.pops(1); got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOldPopsAreLateAndTheRecentPastCanBeAskedFor(t *testing.T) {
	r := serve(t, t.TempDir(), func(c *Config) { c.MaxSince = 2 * time.Hour })
	old, recent := r.pop("801", time.Hour), r.pop("801", time.Second)
	for _, since := range []string{"1h", "2000h", time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)} {
		s, ready := r.openURL(r.line("801")+"?since="+since, "Authorization", "Bearer "+r.token("801"))
		if got := resumeOf(t, ready); got.Resume != resumeSince || got.From == "" || ready.id != "" {
			t.Errorf("ready is %+v with id %q", got, ready.id)
		}
		if from, err := time.Parse(time.RFC3339Nano, resumeOf(t, ready).From); err != nil || time.Since(from) > 3*time.Hour {
			t.Errorf("since %s begins at %v, %v", since, from, err)
		}
		first, second := s.next(), s.next()
		if first.name != "late" || bodyID(first.data) != old || second.name != "pop" || bodyID(second.data) != recent {
			t.Errorf("since %s: got %+v and %+v", since, first, second)
		}
		live := r.pop("802", 0) // not ours
		want := r.pop("801", 0)
		if got := s.pops(1); got[0] != want || got[0] == live {
			t.Errorf("then %q, want %q", got, want)
		}
		r.stop()
		r = serve(t, t.TempDir(), func(c *Config) { c.MaxSince = 2 * time.Hour })
		old, recent = r.pop("801", time.Hour), r.pop("801", time.Second)
	}
	// What was seen last counts before since: an EventSource repeats its address.
	records, err := r.spool.AgentEvents(t.Context(), line801, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, ready := r.openURL(r.line("801")+"?since=1h", "Authorization", "Bearer "+r.token("801"), "Last-Event-ID", records[0].SpoolSequence)
	if got := resumeOf(t, ready); got.Resume != resumeExact {
		t.Errorf("ready is %+v", got)
	}
	if got := s.pops(1); got[0] != recent {
		t.Errorf("got %q, want %q", got, recent)
	}
}

func TestAPastWithoutPopsBringsNoOlderOnes(t *testing.T) {
	r := serve(t, t.TempDir(), nil)
	r.pop("801", 0)
	r.handedOut(1)
	for _, since := range []string{"0s", time.Now().Add(time.Hour).UTC().Format(time.RFC3339)} {
		s, _ := r.openURL(r.line("801")+"?since="+since, "Authorization", "Bearer "+r.token("801"))
		want := r.pop("801", 0)
		if got := s.pops(1); got[0] != want {
			t.Errorf("since %s: got %q, want %q", since, got, want)
		}
	}
}

func TestAPlaceOfAnotherSpoolBeginsWhenThatOneWasMadeAndSaysSo(t *testing.T) {
	other := serve(t, t.TempDir(), nil)
	place := position{other.spool.ID(), 17}
	r := serve(t, t.TempDir(), nil)
	want := []string{r.pop("801", 0), r.pop("801", 0)}
	for _, id := range []string{place.String(), position{r.spool.ID(), 1000}.String()} {
		s, ready := r.open("801", "Last-Event-ID", id)
		if got := resumeOf(t, ready); got.Resume != resumeOtherSpool || got.From == "" || ready.id != "" {
			t.Errorf("ready is %+v with id %q", got, ready.id)
		}
		if got := s.pops(2); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	// One that is made later begins later.
	r.handedOut(2)
	later := position{fmt.Sprintf("%012x%08x", time.Now().Add(time.Hour).UnixMilli(), 1), 1}
	s, ready := r.open("801", "Last-Event-ID", later.String())
	if got := resumeOf(t, ready); got.Resume != resumeOtherSpool {
		t.Errorf("ready is %+v", got)
	}
	next := r.pop("801", 0)
	if got := s.pops(1); got[0] != next {
		t.Errorf("got %q, want %q", got, next)
	}
}

func TestTheAgentsSessionComesFirstAndThenItsChanges(t *testing.T) {
	r := serve(t, t.TempDir(), nil)
	r.session("801", schema.Failed)
	r.session("801", schema.Connected)
	r.session("802", schema.Closed)
	s, _ := r.open("801")
	for _, want := range []schema.SessionState{schema.Connected, schema.Expired} {
		e := s.next()
		var got schema.SessionChanged
		if err := json.Unmarshal([]byte(e.data), &got); err != nil || e.name != "session" || e.id != "" || got.State != want || got.Agent != "801" {
			t.Errorf("got %+v, %v, want %s", e, err, want)
		}
		if want == schema.Connected {
			r.session("802", schema.Failed)
			r.session("801", schema.Expired)
		}
	}
}

func TestTheLatestPopsForAPageThatWasJustOpened(t *testing.T) {
	r := serve(t, t.TempDir(), nil)
	get := func(query string) (a latestAnswer) {
		t.Helper()
		status, body := r.answer(http.MethodGet, r.line("801")+"/latest"+query, "Authorization", "Bearer "+r.token("801"))
		if err := json.Unmarshal([]byte(body), &a); status != http.StatusOK || err != nil {
			t.Fatalf("%d %s: %v", status, body, err)
		}
		return a
	}
	if a := get(""); len(a.Pops) != 0 || a.Session != nil || a.Position != (position{r.spool.ID(), 0}).String() {
		t.Errorf("without pops: %+v", a)
	}
	var want []string
	for i := range 250 {
		want = append(want, r.pop("801", time.Duration(250-i)*time.Minute))
	}
	r.pop("802", 0)
	r.session("801", schema.Connected)
	if a := get(""); len(a.Pops) != 1 || bodyID(string(a.Pops[0].Pop)) != want[249] || a.Pops[0].Late || a.Session == nil {
		t.Errorf("the newest: %+v", a)
	}
	a := get("?since=8h")
	if len(a.Pops) != maxLatest || bodyID(string(a.Pops[0].Pop)) != want[249] || bodyID(string(a.Pops[199].Pop)) != want[50] || !a.Pops[199].Late {
		t.Errorf("of the last hours: %d pops, from %s to %s", len(a.Pops), a.Pops[0].ID, a.Pops[len(a.Pops)-1].ID)
	}
	// A stream goes on right after it.
	next := r.pop("801", 0)
	s, _ := r.open("801", "Last-Event-ID", a.Position)
	if got := s.pops(1); got[0] != next {
		t.Errorf("got %q, want %q", got, next)
	}
}

func TestAQuietFeedGivesSignsOfLife(t *testing.T) {
	r := serve(t, t.TempDir(), func(c *Config) { c.Heartbeat = time.Second })
	s, _ := r.open("801")
	timer := time.AfterFunc(2500*time.Millisecond, func() { r.pop("801", 0) })
	defer timer.Stop()
	s.pops(1)
	if s.comments < 1 {
		t.Error("no sign of life before the pop")
	}
}

func TestAQuietFeedOutlivesTheTimesOfItsListener(t *testing.T) {
	for _, version := range []int{1, 2} {
		r := serve(t, t.TempDir(), func(c *Config) { c.Heartbeat = time.Second })
		r.feed.writeTimeout = 200 * time.Millisecond
		server := httptest.NewUnstartedServer(r.feed.Handler())
		server.EnableHTTP2 = version == 2
		server.Config.ReadTimeout, server.Config.WriteTimeout, server.Config.IdleTimeout = 300*time.Millisecond, 300*time.Millisecond, 300*time.Millisecond
		server.StartTLS()
		defer server.Close()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/servers/hq/agents/801/pops", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+r.token("801"))
		response, err := server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		if response.ProtoMajor != version {
			t.Fatalf("HTTP/%d, want %d", response.ProtoMajor, version)
		}
		s := &events{t: t, body: response.Body, lines: bufio.NewScanner(response.Body)}
		s.next()
		timer := time.AfterFunc(2500*time.Millisecond, func() { r.pop("801", 0) })
		defer timer.Stop()
		s.pops(1)
		if s.comments < 2 {
			t.Errorf("HTTP/%d: %d signs of life", version, s.comments)
		}
		r.feed.Close()
	}
}

func TestAPeerThatTakesNothingIsCutOff(t *testing.T) {
	r := serve(t, t.TempDir(), nil)
	r.feed.writeTimeout = 100 * time.Millisecond
	stuck := r.request("GET", r.line("801"), "Authorization", "Bearer "+r.token("801")) // and is not read
	for i := range 60 {
		now := time.Now().UTC()
		r.emit(schema.Event{
			Type: schema.TypeCallPop, ID: schema.NewID(now), Key: fmt.Sprint("hq/", i), Server: "hq", Agent: "801", Time: now,
			Body: fmt.Appendf(nil, `{"id":"x","raw":%q}`, strings.Repeat("x", 500_000)),
		})
	}
	eventually(t, "the peer is cut off", func() bool {
		r.feed.hub.mu.Lock()
		defer r.feed.hub.mu.Unlock()
		return r.feed.hub.open == 0
	})
	_ = stuck.Body.Close()
}

func TestAReaderThatIsTooSlowGoesOnFromTheSpool(t *testing.T) {
	r := serve(t, t.TempDir(), nil)
	s, _ := r.open("801")
	fast, _ := r.open("801")
	// A queue that is full before the stream looks at it, as behind a slow peer.
	r.feed.hub.mu.Lock()
	q := r.feed.hub.queues[agentKey{"hq", "801"}][0]
	q.behind = true
	r.feed.hub.mu.Unlock()
	var want []string
	for range 100 {
		want = append(want, r.pop("801", 0))
	}
	if got := fast.pops(100); !slices.Equal(got, want) {
		t.Errorf("the fast one got %q", got)
	}
	if got := s.pops(100); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAQueueIsBounded(t *testing.T) {
	r := serve(t, t.TempDir(), nil)
	q, _, err := r.feed.hub.join(agentKey{"hq", "801"}, 10, 10)
	if err != nil {
		t.Fatal(err)
	}
	defer r.feed.hub.leave(q)
	for range 200 {
		r.pop("801", 0)
	}
	r.handedOut(200)
	r.feed.hub.mu.Lock()
	defer r.feed.hub.mu.Unlock()
	if q.bytes > queueBytes || !q.behind && len(q.records) < 20 {
		t.Errorf("%d records of %d bytes wait, behind: %v", len(q.records), q.bytes, q.behind)
	}
}

func TestTheFeedEndsItsStreamsWhenItCloses(t *testing.T) {
	r := serve(t, t.TempDir(), nil)
	var open []*events
	for range 5 {
		s, _ := r.open("801")
		open = append(open, s)
	}
	r.feed.Close()
	for _, s := range open {
		if _, err := s.read(); err == nil || strings.Contains(err.Error(), "unexpected") {
			t.Errorf("the stream ended with %v, want its proper end", err)
		}
	}
	if status, body := r.answer(http.MethodGet, r.line("801"), "Authorization", "Bearer "+r.token("801")); status != http.StatusServiceUnavailable {
		t.Errorf("a closed feed answers %d %s", status, body)
	}
	r.feed.Close()
}

func TestABodyCannotForgeAnEvent(t *testing.T) {
	s := stream{}
	s.event("pop", "x-1", []byte("{\"a\":\r\n1}\n\nevent: pop\rdata: forged"))
	lines := strings.Split(s.buffer.String(), "\n")
	for i, line := range lines[2 : len(lines)-2] {
		if !strings.HasPrefix(line, "data: ") || strings.Contains(line, "\r") {
			t.Errorf("line %d is %q", i, line)
		}
	}
}
