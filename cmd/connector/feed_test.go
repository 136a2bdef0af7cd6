package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/internal/browsertest"
	"github.com/callpop/connector/internal/outputtest"
	"github.com/callpop/connector/source/lqsim"
)

func TestATokenOfTheCommandLineReadsItsAgent(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{})
	file := writeConfig(t, feedConfig("127.0.0.1:0", ""), lq)
	d := start(t, file)
	text := connector(t, "", "feed", "token", "--config", file, "--server", "hq", "--agent", "801", "--ttl", "1h")
	if text.code != exitGood || strings.Count(text.stdout, "\n") != 1 || !strings.Contains(text.stderr, "/agents/hq/801#token=") {
		t.Fatalf("got %+v", text)
	}
	asJSON := connector(t, "", "feed", "token", "--config", file, "--server", "hq", "--agent", "801", "-o", "json")
	var made struct {
		Token     string    `json:"token"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	if err := json.Unmarshal([]byte(asJSON.stdout), &made); err != nil || time.Until(made.ExpiresAt) < 11*time.Hour {
		t.Errorf("got %+v: %v", asJSON, err)
	}
	for token, want := range map[string]int{
		strings.TrimSpace(text.stdout): http.StatusOK, made.Token: http.StatusOK, "nonsense": http.StatusUnauthorized,
	} {
		if got := feedStatus(t, d, "801", token); got != want {
			t.Errorf("token %.20s…: %d, want %d", token, got, want)
		}
	}
	if got := feedStatus(t, d, "802", made.Token); got != http.StatusForbidden {
		t.Errorf("the feed of 802 answers 801's token with %d", got)
	}
	if said := d.stderr.String(); strings.Contains(said, made.Token) || strings.Contains(said, testKey) {
		t.Errorf("the log has a token or the key: %s", said)
	}
}

// feedStatus is the answer to a request for an agent's newest pop.
func feedStatus(t *testing.T, d *running, agent, token string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(patient(t), http.MethodGet, d.public.URL()+"/v1/servers/hq/agents/"+agent+"/pops/latest", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode
}

func TestFeedTokenSaysWhatIsWrong(t *testing.T) {
	file := writeConfig(t, feedConfig("127.0.0.1:0", ""), nil)
	bare := writeConfig(t, embeddedConfig, nil)
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--server", "hq", "--agent", "801"}, exitUsage, "--config is missing"},
		{[]string{"--config", file, "--agent", "801"}, exitUsage, "--server is missing"},
		{[]string{"--config", file, "--server", "hq"}, exitUsage, "--agent is missing"},
		{[]string{"--config", file, "--server", "hp", "--agent", "801"}, exitUsage, `--server is "hp": expected one of ["hq"]`},
		{[]string{"--config", file, "--server", "hq", "--agent", "801", "--ttl", "-1h"}, exitUsage, "--ttl is -1h0m0s: expected 1s to"},
		{[]string{"--config", bare, "--server", "hq", "--agent", "801"}, exitFailed, "has no feed.signing_key"},
	} {
		got := connector(t, "", append([]string{"feed", "token"}, c.args...)...)
		if got.code != c.code || !strings.Contains(got.stderr, c.says) || got.stdout != "" {
			t.Errorf("%q: got %+v, want %d %s", c.args, got, c.code, c.says)
		}
	}
}

func TestAPopIsOnTheFeedAsSoonAsItIsReceived(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, feedConfig("127.0.0.1:0", ""), lq))
	if err := lq.WaitSessions(patient(t), 2); err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(patient(t), http.MethodGet, d.public.URL()+"/v1/servers/hq/agents/801/pops", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+tokenFor(t, "801"))
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	lines := bufio.NewScanner(response.Body)
	var took []time.Duration
	for sn := range 200 {
		sent := time.Now()
		ring(t, lq, "801", popString("013812345678", 1000+sn))
		want := fmt.Sprintf(`"sn":"%d"`, 1000+sn)
		for lines.Scan() && !strings.Contains(lines.Text(), want) {
			continue
		}
		if lines.Err() != nil {
			t.Fatal(lines.Err())
		}
		took = append(took, time.Since(sent))
	}
	slices.Sort(took)
	t.Logf("from the socket to the feed: half of %d pops within %v, 99 in 100 within %v", len(took), took[len(took)/2], took[len(took)*99/100])
}

// TestAnOpenFeedDoesNotHoldUpTheStop stops a connector with a feed that is read by
// nobody: the stream ends in order, and the end does not wait for its time-outs.
func TestAnOpenFeedDoesNotHoldUpTheStop(t *testing.T) {
	lq := startSimulator(t, lqsim.Options{})
	d := start(t, writeConfig(t, feedConfig("127.0.0.1:0", ""), lq))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, d.public.URL()+"/v1/servers/hq/agents/801/pops", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+tokenFor(t, "801"))
	response, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	began := time.Now()
	if err := d.end(); err != nil {
		t.Error(err)
	}
	t.Logf("stopped within %v", time.Since(began))
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		t.Errorf("the stream was cut off: %v", err)
	}
	if strings.Contains(d.stderr.String(), "http.public") {
		t.Errorf("the stop was not in order: %s", d.stderr)
	}
}

func TestTheDemosPageIsAlive(t *testing.T) {
	b := browsertest.Start(t)
	var stderr outputtest.Output
	stop, ended := make(chan struct{}), make(chan int, 1)
	go func() {
		ended <- run(context.Background(), world{
			args: []string{"demo", "--agents", "3", "--rate", "10"}, stdin: strings.NewReader(""), stdout: &outputtest.Output{}, stderr: &stderr, stop: stop,
		})
	}()
	defer func() {
		close(stop)
		if code := <-ended; code != exitGood {
			t.Errorf("the demo ended with %d: %s", code, &stderr)
		}
	}()
	address := regexp.MustCompile(`http://\S+/agents/demo/801#token=\S+`)
	eventually(t, "the demo prints the page's address", func() bool { return address.MatchString(stderr.String()) })
	p := b.Open(address.FindString(stderr.String()), browsertest.Look{})
	p.Wait("document.querySelectorAll('#recent li').length >= 3")
	p.Picture("demo-light-en")
	quiet(t, p)
}
