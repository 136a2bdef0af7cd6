package feed

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/callpop/connector/internal/secret"
)

// Config is who may read pops on the public listener, and what is served there.
type Config struct {
	// Token reads every agent's pops: for CRM back ends, never for a browser.
	Token secret.Value `koanf:"token"`
	// SigningKey is the secret that agents' tokens are signed with, see [Sign].
	SigningKey secret.Value `koanf:"signing_key"`
	// AllowOrigins are the origins whose pages may read.
	AllowOrigins []string `koanf:"allow_origins"`
	// MaxAge is the age from which on a pop is late.
	MaxAge time.Duration `koanf:"max_age"`
	// MaxSince is how far back since may ask.
	MaxSince time.Duration `koanf:"max_since"`
	// Heartbeat is the time between two signs of life on a stream without pops.
	Heartbeat time.Duration `koanf:"heartbeat"`
	// MaxConnections bounds the streams, MaxPerAgent those of one agent.
	MaxConnections int `koanf:"max_connections"`
	MaxPerAgent    int `koanf:"max_per_agent"`
	// Page is what the sample page does with a pop beside showing it.
	Page Page `koanf:"page"`
}

// Page is what the sample page does with a pop, which the manual's custURL,
// custWinTitle and custWinProp (chapter 3) had for the LQ client.
type Page struct {
	// Open is the address of the CRM's page, with fields of the pop in braces:
	// https://crm.example/c?phone={customer.number}. Empty opens nothing.
	Open string `koanf:"open"`
	// In is window or frame.
	In string `koanf:"in"`
	// Features are those of the window, as window.open takes them.
	Features string `koanf:"features"`
}

// Where the CRM's page opens.
const (
	InWindow = "window"
	InFrame  = "frame"
)

// DefaultConfig is the configuration where none is given. Nobody may read with
// it: it has neither a token nor a key.
func DefaultConfig() Config {
	return Config{
		MaxAge: 2 * time.Minute, MaxSince: 8 * time.Hour, Heartbeat: 15 * time.Second,
		MaxConnections: 6000, MaxPerAgent: 8, AllowOrigins: []string{}, Page: Page{In: InWindow},
	}
}

// Bounds of secrets, in bytes. A token shorter than 16 could be guessed by trying;
// a key has at least as many bits as HS256 gives (RFC 7518, section 3.2).
const (
	minToken  = 16
	maxToken  = 256
	minKey    = 32
	maxKey    = 1024
	maxOrigin = 100
)

// Validate reports everything that is wrong with c, each with its key, its value
// and what was expected.
func (c Config) Validate() error {
	var errs []error
	say := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if t := c.Token.Reveal(); t != "" {
		switch {
		case len(t) < minToken || len(t) > maxToken:
			say("token: %d bytes: expected %d to %d", len(t), minToken, maxToken)
		case strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r > '~' }):
			say("token: expected printable ASCII without spaces, as a header can carry")
		}
	}
	if n := len(c.SigningKey.Reveal()); n != 0 && (n < minKey || n > maxKey) {
		say("signing_key: %d bytes: expected %d to %d, such as 'openssl rand -base64 48' gives", n, minKey, maxKey)
	}
	if len(c.AllowOrigins) > maxOrigin {
		say("allow_origins: %d entries: expected at most %d", len(c.AllowOrigins), maxOrigin)
	}
	for _, origin := range c.AllowOrigins {
		if err := checkOrigin(origin); err != nil {
			say("allow_origins: %q: %w", origin, err)
		}
	}
	for _, d := range []struct {
		key              string
		value, low, high time.Duration
	}{
		{"max_age", c.MaxAge, time.Second, 24 * time.Hour},
		{"max_since", c.MaxSince, time.Second, 31 * 24 * time.Hour},
		{"heartbeat", c.Heartbeat, time.Second, 5 * time.Minute},
	} {
		if d.value < d.low || d.value > d.high {
			say("%s is %v: expected %v to %v", d.key, d.value, d.low, d.high)
		}
	}
	if c.MaxConnections < 1 || c.MaxConnections > 1_000_000 {
		say("max_connections is %d: expected 1 to 1000000", c.MaxConnections)
	}
	if c.MaxPerAgent < 1 || c.MaxPerAgent > 1000 {
		say("max_per_agent is %d: expected 1 to 1000", c.MaxPerAgent)
	}
	if err := c.Page.validate(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// IsOpen reports whether anybody may read: with neither a token nor a key,
// nobody may.
func (c Config) IsOpen() bool { return !c.Token.IsZero() || !c.SigningKey.IsZero() }

// checkOrigin refuses what a browser never sends as an origin, since it would
// never match: a path, a slash at the end, a default port.
func checkOrigin(origin string) error {
	const expected = "expected an origin as browsers send it, such as https://crm.example or http://10.0.0.7:8080"
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.Scheme+"://"+u.Host != origin ||
		strings.ToLower(origin) != origin || strings.ContainsAny(origin, "*{},; ") {
		return errors.New(expected)
	}
	if port := u.Port(); port == "" && strings.HasSuffix(u.Host, ":") || u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		return fmt.Errorf("%s: without the port that is the default", expected)
	}
	return nil
}

const maxOpen = 2048

func (p Page) validate() error {
	var errs []error
	if p.In != InWindow && p.In != InFrame {
		errs = append(errs, fmt.Errorf("page.in is %q: expected window or frame", p.In))
	}
	if len(p.Features) > maxOpen {
		errs = append(errs, fmt.Errorf("page.features: %d bytes: expected at most %d", len(p.Features), maxOpen))
	}
	if _, err := p.origin(); err != nil {
		errs = append(errs, fmt.Errorf("page.open: %q: %w", p.Open, err))
	}
	return errors.Join(errs...)
}

// eventFields are the top-level fields of a CallPop.
var eventFields = []string{
	"id", "fingerprint", "key", "server", "agent", "pop", "direction", "call", "customer", "ivr", "format",
	"declared_format", "extra", "source", "received_at",
}

// origin is that of the page to open, "" without one. A field may not stand in it:
// what a caller's telephone sent must not choose the host.
func (p Page) origin() (string, error) {
	if p.Open == "" {
		return "", nil
	}
	const expected = "expected an address such as https://crm.example/c?phone={customer.number}"
	before, _, _ := strings.Cut(p.Open, "{")
	u, err := url.Parse(before)
	switch {
	case len(p.Open) > maxOpen:
		return "", fmt.Errorf("%d bytes: expected at most %d", len(p.Open), maxOpen)
	case err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https",
		strings.ContainsAny(u.Host, ";, '\"*"):
		return "", errors.New(expected)
	case before != p.Open && u.Path == "" && u.RawQuery == "" && u.Fragment == "":
		return "", fmt.Errorf("%s: no field in the host", expected)
	}
	for rest := p.Open; ; {
		_, after, found := strings.Cut(rest, "{")
		if !found {
			return u.Scheme + "://" + u.Host, nil
		}
		path, end, closed := strings.Cut(after, "}")
		top, _, _ := strings.Cut(path, ".")
		if !closed || !slices.Contains(eventFields, top) {
			return "", fmt.Errorf("{%s}: expected a field of the event in braces, one of %s, with a dot before what is within it", path, strings.Join(eventFields, ", "))
		}
		rest = end
	}
}
