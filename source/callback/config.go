package callback

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/callpop/connector/internal/secret"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/pop"
)

// Config is a source of type callback.
type Config struct {
	// Name of the source; unique.
	Name string `koanf:"name"`
	Type string `koanf:"type"`
	// Server is the LQ server's name in events, subjects and keys; the source's
	// name where it is not given.
	Server string `koanf:"server"`
	// Listen is the host and port that custURL names. Sources may share it.
	Listen string `koanf:"listen"`
	// Path is custURL's path.
	Path string `koanf:"path"`
	// Redirect is the template of the address that an agent's browser is sent on
	// to, see [ParseRedirect]; empty: the answer is 204.
	Redirect string      `koanf:"redirect"`
	Charset  pop.Charset `koanf:"charset"`
	// Timezone is the server's zone, by its IANA name.
	Timezone string `koanf:"timezone"`
	// AreaCode is the site's, without which local land lines have no E.164 form.
	AreaCode string `koanf:"area_code"`
	// Secret has to come with each pop, where it is set: as "Authorization: Bearer",
	// or as the parameter that SecretParameter names.
	Secret          secret.Value `koanf:"secret"`
	SecretParameter string       `koanf:"secret_parameter"`
	// Allow lists the networks (10.1.0.0/16) and addresses that may send pops;
	// empty = every one.
	Allow []string `koanf:"allow"`
	// TLS makes it HTTPS, where its files are set.
	TLS TLS `koanf:"tls"`
}

// TLS names the files of the certificate, in PEM. They are read again when they
// change.
type TLS struct {
	CertFile string `koanf:"cert_file"`
	KeyFile  string `koanf:"key_file"`
}

func (t TLS) enabled() bool { return t.CertFile != "" }

// DefaultConfig holds the defaults.
func DefaultConfig() Config {
	return Config{
		Type:            "callback",
		Path:            "/pop",
		Charset:         pop.Auto,
		Timezone:        "Asia/Shanghai",
		SecretParameter: "secret",
	}
}

const (
	maxPath = 256
	// minSecret keeps a secret from being guessed by trying.
	minSecret = 16
	maxSecret = 256
)

// Validate returns the first thing that is wrong with c, by the name of its key.
func (c *Config) Validate() error {
	if err := source.CheckName("name", c.Name); err != nil {
		return err
	}
	if err := source.CheckName("server", c.Server); err != nil {
		return err
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || port == "" {
		return fmt.Errorf("listen is %q: expected the host and port that custURL names, such as 0.0.0.0:8081", c.Listen)
	}
	if err := checkPath(c.Path); err != nil {
		return err
	}
	if c.Redirect != "" {
		if _, err := ParseRedirect(c.Redirect); err != nil {
			return fmt.Errorf("redirect is %q: %w", c.Redirect, err)
		}
	}
	if _, err := c.decoding(); err != nil {
		return err
	}
	if err := c.checkSecret(); err != nil {
		return err
	}
	if _, err := source.ParseAllow(c.Allow); err != nil {
		return err
	}
	if (c.TLS.CertFile == "") != (c.TLS.KeyFile == "") {
		return errors.New("tls has one of cert_file and key_file: expected both, or neither")
	}
	return nil
}

func checkPath(path string) error {
	const expected = "expected a path such as /pop: letters, digits and the marks - _ . ~ between slashes"
	legal := func(r rune) bool {
		return r == '/' || r == '-' || r == '_' || r == '.' || r == '~' ||
			'0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	wrong := !strings.HasPrefix(path, "/") || len(path) > maxPath || strings.Contains(path, "//") ||
		strings.ContainsFunc(path, func(r rune) bool { return !legal(r) })
	for segment := range strings.SplitSeq(path, "/") {
		wrong = wrong || segment == "." || segment == ".."
	}
	if wrong {
		return fmt.Errorf("path is %q: %s", path, expected)
	}
	return nil
}

// known are the parameters that the manual names.
func known() []string {
	return []string{"phone", "oper", "ch", "outch", "startTime", "datetime", "dtmf", "id"}
}

func (c *Config) checkSecret() error {
	legal := func(r rune) bool {
		return r == '-' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z'
	}
	name := c.SecretParameter
	switch {
	case name == "" || len(name) > 64 || strings.ContainsFunc(name, func(r rune) bool { return !legal(r) }):
		return fmt.Errorf("secret_parameter is %q: expected 1 to 64 letters, digits, - and _", name)
	case slices.Contains(known(), name):
		return fmt.Errorf("secret_parameter is %q: expected a name that is not one of a pop's own parameters", name)
	case c.Secret.IsZero():
		return nil
	case len(c.Secret.Reveal()) < minSecret || len(c.Secret.Reveal()) > maxSecret:
		return fmt.Errorf("secret has %d bytes: expected %d to %d", len(c.Secret.Reveal()), minSecret, maxSecret)
	}
	return nil
}

func (c *Config) decoding() (*source.Decoding, error) {
	return source.NewDecoding(c.Charset, c.Timezone, c.AreaCode)
}

// Conflict returns why two valid configurations cannot both run, or nil. Sources
// on one address need paths of their own and the same certificate.
func (c *Config) Conflict(other *Config) error {
	at, shared := address(c.Listen)
	if otherAt, otherShared := address(other.Listen); !shared || !otherShared || at != otherAt {
		return nil
	}
	if c.Path == other.Path {
		return fmt.Errorf("path is %q, which source %s has on %s as well: expected a path of its own", c.Path, other.Name, at)
	}
	if c.TLS != other.TLS {
		return fmt.Errorf("tls differs from that of source %s, which listens on %s as well: expected the same files", other.Name, at)
	}
	return nil
}

// address writes a listen address in one way, and says whether it can be shared:
// port 0 is another one each time.
func address(listen string) (at string, shared bool) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return listen, false
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	if number, err := net.LookupPort("tcp", port); err == nil {
		port = fmt.Sprint(number)
	}
	return net.JoinHostPort(strings.ToLower(host), port), port != "0"
}
