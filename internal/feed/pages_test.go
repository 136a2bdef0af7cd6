package feed

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

func TestTheScriptIsSmallAndCached(t *testing.T) {
	r := serve(t, t.TempDir(), nil)
	response := r.request("GET", r.http.URL+"/callpop.js")
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if len(body) == 0 || len(body) >= 5000 {
		t.Errorf("callpop.js has %d bytes, want fewer than 5000", len(body))
	}
	if got := response.Header.Get("Content-Type"); got != "text/javascript; charset=utf-8" {
		t.Errorf("its type is %q", got)
	}
	tag := response.Header.Get("ETag")
	if status, _ := r.answer("GET", r.http.URL+"/callpop.js", "If-None-Match", tag); status != http.StatusNotModified || tag == "" {
		t.Errorf("the same again: %d with ETag %s", status, tag)
	}
	for _, outside := range []string{"http://", "import ", "eval(", "innerHTML"} {
		if strings.Contains(string(body), outside) {
			t.Errorf("callpop.js has %q", outside)
		}
	}
	for path, kind := range map[string]string{"/callpop.d.ts": "text/plain", "/page.js": "text/javascript", "/page.css": "text/css", "/page.svg": "image/svg+xml"} {
		response := r.request("GET", r.http.URL+path)
		if response.StatusCode != 200 || !strings.HasPrefix(response.Header.Get("Content-Type"), kind) {
			t.Errorf("%s: %s %s", path, response.Status, response.Header.Get("Content-Type"))
		}
	}
}

func TestThePageLoadsNothingFromOutsideAndEscapesItsNames(t *testing.T) {
	r := serve(t, t.TempDir(), func(c *Config) {
		c.Page = Page{Open: `https://crm.example/c?a="&p={customer.number}`, In: InFrame}
		c.AllowOrigins = []string{"https://intranet.example"}
	})
	response := r.request("GET", r.http.URL+`/agents/hq/%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E`)
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != 200 {
		t.Fatal(response.Status, err)
	}
	if strings.Contains(string(body), "<script>alert") || !strings.Contains(string(body), "&lt;script&gt;alert(1)") {
		t.Errorf("the page is %s", body)
	}
	for _, address := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllStringSubmatch(string(body), -1) {
		if !strings.HasPrefix(address[1], "/") || strings.HasPrefix(address[1], "//") {
			t.Errorf("the page loads %s", address[1])
		}
	}
	policy := response.Header.Get("Content-Security-Policy")
	for _, want := range []string{
		"default-src 'none';", "script-src 'self';", "connect-src 'self';", "frame-src https://crm.example;",
		"frame-ancestors 'self' https://intranet.example", "base-uri 'none'", "require-trusted-types-for 'script'",
	} {
		if !strings.Contains(policy, want) {
			t.Errorf("the policy %q has no %q", policy, want)
		}
	}
	if strings.Contains(policy, "unsafe") {
		t.Errorf("the policy is %q", policy)
	}
	if status, _ := r.answer("GET", r.http.URL+"/agents/hq/"+strings.Repeat("8", 1000)); status != http.StatusBadRequest {
		t.Errorf("a long name: %d", status)
	}
}
