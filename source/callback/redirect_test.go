package callback

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/pop"
)

func render(t *testing.T, template string, p *pop.Pop) string {
	t.Helper()
	r, err := ParseRedirect(template)
	if err != nil {
		t.Fatal(err)
	}
	numbers, err := source.NewNumbers("025")
	if err != nil {
		t.Fatal(err)
	}
	return string(r.Append(nil, p, &source.Origin{Server: "hq", Decoding: &source.Decoding{Numbers: numbers}}))
}

func TestEveryFieldHasItsPlace(t *testing.T) {
	p := &pop.Pop{
		Number: "86307627", Agent: "801", Channel: "8", ID: "12157703713752", Line: "2", Keys: "1;2",
		StartedAt: time.Date(2008, 7, 11, 17, 59, 31, 375e6, time.FixedZone("", 8*3600)),
		Extra:     []pop.Field{{Name: "site", Value: "南京 1"}},
	}
	for template, want := range map[string]string{
		"https://crm.example/":                                            "https://crm.example/",
		"https://crm.example/c?phone={{.Customer.Number}}":                "https://crm.example/c?phone=86307627",
		"https://crm.example/c?e={{ .Customer.E164 }}":                    "https://crm.example/c?e=%2B862586307627",
		"https://crm.example/{{.Agent.ID}}/{{.Agent.Channel}}":            "https://crm.example/801/8",
		"https://crm.example/#/call/{{.Call.ID}}?l={{.Call.Line}}":        "https://crm.example/#/call/12157703713752?l=2",
		"http://10.0.0.9:8080/x?t={{.Call.StartedAt}}&k={{.IVR.Keys}}":    "http://10.0.0.9:8080/x?t=2008-07-11T17%3A59%3A31.375%2B08%3A00&k=1%3B2",
		"https://crm.example/?s={{.Server}}&site={{.Extra.site}}":         "https://crm.example/?s=hq&site=%E5%8D%97%E4%BA%AC%201",
		"https://crm.example/?none={{.Extra.other}}&end":                  "https://crm.example/?none=&end",
		"https://crm.example?p={{.Customer.Number}}{{.Agent.ID}}":         "https://crm.example?p=86307627801",
		"https://crm.example/a%20b/c;d?x=1&y={{.Agent.ID}}#{{.Agent.ID}}": "https://crm.example/a%20b/c;d?x=1&y=801#801",
		"https://[2001:db8::1]:8443/{{.Agent.ID}}":                        "https://[2001:db8::1]:8443/801",
	} {
		if got := render(t, template, p); got != want {
			t.Errorf("%s\n got %s\nwant %s", template, got, want)
		}
	}
}

// attacks are values that would leave their place if they could.
func attacks() []string {
	return []string{
		"//evil.example", "@evil.example", "\\\\evil.example", ".evil.example", "https://evil.example/", ":80@evil.example",
		"..", ".", "...", "../../admin", "%2e%2e", "..%2f", "/..;/", "%2F%2Fevil.example",
		"1\r\nSet-Cookie: a=b", "1\nLocation: https://evil.example", "1\x00", "\x7f", "1%0d%0aX: y",
		"1&admin=1", "1#x", "1?x", "1;x=y", "<script>", `"onload="`, "{{.Secret}}", "javascript:alert(1)",
		" ", "+", "张三", "\xff\xfe", strings.Repeat("9", 5000), strings.Repeat("张", 300),
	}
}

func TestNoValueLeavesItsPlace(t *testing.T) {
	templates := []string{
		"https://crm.example/{{.Customer.Number}}", "https://crm.example/a/{{.Customer.Number}}/b", "https://crm.example/c?phone={{.Customer.Number}}&x=1",
		"https://crm.example/#{{.Customer.Number}}", "https://crm.example?{{.Customer.Number}}", "https://crm.example/a{{.Customer.Number}}{{.Customer.Number}}",
	}
	for _, template := range templates {
		plain, err := url.Parse(render(t, template, &pop.Pop{Number: "x"}))
		if err != nil {
			t.Fatal(err)
		}
		base := url.URL{Scheme: "https", Host: "lq.example", Path: "/deep/page"}
		for _, value := range attacks() {
			got := render(t, template, &pop.Pop{Number: value})
			for i := range len(got) {
				if got[i] <= ' ' || got[i] >= 0x7f || got[i] == '\\' {
					t.Errorf("%s with %q: %q holds %q", template, value, got, got[i])
				}
			}
			// As a browser does it: steps up are taken where they stand.
			u, err := base.Parse(got)
			if err != nil {
				t.Errorf("%s with %q: %v", template, value, err)
				continue
			}
			if u.Scheme != plain.Scheme || u.Host != plain.Host || u.User != nil ||
				strings.Count(u.EscapedPath(), "/") != strings.Count(plain.EscapedPath(), "/") ||
				strings.Count(u.RawQuery, "&") != strings.Count(plain.RawQuery, "&") {
				t.Errorf("%s with %q leads to %s", template, value, u)
			}
			if len(got) > len(template)+2*3*maxValue {
				t.Errorf("%s with %d bytes makes an address of %d", template, len(value), len(got))
			}
		}
	}
}

func TestAttacksOverTheWireStayInTheAddress(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Redirect = "https://crm.example/{{.Agent.ID}}?phone={{.Customer.Number}}" })
	for _, value := range attacks() {
		response := get(t, r.url+"?phone="+url.QueryEscape(value)+"&oper="+url.QueryEscape(value)+"&id=1")
		location, err := response.Location()
		if err != nil || location.Host != "crm.example" || location.Scheme != "https" || len(response.Header["Set-Cookie"]) > 0 {
			t.Errorf("%q leads to %v, %v, headers %v", value, location, err, response.Header)
		}
		if response.StatusCode != http.StatusFound {
			t.Errorf("%q: answered %s", value, response.Status)
		}
	}
}

func TestATemplateThatLeavesTheHostOpenIsRefused(t *testing.T) {
	for template, want := range map[string]string{
		"{{.Customer.Number}}":                                    "stands in the scheme or host",
		"https://{{.Customer.Number}}/":                           "stands in the scheme or host",
		"https://crm.example{{.Customer.Number}}":                 "stands in the scheme or host",
		"https://crm.example:{{.Agent.ID}}/":                      "stands in the scheme or host",
		"https://{{.Agent.ID}}.crm.example/":                      "stands in the scheme or host",
		"{{.Agent.ID}}://crm.example/":                            "stands in the scheme or host",
		"https:///{{.Agent.ID}}":                                  "stands in the scheme or host",
		"//crm.example/{{.Agent.ID}}":                             "stands in the scheme or host",
		"/page?phone={{.Customer.Number}}":                        "stands in the scheme or host",
		"/page":                                                   "begins with https:// or http://",
		"ftp://crm.example/{{.Agent.ID}}":                         "begins with https:// or http://",
		"javascript://x/{{.Agent.ID}}":                            "begins with https:// or http://",
		"https://user:pw@crm.example/{{.Agent.ID}}":               "a user before the host",
		"https://crm.example\\@evil/{{.Agent.ID}}":                `'\\' cannot be part`,
		"https://crm.example/ {{.Agent.ID}}":                      "' ' cannot be part",
		"https://crm.example/\r\nX:{{.Agent.ID}}":                 `'\r' cannot be part`,
		"https://crm.example/客户":                                  "cannot be part",
		"https://crm.example/{{.Agent.ID":                         "no closing }}",
		"https://crm.example/{.Agent.ID}":                         "'{' cannot be part",
		"https://crm.example/{{.Agent}}":                          "{{.Agent}} is not known",
		"https://crm.example/{{.ID}}":                             "is not known when the page opens: expected one of .Agent.Channel",
		"https://crm.example/{{.Extra.}}":                         "{{.Extra.}} is not known",
		"https://crm.example/{{call .Agent}}":                     "is not known",
		"https://crm.example/{{}}":                                "is not known",
		"https://crm.example/%zz{{.Agent.ID}}":                    "expected an address such as",
		"https://crm.example/" + strings.Repeat("x", maxRedirect): "expected at most 2048",
	} {
		_, err := ParseRedirect(template)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: got %v, want %q", template, err, want)
		}
	}
}
