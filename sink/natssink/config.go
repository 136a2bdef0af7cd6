package natssink

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/internal/secret"
	"github.com/callpop/connector/schema"
)

// Config is the user's part of a NATS sink. At most one way to log in may be
// set: credentials_file, nkey_file, user, or token; a TLS certificate may come on
// top.
type Config struct {
	// URL is one or several servers of one cluster, joined by commas:
	// nats://a:4222,nats://b:4222; also tls, ws and wss. Required. It holds
	// neither user nor password, since URLs are printed.
	URL string `koanf:"url"`

	// Stream takes the pops; an empty name switches them off.
	Stream string `koanf:"stream"`
	// SessionStream takes the changes of sessions; empty switches them off.
	SessionStream string `koanf:"session_stream"`
	// DeadLetterStream takes the dead letters; empty switches them off.
	DeadLetterStream string `koanf:"dead_letter_stream"`
	// Subject, SessionSubject and DeadLetterSubject begin the subjects of the
	// three kinds; the tokens of server and agent follow.
	Subject           string `koanf:"subject"`
	SessionSubject    string `koanf:"session_subject"`
	DeadLetterSubject string `koanf:"dead_letter_subject"`

	// Create has streams created that do not exist, with the limits below. A
	// stream that exists is never changed.
	Create bool `koanf:"create"`
	// MaxAge is how long a created stream keeps events; 0: for ever.
	MaxAge time.Duration `koanf:"max_age"`
	// MaxBytes is how much a created stream keeps; 0: no limit. JetStream reserves
	// it when the stream is created.
	MaxBytes bytesize.Size `koanf:"max_bytes"`
	// Replicas of a created stream: 1, 3 or 5.
	Replicas int `koanf:"replicas"`
	// Duplicates is how long a created stream remembers ids, to drop duplicates.
	Duplicates time.Duration `koanf:"duplicates"`

	// CredentialsFile holds a user's JWT and its key, as nsc writes them.
	CredentialsFile string `koanf:"credentials_file"`
	// NkeyFile holds the seed of a user's nkey.
	NkeyFile string `koanf:"nkey_file"`
	// User and Password log in; PasswordFile is read at each connection.
	User         string       `koanf:"user"`
	Password     secret.Value `koanf:"password"`
	PasswordFile string       `koanf:"password_file"`
	// Token logs in; TokenFile is read at each connection.
	Token     secret.Value `koanf:"token"`
	TokenFile string       `koanf:"token_file"`
	TLS       TLS          `koanf:"tls"`

	// InboxPrefix begins the subjects on which the server answers; a user whose
	// permissions give it inboxes of its own needs another than _INBOX.
	InboxPrefix string `koanf:"inbox_prefix"`
	// PublishTimeout bounds the wait for an acknowledgement, for a connection, and
	// for a write that the server does not take.
	PublishTimeout time.Duration `koanf:"publish_timeout"`
	// MaxInFlight is how many messages of one event type may wait for their
	// acknowledgements at once.
	MaxInFlight int `koanf:"max_in_flight"`
}

// TLS says how the connection is secured. Any of its files makes TLS required;
// without them a URL with tls or wss does, with the system's authorities. The
// files are read at each connection.
type TLS struct {
	// CAFile holds the authorities that may have signed the server's certificate.
	CAFile string `koanf:"ca_file"`
	// CertFile and KeyFile are our certificate, for mutual TLS.
	CertFile string `koanf:"cert_file"`
	KeyFile  string `koanf:"key_file"`
	// ServerName is the name that the server's certificate must have; empty: the
	// one in the URL.
	ServerName string `koanf:"server_name"`
}

// enabled reports whether TLS is asked for beside the URLs.
func (t TLS) enabled() bool { return t != TLS{} }

// DefaultConfig returns the defaults. URL has none.
func DefaultConfig() Config {
	return Config{
		Stream:            "CALLPOP",
		SessionStream:     "CALLPOP_SESSION",
		DeadLetterStream:  "CALLPOP_DLQ",
		Subject:           string(schema.TypeCallPop),
		SessionSubject:    string(schema.TypeSessionChanged),
		DeadLetterSubject: string(schema.TypeDeadLetter),
		MaxAge:            72 * time.Hour,
		Replicas:          1,
		Duplicates:        2 * time.Minute,
		InboxPrefix:       "_INBOX",
		PublishTimeout:    5 * time.Second,
		MaxInFlight:       512,
	}
}

// Validate checks what can be checked without reading files or asking the
// server. Each error begins with the key that it is about.
func (c Config) Validate() error {
	return errors.Join(
		c.validateURL(),
		c.validateStreams(),
		c.validateLimits(),
		c.validateLogin(),
		c.validateTLS(),
		validateSubject("inbox_prefix", c.InboxPrefix),
	)
}

// urls returns the single URLs.
func (c Config) urls() []string {
	var all []string
	for u := range strings.SplitSeq(c.URL, ",") {
		if u = strings.TrimSpace(u); u != "" {
			all = append(all, u)
		}
	}
	return all
}

// schemes are those of nats.go.
var schemes = []string{"nats", "tls", "ws", "wss"}

func (c Config) validateURL() error {
	urls := c.urls()
	if len(urls) == 0 {
		return errors.New("url: required, such as nats://nats:4222")
	}
	web := 0
	for _, text := range urls {
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		u, err := url.Parse(text)
		if err != nil {
			return errors.New("url: not a URL, such as nats://nats:4222") // err would quote what may hold a password
		}
		switch {
		case u.User != nil:
			return errors.New("url: user and password have keys of their own: user, password_file, token_file")
		case !slices.Contains(schemes, u.Scheme):
			return fmt.Errorf("url: %q: the scheme must be one of %s", text, strings.Join(schemes, ", "))
		case u.Hostname() == "":
			return fmt.Errorf("url: %q has no host", text)
		}
		if port := u.Port(); port != "" {
			if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
				return fmt.Errorf("url: %q: the port must be 1 to 65535", text)
			}
		}
		if strings.HasPrefix(u.Scheme, "ws") {
			web++
		}
	}
	if web != 0 && web != len(urls) {
		return errors.New("url: ws and wss cannot be mixed with nats and tls")
	}
	return nil
}

// destination is where one event type goes.
type destination struct {
	typ             schema.Type
	stream, subject string
	streamKey       string // the configuration's keys, for messages
	subjectKey      string
}

// destinations returns those that are switched on.
func (c Config) destinations() []destination {
	all := []destination{
		{schema.TypeCallPop, c.Stream, c.Subject, "stream", "subject"},
		{schema.TypeSessionChanged, c.SessionStream, c.SessionSubject, "session_stream", "session_subject"},
		{schema.TypeDeadLetter, c.DeadLetterStream, c.DeadLetterSubject, "dead_letter_stream", "dead_letter_subject"},
	}
	return slices.DeleteFunc(all, func(d destination) bool { return d.stream == "" })
}

// Types returns the event types that the sink takes.
func (c Config) Types() []schema.Type {
	var types []schema.Type
	for _, d := range c.destinations() {
		types = append(types, d.typ)
	}
	return types
}

func (c Config) validateStreams() error {
	destinations := c.destinations()
	if len(destinations) == 0 {
		return errors.New("stream: at least one of stream, session_stream and dead_letter_stream must be set")
	}
	var errs []error
	for i, d := range destinations {
		if len(d.stream) > 255 || strings.ContainsFunc(d.stream, func(r rune) bool {
			return r <= ' ' || r >= 0x7F || strings.ContainsRune(`.*>/\`, r)
		}) {
			errs = append(errs, fmt.Errorf("%s: %q is no stream name: no spaces, no . * > / \\, ASCII, at most 255 characters", d.streamKey, d.stream))
		}
		if err := validateSubject(d.subjectKey, d.subject); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, other := range destinations[:i] {
			if other.subject == d.subject || strings.HasPrefix(other.subject, d.subject+".") || strings.HasPrefix(d.subject, other.subject+".") {
				errs = append(errs, fmt.Errorf("%s: %q overlaps with %s", d.subjectKey, d.subject, other.subjectKey))
			}
		}
	}
	return errors.Join(errs...)
}

// maxSubject bounds a whole subject, in bytes: a server ends the connection over
// a protocol line that is longer than its 4,096.
const maxSubject = 2048

// validateSubject checks a subject without wildcards.
func validateSubject(key, subject string) error {
	if len(subject) > 256 {
		return fmt.Errorf("%s: at most 256 characters, not %d", key, len(subject))
	}
	for token := range strings.SplitSeq(subject, ".") {
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7F || r == '*' || r == '>' }) {
			return fmt.Errorf("%s: %q is no subject: tokens joined by dots, ASCII, no spaces, no * or >", key, subject)
		}
	}
	return nil
}

func (c Config) validateLimits() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if c.PublishTimeout < 10*time.Millisecond || c.PublishTimeout > 5*time.Minute {
		fail("publish_timeout: %v: want 10ms to 5m", c.PublishTimeout)
	}
	if c.MaxInFlight < 1 || c.MaxInFlight > 4096 {
		fail("max_in_flight: %d: want 1 to 4096", c.MaxInFlight)
	}
	if c.MaxAge < 0 || c.MaxAge > 0 && c.MaxAge < 100*time.Millisecond {
		fail("max_age: %v: want 0 for ever, or 100ms or more", c.MaxAge)
	}
	if c.MaxBytes < 0 {
		fail("max_bytes: %d: want 0 for no limit, or more", c.MaxBytes)
	}
	if c.Replicas != 1 && c.Replicas != 3 && c.Replicas != 5 {
		fail("replicas: %d: want 1, 3 or 5", c.Replicas)
	}
	if c.Duplicates < 100*time.Millisecond || c.MaxAge > 0 && c.Duplicates > c.MaxAge {
		fail("duplicates: %v: want 100ms or more, and not more than max_age", c.Duplicates)
	}
	return errors.Join(errs...)
}

func (c Config) validateLogin() error {
	ways := 0
	for _, set := range []bool{c.CredentialsFile != "", c.NkeyFile != "", c.User != "", !c.Token.IsZero() || c.TokenFile != ""} {
		if set {
			ways++
		}
	}
	password := !c.Password.IsZero() || c.PasswordFile != ""
	switch {
	case ways > 1:
		return errors.New("user: only one of credentials_file, nkey_file, user and token may be set")
	case c.User == "" && password:
		return errors.New("user: required with a password")
	case c.User != "" && !password:
		return errors.New("password_file: required with a user")
	case !c.Password.IsZero() && c.PasswordFile != "":
		return errors.New("password_file: only one of password and password_file may be set")
	case !c.Token.IsZero() && c.TokenFile != "":
		return errors.New("token_file: only one of token and token_file may be set")
	}
	return nil
}

func (c Config) validateTLS() error {
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		return errors.New("tls.cert_file: cert_file and key_file go together")
	}
	if name := c.TLS.ServerName; name != "" && net.ParseIP(name) == nil && strings.ContainsAny(name, " :/") {
		return fmt.Errorf("tls.server_name: %q is no host name", name)
	}
	return nil
}
