package kafkasink

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/callpop/connector/internal/secret"
)

// oauthConfig is a configuration that fetches tokens from a server.
func oauthConfig(url string) Config {
	c := testConfig("kafka:9092")
	c.SASL = SASL{Mechanism: "oauthbearer", OAuth: OAuth{
		TokenURL: url, ClientID: "connector:1", ClientSecret: secret.New("hunter2 &"), Scope: "kafka",
	}}
	return c
}

func TestATokenIsFetchedByClientCredentials(t *testing.T) {
	requests := 0
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		user, password, _ := r.BasicAuth()
		// RFC 6749, 2.3.1: both are form-encoded within the header.
		if user != "connector%3A1" || password != "hunter2+%26" {
			t.Errorf("got client %q, %q", user, password)
		}
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		if got := r.Form.Encode(); r.Method != http.MethodPost || got != "grant_type=client_credentials&scope=kafka" {
			t.Errorf("got %s %q", r.Method, got)
		}
		_, _ = fmt.Fprintf(w, `{"access_token":"token-%d","token_type":"Bearer","expires_in":3600}`, requests)
	}))
	defer server.Close()
	c := oauthConfig(server.URL)
	token, err := c.tokenSource()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got, err := token(t.Context()); err != nil || got != "token-1" {
			t.Errorf("got %q, %v; want token-1 until it is old", got, err)
		}
	}
}

func TestATokenIsFetchedAnewBeforeItExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		f := &tokenFetcher{config: &OAuth{TokenURL: "http://idp/token", ClientSecret: secret.New("s")}, client: &http.Client{
			Transport: roundTripper(func(*http.Request) *http.Response {
				n++
				w := httptest.NewRecorder()
				_, _ = fmt.Fprintf(w, `{"access_token":"token-%d","expires_in":100}`, n)
				return w.Result()
			}),
		}}
		for _, test := range []struct {
			after time.Duration
			want  string
		}{{0, "token-1"}, {79 * time.Second, "token-1"}, {2 * time.Second, "token-2"}, {time.Hour, "token-3"}} {
			time.Sleep(test.after) // the bubble's time
			if got, err := f.token(t.Context()); err != nil || got != test.want {
				t.Errorf("after another %v: got %q, %v; want %q", test.after, got, err, test.want)
			}
		}
	})
}

type roundTripper func(*http.Request) *http.Response

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r), nil }

func TestABadAnswerOfATokenServerIsAnErrorWithoutSecrets(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		want   string
	}{
		{"refusal", 401, `{"error":"invalid_client\n\u001b[31m","error_description":"x"}`, "status 401 invalid_client"},
		{"page", 502, "<html>", "status 502"},
		{"no JSON", 200, "token", "not JSON"},
		{"no token", 200, `{"token_type":"Bearer"}`, "empty"},
		{"control characters", 200, `{"access_token":"hunter2\u0001auth"}`, "not visible ASCII"},
		{"too large", 200, strings.Repeat(" ", maxTokenAnswer+1), "larger than"},
		{"redirection", 302, "", "status 302"},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(test.status)
				_, _ = fmt.Fprint(w, test.body)
			}))
			defer server.Close()
			c := oauthConfig(server.URL)
			token, err := c.tokenSource()
			if err != nil {
				t.Fatal(err)
			}
			_, err = token(t.Context())
			if err == nil || !strings.Contains(err.Error(), test.want) || strings.ContainsAny(err.Error(), "\n\x1b") || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

func TestATokenFileIsReadForEachLogin(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	c := testConfig("kafka:9092")
	c.SASL = SASL{Mechanism: "oauthbearer", TokenFile: file}
	m, err := c.mechanism()
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Start(t.Context()); err == nil || classify(err) != Authentication {
		t.Errorf("without the file: got %v", err)
	}
	for _, token := range []string{"one", "two"} {
		if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		session, first, err := m.Start(t.Context())
		if want := "n,,\x01auth=Bearer " + token + "\x01\x01"; err != nil || string(first) != want {
			t.Fatalf("got %q, %v; want %q", first, err, want)
		}
		if done, _, err := session.Next(t.Context(), nil); !done || err != nil {
			t.Errorf("a good login: got %v, %v", done, err)
		}
		if done, _, err := session.Next(t.Context(), []byte(`{"status":"invalid_token"}`)); done || err == nil || !strings.Contains(err.Error(), "invalid_token") {
			t.Errorf("a refused login: got %v, %v", done, err)
		}
	}
}

func TestAPasswordFileThatIsGoneFailsTheLogin(t *testing.T) {
	for _, mechanism := range []string{"plain", "scram-sha-256", "scram-sha-512"} {
		c := testConfig("kafka:9092")
		c.SASL = SASL{Mechanism: mechanism, User: "u", PasswordFile: filepath.Join(t.TempDir(), "gone")}
		m, err := c.mechanism()
		if err != nil {
			t.Fatal(err)
		}
		if !strings.EqualFold(m.Name(), mechanism) {
			t.Errorf("got mechanism %s, want %s", m.Name(), mechanism)
		}
		if _, _, err := m.Start(context.Background()); err == nil || classify(err) != Authentication {
			t.Errorf("%s: got %v", mechanism, err)
		}
	}
}
