package spool

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/callpop/connector/internal/bytesize"
	"github.com/callpop/connector/internal/secret"
)

// The smallest limits that make sense. A stream's bytes may not be less than one
// of its block files can waste; a max_age under a minute would make the window in
// which the log recognises a repeated event useless.
const (
	minSync     = time.Millisecond
	maxSync     = time.Minute
	minMaxAge   = time.Minute
	minMaxBytes = bytesize.MiB
)

// Config is the spool's part of the configuration.
type Config struct {
	// Dir is the directory that holds the log. It is made when missing and
	// locked while the spool is open.
	Dir string `koanf:"dir"`
	// Sync says when the log reaches the disk.
	Sync Sync `koanf:"sync"`
	// MaxAge is how long an event stays, in each stream.
	MaxAge time.Duration `koanf:"max_age"`
	// MaxBytes is how much each of the three streams may hold; the oldest events
	// go first.
	MaxBytes bytesize.Size `koanf:"max_bytes"`
	// MinFree is the free disk space below which [Spool.Emit] holds back; 0 never
	// holds back.
	MinFree bytesize.Size `koanf:"min_free"`
}

// DefaultConfig is the configuration where none is given.
func DefaultConfig() Config {
	return Config{
		Dir:      "./data",
		Sync:     Sync(100 * time.Millisecond),
		MaxAge:   72 * time.Hour,
		MaxBytes: 4 * bytesize.GiB,
		MinFree:  256 * bytesize.MiB,
	}
}

// Validate reports everything that is wrong with c, each with its key, its value
// and what was expected.
func (c Config) Validate() error {
	var errs []error
	if strings.TrimSpace(c.Dir) == "" {
		errs = append(errs, fmt.Errorf("dir: %q: expected a directory", c.Dir))
	}
	if c.Sync != SyncAlways && (time.Duration(c.Sync) < minSync || time.Duration(c.Sync) > maxSync) {
		errs = append(errs, fmt.Errorf("sync: %v: expected %q or a duration from %v to %v", c.Sync, syncAlways, minSync, maxSync))
	}
	if c.MaxAge < minMaxAge {
		errs = append(errs, fmt.Errorf("max_age: %v: expected %v or more, such as 72h", c.MaxAge, minMaxAge))
	}
	if c.MaxBytes < minMaxBytes {
		errs = append(errs, fmt.Errorf("max_bytes: %v: expected %v or more, such as 4GiB", c.MaxBytes, minMaxBytes))
	}
	if c.MinFree < 0 {
		errs = append(errs, fmt.Errorf("min_free: %v: expected 0 or more, such as 256MiB", c.MinFree))
	}
	return errors.Join(errs...)
}

// Sync says when the log reaches the disk: at an interval, so that a loss of
// power costs at most that interval's events, or, as [SyncAlways], before an emit
// returns. A process that is killed loses nothing either way.
type Sync time.Duration

// SyncAlways syncs each event to disk before its emit returns.
const SyncAlways Sync = -1

const syncAlways = "always"

// String is the form that configuration has: 100ms, or always.
func (s Sync) String() string {
	if s == SyncAlways {
		return syncAlways
	}
	return time.Duration(s).String()
}

// MarshalText writes s as String does.
func (s Sync) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads "always" or a duration with its unit, such as 100ms.
func (s *Sync) UnmarshalText(text []byte) error {
	if string(text) == syncAlways {
		*s = SyncAlways
		return nil
	}
	d, err := time.ParseDuration(string(text))
	// ParseDuration lets a bare 0 pass.
	if err != nil || d <= 0 {
		return fmt.Errorf("%q: expected %q or a duration with a unit, such as 100ms", text, syncAlways)
	}
	*s = Sync(d)
	return nil
}

// Embedded is the configuration of the broker that the spool can be to others:
// NATS clients subscribe to its streams. Whatever their credentials, they can
// read events and keep consumers of their own, and change nothing else.
type Embedded struct {
	// Listen is the address to listen on, such as 127.0.0.1:4222; empty for none.
	Listen string `koanf:"listen"`
	// User and Password are what clients log in with. Without them anyone on this
	// machine may read, and nobody else.
	User     string       `koanf:"user"`
	Password secret.Value `koanf:"password"`
	// TLS encrypts the clients' connections.
	TLS TLS `koanf:"tls"`
}

// TLS is the configuration of the embedded broker's certificate.
type TLS struct {
	// CertFile and KeyFile are PEM files; both or neither.
	CertFile string `koanf:"cert_file"`
	KeyFile  string `koanf:"key_file"`
	// ClientCAFile is a PEM file of authorities: clients must then show a
	// certificate signed by one of them.
	ClientCAFile string `koanf:"client_ca_file"`
}

// Validate reports everything that is wrong with e, each with its key, its value
// and what was expected. Listening beyond loopback needs credentials: a user and
// password, or a client authority.
func (e Embedded) Validate() error {
	var errs []error
	if (e.User == "") != e.Password.IsZero() {
		errs = append(errs, errors.New("user, password: only one of them is set: expected both or neither"))
	}
	if (e.TLS.CertFile == "") != (e.TLS.KeyFile == "") {
		errs = append(errs, fmt.Errorf("tls.cert_file: %q, tls.key_file: %q: expected both or neither", e.TLS.CertFile, e.TLS.KeyFile))
	}
	if e.TLS.ClientCAFile != "" && e.TLS.CertFile == "" {
		errs = append(errs, fmt.Errorf("tls.client_ca_file: %q: expected tls.cert_file and tls.key_file beside it", e.TLS.ClientCAFile))
	}
	if e.Listen != "" {
		if err := e.validateListen(); err != nil {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (e Embedded) validateListen() error {
	host, _, err := splitHostPort(e.Listen)
	if err != nil {
		return fmt.Errorf("listen: %q: expected host:port, such as 127.0.0.1:4222: %w", e.Listen, err)
	}
	if e.hasCredentials() || isLoopback(host) {
		return nil
	}
	return fmt.Errorf("listen: %q: expected a loopback address such as 127.0.0.1:4222, or credentials beside it (user and password, or tls.client_ca_file): without them anyone who reaches this machine could read every event", e.Listen)
}

// hasCredentials reports whether clients have to prove who they are.
func (e Embedded) hasCredentials() bool { return e.User != "" || e.TLS.ClientCAFile != "" }

func isLoopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// splitHostPort takes an address apart. The port is a number: the server takes
// no service names.
func splitHostPort(address string) (host string, port int, err error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return "", 0, err
	}
	n, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return "", 0, fmt.Errorf("port %q: expected 0 to 65535", service)
	}
	return host, int(n), nil
}
