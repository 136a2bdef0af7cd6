// Package browsertest drives a real Chromium in tests: pages with a size, a
// language and a colour scheme, what they say in their console, and pictures of
// them, which go test -artifacts keeps.
package browsertest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// patience bounds each wait for a page.
const patience = 90 * time.Second

// Browser is a headless Chromium with an empty profile, for one test.
type Browser struct {
	t testing.TB
	// ctx is that of the browser's first page, which stays empty.
	ctx context.Context
}

// Start runs a Chromium until the test ends. Without one on this machine the test is
// skipped, or fails where the environment has CI=true.
func Start(t testing.TB) *Browser {
	t.Helper()
	binary, err := find()
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	// Not t.TempDir: Chromium's children may still write when it has ended.
	profile, err := os.MkdirTemp("", "callpop-chromium-*")
	if err != nil {
		t.Fatal(err)
	}
	options := []chromedp.ExecAllocatorOption{chromedp.ExecPath(binary), chromedp.UserDataDir(profile), chromedp.WSURLReadTimeout(patience)}
	for _, flag := range []string{
		"headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "no-default-browser-check", "disable-background-networking",
		"disable-component-update", "disable-sync", "disable-default-apps", "disable-extensions", "hide-scrollbars", "disable-dev-shm-usage",
		"mute-audio",
		// A hidden page keeps its timers, and its reconnecting, as they are.
		"disable-background-timer-throttling", "disable-renderer-backgrounding", "disable-backgrounding-occluded-windows",
	} {
		options = append(options, chromedp.Flag(flag, true))
	}
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	// Messages of a newer browser that the library does not know are no news.
	ctx, cancel := chromedp.NewContext(allocator, chromedp.WithErrorf(func(string, ...any) {}))
	t.Cleanup(func() {
		cancel()
		stop() // waits, so that the profile can go
		for deadline := time.Now().Add(patience); os.RemoveAll(profile) != nil && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", binary, err)
	}
	return &Browser{t: t, ctx: ctx}
}

func find() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("a page is tested in a real browser: chromium is missing")
}

// Look is how a page is shown.
type Look struct {
	// Language is that of the browser, such as zh-CN.
	Language      string
	Dark          bool
	Width, Height int64
}

// Page is one tab.
type Page struct {
	t   testing.TB
	ctx context.Context

	mu sync.Mutex
	// said are the errors of the page; guarded by mu.
	said []string
}

// Open opens an address in a tab of its own.
func (b *Browser) Open(address string, look Look) *Page {
	b.t.Helper()
	p := &Page{t: b.t}
	var cancel context.CancelFunc
	p.ctx, cancel = chromedp.NewContext(b.ctx, chromedp.WithListener(p.listen))
	b.t.Cleanup(cancel)
	// The first run opens the tab, whose life is that of its context.
	if err := chromedp.Do(p.ctx); err != nil {
		b.t.Fatalf("open a tab: %v", err)
	}
	scheme := "light"
	if look.Dark {
		scheme = "dark"
	}
	if look.Width == 0 {
		look.Width, look.Height = 1280, 800
	}
	p.Run(
		command(log.Enable, cdp.Empty{}),
		command(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
		}),
		command(emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
			Width: look.Width, Height: look.Height, DeviceScaleFactor: 1,
		}),
		command(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{
			Source: fmt.Sprintf("Object.defineProperty(navigator, 'language', {get: () => %q})", cmp.Or(look.Language, "en-US")),
		}),
		chromedp.Navigate(address),
	)
	return p
}

// OnLoad runs a script in each document that the page loads from now on, before
// those of the document.
func (p *Page) OnLoad(script string) {
	p.t.Helper()
	p.Run(command(page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: script}))
}

// command is a command of the protocol as a step.
func command[P, R any](c cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		_, err := cdp.Call(ctx, t, c, params)
		return chromedp.Void{}, err
	}
}

// listen notes what the page says.
func (p *Page) listen(event any) {
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		said := "exception: " + e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			said += " " + e.ExceptionDetails.Exception.Description
		}
		p.say(said)
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			words := make([]string, len(e.Args))
			for i, a := range e.Args {
				words[i] = strings.Trim(string(a.Value)+a.Description, `"`)
			}
			p.say(string(e.Type) + ": " + strings.Join(words, " "))
		}
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError || e.Entry.Level == log.EntryLevelWarning {
			p.say(fmt.Sprintf("%s: %s: %s", e.Entry.Level, e.Entry.Source, e.Entry.Text))
		}
	}
}

func (p *Page) say(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = append(p.said, line)
}

// Errors are the errors and warnings of the page's console since the last call:
// exceptions, blocked content, requests that failed.
func (p *Page) Errors() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	said := p.said
	p.said = nil
	return said
}

// Run does something in the page; the test fails where it cannot be done.
func (p *Page) Run(steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		p.t.Fatalf("in the page: %v; its console: %q", err, p.Errors())
	}
}

// Get evaluates a JavaScript expression in the page, waiting for it where it is a
// promise.
func Get[T any](p *Page, expression string) T {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatalf("in the page: %s: %v; its console: %q", expression, err, p.Errors())
	}
	return value
}

// Text is the text that a person sees in the first element that a CSS selector
// finds, "" where there is none or it is hidden.
func (p *Page) Text(selector string) string {
	p.t.Helper()
	return Get[string](p, fmt.Sprintf("document.querySelector(%q)?.innerText ?? ''", selector))
}

// Click clicks the element that a CSS selector finds, as a person does.
func (p *Page) Click(selector string) {
	p.t.Helper()
	p.Run(chromedp.Click(chromedp.CSS(selector)))
}

// Type types text into the element that a CSS selector finds.
func (p *Page) Type(selector, text string) {
	p.t.Helper()
	p.Run(chromedp.SendKeys(chromedp.CSS(selector), text))
}

// Press puts the focus on the element that a CSS selector finds, where one is given,
// and presses a key, Enter, Escape or Tab, as a person without a mouse does.
func (p *Page) Press(selector, key string) {
	p.t.Helper()
	if selector != "" {
		Get[bool](p, fmt.Sprintf("(document.querySelector(%q).focus(), true)", selector))
	}
	p.Run(chromedp.KeyEvent(map[string]string{"Enter": kb.Enter, "Escape": kb.Escape, "Tab": kb.Tab}[key]))
}

// Navigate goes to another address in the same tab, as a link does.
func (p *Page) Navigate(address string) {
	p.t.Helper()
	p.Run(chromedp.Navigate(address))
}

// Wait waits until a JavaScript expression is true.
func (p *Page) Wait(expression string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	for {
		// An error may be that of a document that is just being left.
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("Boolean("+expression+")"))
		if ok {
			return
		}
		if ctx.Err() != nil {
			p.t.Fatalf("waited in vain for %s: %v; the page says %q, its console %q", expression, err, p.Text("body"), p.Errors())
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// Popup waits for a window that a page opened at an address that begins with
// prefix, and returns its whole address.
func (b *Browser) Popup(prefix string) string {
	b.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		targets, err := chromedp.Targets(b.ctx)
		if err != nil {
			b.t.Fatal(err)
		}
		var seen []string
		for _, info := range targets {
			if info.Type == "page" && strings.HasPrefix(info.URL, prefix) {
				return info.URL
			}
			seen = append(seen, info.URL)
		}
		if time.Now().After(deadline) {
			b.t.Fatalf("no window at %s; there are %q", prefix, seen)
		}
	}
}

// Pages counts the open tabs and windows.
func (b *Browser) Pages() (n int) {
	b.t.Helper()
	targets, err := chromedp.Targets(b.ctx)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, info := range targets {
		if info.Type == "page" {
			n++
		}
	}
	return n
}

// Picture writes a picture of the page to the test's artifacts, name.png.
func (p *Page) Picture(name string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	png, err := chromedp.Run(ctx, chromedp.CaptureScreenshot())
	if err != nil {
		p.t.Fatal(err)
	}
	file := filepath.Join(p.t.ArtifactDir(), name+".png")
	if err := os.WriteFile(file, png, 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.t.Logf("picture: %s", file)
}
