package web

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/callpop/connector/internal/secret"
)

// Config is where HTTP is served, and to whom.
type Config struct {
	// Health is the address of /livez, /readyz and /metrics; empty serves them
	// nowhere.
	Health string `koanf:"health"`
	// Public is the address of the agent feed, its script and the sample page;
	// empty serves them nowhere.
	Public string `koanf:"public"`
	// PublicTLS makes the public address HTTPS, where its files are set.
	PublicTLS TLS `koanf:"public_tls"`
	// Admin is the address for operators and their tools; empty serves them
	// nowhere.
	Admin string `koanf:"admin"`
	// AdminToken is what operators and tools prove themselves with. Without it
	// everyone on this machine may read on the admin address, nobody may change
	// anything, and the address has to be a loopback one.
	AdminToken secret.Value `koanf:"admin_token"`
	// AdminTLS makes the admin address HTTPS, where its files are set.
	AdminTLS TLS `koanf:"admin_tls"`
	// Pprof serves Go's profiles at /debug/pprof/ of the admin address.
	Pprof bool `koanf:"pprof"`
}

// TLS names the files of a certificate, in PEM. They are read again when they
// change.
type TLS struct {
	CertFile string `koanf:"cert_file"`
	KeyFile  string `koanf:"key_file"`
}

// DefaultConfig is the configuration where none is given.
func DefaultConfig() Config { return Config{Health: "127.0.0.1:8080"} }

// A token shorter than this could be guessed by trying; longer ones do not fit
// into a header with other things.
const (
	minToken = 16
	maxToken = 256
)

// Validate reports everything that is wrong with c, each with its key, its value
// and what was expected.
func (c Config) Validate() error {
	var errs []error
	if c.Health != "" {
		if _, err := host(c.Health); err != nil {
			errs = append(errs, fmt.Errorf("health: %q: expected host:port, such as 127.0.0.1:8080, or nothing: %w", c.Health, err))
		}
	}
	if c.Public != "" {
		if _, err := host(c.Public); err != nil {
			errs = append(errs, fmt.Errorf("public: %q: expected host:port, such as 0.0.0.0:8443, or nothing: %w", c.Public, err))
		}
	}
	if err := checkToken(c.AdminToken); err != nil {
		errs = append(errs, fmt.Errorf("admin_token: %w", err))
	}
	if c.Admin != "" {
		if err := c.checkAdmin(); err != nil {
			errs = append(errs, err)
		}
	} else if c.Pprof {
		errs = append(errs, errors.New("pprof: true: expected false, or an address in http.admin to serve profiles on"))
	}
	return errors.Join(append(errs, c.PublicTLS.check("public_tls"), c.AdminTLS.check("admin_tls"))...)
}

func (c Config) checkAdmin() error {
	name, err := host(c.Admin)
	if err != nil {
		return fmt.Errorf("admin: %q: expected host:port, such as 127.0.0.1:8090, or nothing: %w", c.Admin, err)
	}
	if c.AdminToken.IsZero() && !isLoopback(name) {
		return fmt.Errorf("admin: %q: expected a loopback address such as 127.0.0.1:8090, or admin_token beside it: without one anyone who reaches this machine could see every call", c.Admin)
	}
	return nil
}

func checkToken(token secret.Value) error {
	text := token.Reveal()
	switch {
	case text == "":
		return nil
	case len(text) < minToken || len(text) > maxToken:
		return fmt.Errorf("%d bytes: expected %d to %d", len(text), minToken, maxToken)
	case strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r > '~' }):
		return errors.New("expected printable ASCII without spaces, as a header can carry")
	}
	return nil
}

// AdminInClear reports whether http.admin is on a network, and without TLS: the
// token and customers' numbers then pass in clear.
func (c Config) AdminInClear() bool {
	name, err := host(c.Admin)
	return c.Admin != "" && err == nil && !isLoopback(name) && c.AdminTLS.CertFile == ""
}

func (t TLS) check(key string) error {
	if (t.CertFile == "") != (t.KeyFile == "") {
		return fmt.Errorf("%s: has one of cert_file and key_file: expected both, or neither", key)
	}
	return nil
}

// host is the name or number of an address whose port is a number.
func host(address string) (string, error) {
	name, port, err := net.SplitHostPort(address)
	if err != nil {
		return "", err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("port %q is not a number from 0 to 65535", port)
	}
	return name, nil
}

func isLoopback(name string) bool {
	ip := net.ParseIP(name)
	return strings.EqualFold(name, "localhost") || ip != nil && ip.IsLoopback()
}
