package callback

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/callpop/connector/schema"
)

func TestTheSecretIsAskedForAndNeverSeenAgain(t *testing.T) {
	with := func(c *Config) {
		withSecret(c)
		c.SecretParameter = "key"
		c.Redirect = "https://crm.example/c?key={{.Extra.key}}&phone={{.Customer.Number}}"
	}
	const header = "application/x-www-form-urlencoded"
	for _, c := range []struct {
		name, query, body, bearer string
		want                      int
	}{
		{"parameter", "key=" + theSecret + "&" + manualsExample, "", "", 302},
		{"parameter at the end", manualsExample + "&key=" + theSecret, "", "", 302},
		{"parameter in the middle", "phone=1&key=" + theSecret + "&id=5", "", "", 302},
		{"escaped name", "%6Bey=" + theSecret + "&" + manualsExample, "", "", 302},
		{"name with spaces", "+key+=" + theSecret + "&" + manualsExample, "", "", 302},
		{"escaped value", "key=%73" + theSecret[1:] + "&" + manualsExample, "", "", 302},
		{"twice, once wrong", "key=wrong&" + manualsExample + "&key=" + theSecret, "", "", 302},
		{"header", manualsExample, "", "Bearer " + theSecret, 302},
		{"header of another case", manualsExample, "", "bearer " + theSecret, 302},
		{"header and a wrong parameter", "key=wrong-" + theSecret + "&" + manualsExample, "", "Bearer " + theSecret, 302},
		{"form", "", manualsExample + "&key=" + theSecret, "", 303},
		{"address of a form", "key=" + theSecret, manualsExample, "", 303},

		{"none", manualsExample, "", "", 403},
		{"wrong", "key=" + theSecret + "x&" + manualsExample, "", "", 403},
		{"a part", "key=" + theSecret[:10] + "&" + manualsExample, "", "", 403},
		{"empty", "key=&" + manualsExample, "", "", 403},
		{"another parameter", "secret=" + theSecret + "&" + manualsExample, "", "", 403},
		{"another case", "KEY=" + theSecret + "&" + manualsExample, "", "", 403},
		{"another scheme", manualsExample, "", "Basic " + theSecret, 403},
		{"custURL without its last &", "key=" + theSecret + manualsExample, "", "", 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, with)
			request := httptest.NewRequest(http.MethodGet, "/pop?"+c.query, nil)
			if c.body != "" {
				request = httptest.NewRequest(http.MethodPost, "/pop?"+c.query, strings.NewReader(c.body))
				request.Header.Set("Content-Type", header)
			}
			if c.bearer != "" {
				request.Header.Set("Authorization", c.bearer)
			}
			w := httptest.NewRecorder()
			r.source.ServeHTTP(w, request)
			if w.Code != c.want {
				t.Errorf("answered %d, want %d", w.Code, c.want)
			}
			seen := r.log.String() + w.Body.String() + w.Header().Get("Location")
			if c.want == 403 {
				if !strings.Contains(r.log.String(), "the secret is missing or wrong") {
					t.Errorf("logged %q", r.log)
				}
			} else {
				e := r.await(t, 1)[0]
				decodePop(t, e)
				seen += string(e.Body)
			}
			for _, part := range []string{theSecret, theSecret[3:], "wrong"} {
				if part == "wrong" && c.want == 403 {
					continue // a word of the message
				}
				if strings.Contains(seen, part) {
					t.Errorf("%q is in %s", part, seen)
				}
			}
		})
	}
}

func TestADeadLetterHoldsNoSecretEither(t *testing.T) {
	r := newRig(t, withSecret)
	direct(r.source, http.MethodGet, "/pop?garbage=1&secret="+theSecret, nil)
	e := r.await(t, 1)[0]
	var letter schema.DeadLetter
	if err := json.Unmarshal(e.Body, &letter); err != nil || e.Type != schema.TypeDeadLetter || letter.Raw != "garbage=1" {
		t.Errorf("got %s, %v", e.Body, err)
	}
}

func TestOnlyAllowedAddressesSendPops(t *testing.T) {
	s, err := newSource(testConfig(func(c *Config) { c.Allow = []string{"10.1.0.0/16", "192.168.0.7", "2001:db8::/32"} }),
		Options{Intake: startIntake(t, newStore().emit, &logged{}), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for remote, want := range map[string]int{
		"10.1.2.3:4000":            204,
		"[::ffff:10.1.2.3]:4000":   204,
		"192.168.0.7:1":            204,
		"[2001:db8::1]:9":          204,
		"[2001:db8::1%eth0]:9":     204,
		"10.2.0.1:4000":            403,
		"192.168.0.8:1":            403,
		"[2001:db9::1]:9":          403,
		"127.0.0.1:5":              403,
		"@":                        403,
		"":                         403,
		"10.1.2.3":                 403,
		"[::ffff:192.168.0.8]:400": 403,
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/pop?"+manualsExample, nil)
		r.RemoteAddr = remote
		r.Header.Set("X-Forwarded-For", "10.1.2.3")
		s.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: answered %d, want %d", remote, w.Code, want)
		}
	}
}
