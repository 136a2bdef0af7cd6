package feed

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html"
	"net/http"
	"strings"
	"time"
)

//go:embed assets
var assets embed.FS

// served are the files, which are the same for everybody. A browser asks each time
// whether they changed: a page and its script must be of one version.
var served = []struct{ name, kind string }{
	{"callpop.js", "text/javascript; charset=utf-8"},
	{"callpop.d.ts", "text/plain; charset=utf-8"},
	{"page.js", "text/javascript; charset=utf-8"},
	{"page.css", "text/css; charset=utf-8"},
	{"page.svg", "image/svg+xml"},
}

// addPages serves the script and the sample page. They hold nothing of anybody, so
// they are served to everyone.
func addPages(mux *http.ServeMux, c Config) error {
	for _, s := range served {
		content, err := assets.ReadFile("assets/" + s.name)
		if err != nil {
			return err
		}
		mux.Handle("GET /"+s.name, file(content, s.kind, false))
	}
	page, err := assets.ReadFile("assets/page.html")
	if err != nil {
		return err
	}
	crm, err := c.Page.origin()
	if err != nil {
		return err
	}
	policy := contentPolicy(c, crm)
	mux.HandleFunc("GET /agents/{server}/{agent}", func(w http.ResponseWriter, r *http.Request) {
		agent := agentOf(r)
		if len(agent.server) > maxName || len(agent.agent) > maxName {
			http.Error(w, "the server's or agent's name is too long", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Security-Policy", policy)
		w.Header().Set("Referrer-Policy", "no-referrer")
		file(fill(string(page), agent, c.Page), "text/html; charset=utf-8", true).ServeHTTP(w, r)
	})
	return nil
}

// fill puts an agent and what the page is to do into its text and its quoted
// attributes, the only places where they are. Package html/template can do more, and
// a program that has it keeps every exported method of every type: 5 MB.
func fill(page string, agent agentKey, p Page) []byte {
	frame := ""
	if p.In == InFrame && p.Open != "" {
		frame = `<iframe id="crm" name="callpop-crm" data-title="crm"></iframe>`
	}
	return []byte(strings.NewReplacer(
		"{{.Server}}", html.EscapeString(agent.server),
		"{{.Agent}}", html.EscapeString(agent.agent),
		"{{.Open}}", html.EscapeString(p.Open),
		"{{.In}}", html.EscapeString(p.In),
		"{{.Features}}", html.EscapeString(p.Features),
		"{{.Frame}}", frame,
	).Replace(page))
}

// contentPolicy lets the page load what comes from here and nothing else, but for
// the CRM's page in its frame. A CRM that is allowed to read may frame the page.
func contentPolicy(c Config, crm string) string {
	frames := "'none'"
	if c.Page.In == InFrame && crm != "" {
		frames = crm
	}
	return fmt.Sprintf("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; frame-src %s; "+
		"base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; frame-ancestors %s",
		frames, strings.Join(append([]string{"'self'"}, c.AllowOrigins...), " "))
}

// file serves content that a cache has to ask about.
func file(content []byte, kind string, private bool) http.Handler {
	sum := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(sum[:8]) + `"`
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", kind)
		h.Set("ETag", tag)
		h.Set("Cache-Control", "no-cache")
		if !private {
			h.Set("Cross-Origin-Resource-Policy", "cross-origin") // CRM pages load the script from here
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
}
