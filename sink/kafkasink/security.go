package kafkasink

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/url"
	"os"

	"github.com/callpop/connector/internal/secret"
)

// SASL says how to log in.
type SASL struct {
	// Mechanism is plain, scram-sha-256, scram-sha-512 or oauthbearer; empty: no
	// login.
	Mechanism string `koanf:"mechanism"`
	User      string `koanf:"user"`
	// Password, or the file that holds it. Files are read again for each
	// connection, so that what is in them may change.
	Password     secret.Value `koanf:"password"`
	PasswordFile string       `koanf:"password_file"`
	// TokenFile holds a token for oauthbearer.
	TokenFile string `koanf:"token_file"`
	// OAuth fetches tokens for oauthbearer.
	OAuth OAuth `koanf:"oauth"`
}

// OAuth is a client-credentials grant (RFC 6749, 4.4).
type OAuth struct {
	TokenURL         string       `koanf:"token_url"`
	ClientID         string       `koanf:"client_id"`
	ClientSecret     secret.Value `koanf:"client_secret"`
	ClientSecretFile string       `koanf:"client_secret_file"`
	Scope            string       `koanf:"scope"`
}

// TLS says how to encrypt.
type TLS struct {
	Enabled bool `koanf:"enabled"`
	// CAFile holds the certificates that sign the brokers'; the system's where it
	// is empty. A token server may be signed by either.
	CAFile string `koanf:"ca_file"`
	// CertFile and KeyFile are the client's certificate, where brokers ask for
	// one. They are read again for each connection.
	CertFile string `koanf:"cert_file"`
	KeyFile  string `koanf:"key_file"`
	// ServerName is the name in the brokers' certificates; the host of each
	// address where it is empty.
	ServerName string `koanf:"server_name"`
}

// The names of mechanisms in the configuration.
const (
	mechanismPlain       = "plain"
	mechanismSCRAM256    = "scram-sha-256"
	mechanismSCRAM512    = "scram-sha-512"
	mechanismOAuthBearer = "oauthbearer"
)

func (s *SASL) validate(p *problems) {
	switch s.Mechanism {
	case "":
		if *s != (SASL{}) {
			p.add("sasl.mechanism: is empty while other keys of sasl are set: want one of %s, %s, %s, %s",
				mechanismPlain, mechanismSCRAM256, mechanismSCRAM512, mechanismOAuthBearer)
		}
	case mechanismPlain, mechanismSCRAM256, mechanismSCRAM512:
		if s.User == "" {
			p.add("sasl.user: is empty: want the user for %s", s.Mechanism)
		}
		if s.Password.IsZero() == (s.PasswordFile == "") {
			p.add("sasl.password, sasl.password_file: want exactly one of the two for %s", s.Mechanism)
		}
		if s.TokenFile != "" || s.OAuth != (OAuth{}) {
			p.add("sasl.token_file, sasl.oauth: are set: want them for %s only, mechanism is %s", mechanismOAuthBearer, s.Mechanism)
		}
	case mechanismOAuthBearer:
		if !s.Password.IsZero() || s.PasswordFile != "" || s.User != "" {
			p.add("sasl.user, sasl.password, sasl.password_file: are set: %s wants token_file or oauth", s.Mechanism)
		}
		if (s.TokenFile == "") == (s.OAuth == (OAuth{})) {
			p.add("sasl.token_file, sasl.oauth: want exactly one of the two for %s", s.Mechanism)
		} else if s.TokenFile == "" {
			s.OAuth.validate(p)
		}
	default:
		p.oneOf("sasl.mechanism", s.Mechanism, mechanismPlain, mechanismSCRAM256, mechanismSCRAM512, mechanismOAuthBearer)
	}
}

func (o *OAuth) validate(p *problems) {
	u, err := url.Parse(o.TokenURL)
	// The URL is not quoted: people put passwords into URLs.
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil {
		p.add("sasl.oauth.token_url: want an http or https URL without user and password")
	}
	if o.ClientID == "" {
		p.add("sasl.oauth.client_id: is empty: want the client's id")
	}
	if o.ClientSecret.IsZero() == (o.ClientSecretFile == "") {
		p.add("sasl.oauth.client_secret, sasl.oauth.client_secret_file: want exactly one of the two")
	}
}

func (t *TLS) validate(p *problems) {
	if !t.Enabled && *t != (TLS{}) {
		p.add("tls.enabled: is false while other keys of tls are set: want true, or none of them")
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		p.add("tls.cert_file, tls.key_file: want both or neither")
	}
}

// config makes the settings of connections to brokers; nil without TLS.
func (t *TLS) config() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		roots := x509.NewCertPool()
		if err := addCertificates(roots, t.CAFile); err != nil {
			return nil, err
		}
		c.RootCAs = roots
	}
	if t.CertFile != "" {
		certificate := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			pair, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			if err != nil {
				return nil, fmt.Errorf("load tls.cert_file %s and tls.key_file %s: %w", t.CertFile, t.KeyFile, err)
			}
			return &pair, nil
		}
		if _, err := certificate(nil); err != nil {
			return nil, err
		}
		c.GetClientCertificate = certificate
	}
	return c, nil
}

// tokenServerConfig makes the settings of connections to a token server, which
// the system's certificates or those of CAFile may have signed.
func (t *TLS) tokenServerConfig() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t.CAFile == "" {
		return c, nil
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if err := addCertificates(roots, t.CAFile); err != nil {
		return nil, err
	}
	c.RootCAs = roots
	return c, nil
}

func addCertificates(pool *x509.CertPool, file string) error {
	pem, err := readFile(file, maxCertificates)
	if err != nil {
		return fmt.Errorf("read tls.ca_file: %w", err)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return fmt.Errorf("read tls.ca_file: %s holds no certificate in PEM", file)
	}
	return nil
}

// Limits of files.
const (
	maxCertificates = 4 << 20
)

// readFile reads a file that is not larger than limit.
func readFile(name string, limit int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	content, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(content)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return content, nil
}

// readSecret gives the secret itself, or what file holds.
func readSecret(value secret.Value, file string) (string, error) {
	if file != "" {
		var err error
		if value, err = secret.ReadFile(file); err != nil {
			return "", err
		}
	}
	return value.Reveal(), nil
}
