package console

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"time"

	"github.com/callpop/connector/internal/web"
)

//go:embed assets
var assets embed.FS

// served are the pages and what they are made of, the same for everybody. A browser
// asks each time whether they changed: a page and its script must be of one version.
var served = []struct{ path, name, kind string }{
	{"/console/{$}", "console.html", "text/html; charset=utf-8"},
	{web.LoginPage, "login.html", "text/html; charset=utf-8"},
	{web.LoginAssets + "words.js", "words.js", "text/javascript; charset=utf-8"},
	{web.LoginAssets + "console.js", "console.js", "text/javascript; charset=utf-8"},
	{web.LoginAssets + "wall.js", "wall.js", "text/javascript; charset=utf-8"},
	{web.LoginAssets + "overview.js", "overview.js", "text/javascript; charset=utf-8"},
	{web.LoginAssets + "events.js", "events.js", "text/javascript; charset=utf-8"},
	{web.LoginAssets + "letters.js", "letters.js", "text/javascript; charset=utf-8"},
	{web.LoginAssets + "page.js", "page.js", "text/javascript; charset=utf-8"},
	{web.LoginAssets + "login.js", "login.js", "text/javascript; charset=utf-8"},
	{web.LoginAssets + "console.css", "console.css", "text/css; charset=utf-8"},
	{web.LoginAssets + "icon.svg", "icon.svg", "image/svg+xml"},
}

// contentPolicy lets the pages load what comes from here and nothing else, make no
// HTML of text, and stand in no frame.
const contentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

func addPages(mux *http.ServeMux) error {
	for _, s := range served {
		content, err := assets.ReadFile("assets/" + s.name)
		if err != nil {
			return err
		}
		sum := sha256.Sum256(content)
		tag := `"` + hex.EncodeToString(sum[:8]) + `"`
		mux.HandleFunc("GET "+s.path, func(w http.ResponseWriter, r *http.Request) {
			h := w.Header()
			h.Set("Content-Type", s.kind)
			h.Set("Content-Security-Policy", contentPolicy)
			h.Set("Referrer-Policy", "no-referrer")
			h.Set("Cross-Origin-Resource-Policy", "same-origin")
			h.Set("ETag", tag)
			h.Set("Cache-Control", "no-cache")
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
		})
	}
	return nil
}
