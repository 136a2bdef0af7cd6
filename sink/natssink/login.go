package natssink

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/callpop/connector/internal/secret"
)

// readSecret reads the secret of a key from its file.
func readSecret(key, file string) (string, error) {
	v, err := secret.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("%s: %w", key, err)
	}
	return v.Reveal(), nil
}

// rotating gives the newest content of a secret's file. If it cannot be read when
// it is needed, the last content that could be serves: a mount that is being
// replaced must not lock us out.
type rotating struct {
	key, file string
	log       *slog.Logger

	mu   sync.Mutex
	last string
}

func newRotating(key, file string, log *slog.Logger) (*rotating, error) {
	text, err := readSecret(key, file)
	if err != nil {
		return nil, err
	}
	return &rotating{key: key, file: file, log: log, last: text}, nil
}

func (r *rotating) text() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	text, err := readSecret(r.key, r.file)
	if err != nil {
		r.log.Warn("a secret's file cannot be read: using what it held", slog.String("error", err.Error()))
		return r.last
	}
	r.last = text
	return text
}

// loginOptions returns how the connection logs in. All files are read once, so
// that a wrong path is an error at the start and not a sink that never connects.
func (c Config) loginOptions(log *slog.Logger) ([]nats.Option, error) {
	switch {
	case c.CredentialsFile != "":
		if err := checkCredentials(c.CredentialsFile); err != nil {
			return nil, err
		}
		return []nats.Option{nats.UserCredentials(c.CredentialsFile)}, nil
	case c.NkeyFile != "":
		option, err := nats.NkeyOptionFromSeed(c.NkeyFile)
		if err != nil {
			return nil, fmt.Errorf("nkey_file: %w", err)
		}
		return []nats.Option{option}, nil
	case c.User != "" && c.PasswordFile != "":
		password, err := newRotating("password_file", c.PasswordFile, log)
		if err != nil {
			return nil, err
		}
		return []nats.Option{nats.UserInfoHandler(func() (string, string) { return c.User, password.text() })}, nil
	case c.User != "":
		return []nats.Option{nats.UserInfo(c.User, c.Password.Reveal())}, nil
	case c.TokenFile != "":
		token, err := newRotating("token_file", c.TokenFile, log)
		if err != nil {
			return nil, err
		}
		return []nats.Option{nats.TokenHandler(token.text)}, nil
	case !c.Token.IsZero():
		return []nats.Option{nats.Token(c.Token.Reveal())}, nil
	default:
		return nil, nil
	}
}

// checkCredentials reads a credentials file as nats.go will: it would take any
// text as a JWT and find out at the first connection.
func checkCredentials(file string) error {
	content, err := readSecret("credentials_file", file)
	if err != nil {
		return err
	}
	pair, err := nkeys.ParseDecoratedUserNKey([]byte(content))
	if err != nil {
		return fmt.Errorf("credentials_file: %s: no user's key in it: %w", file, err)
	}
	pair.Wipe()
	if token, err := nkeys.ParseDecoratedJWT([]byte(content)); err != nil || strings.Count(token, ".") != 2 {
		return fmt.Errorf("credentials_file: %s: %w", file, errNoJWT)
	}
	return nil
}

// try applies an option to see whether its files can be read.
func try(option nats.Option) error {
	var o nats.Options
	return option(&o)
}

// tlsOptions returns how the connection is secured; none without TLS's files and
// server name, where the URL's scheme decides.
func (c Config) tlsOptions() ([]nats.Option, error) {
	t := c.TLS
	if !t.enabled() {
		return nil, nil
	}
	options := []nats.Option{nats.Secure(&tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName})}
	var certificate func() (tls.Certificate, error)
	var authorities func() (*x509.CertPool, error)
	if t.CertFile != "" {
		certificate = func() (tls.Certificate, error) {
			cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
			if err != nil {
				return cert, fmt.Errorf("tls.cert_file: %w", err)
			}
			return cert, nil
		}
	}
	if t.CAFile != "" {
		authorities = func() (*x509.CertPool, error) {
			pem, err := os.ReadFile(t.CAFile)
			if err != nil {
				return nil, fmt.Errorf("tls.ca_file: %w", err)
			}
			pool := x509.NewCertPool()
			if !pool.AppendCertsFromPEM(pem) {
				return nil, fmt.Errorf("tls.ca_file: %s: %w", t.CAFile, errNoCertificate)
			}
			return pool, nil
		}
	}
	if certificate != nil || authorities != nil {
		option := nats.ClientTLSConfig(certificate, authorities)
		if err := try(option); err != nil {
			return nil, err
		}
		options = append(options, option)
	}
	return options, nil
}

var errNoJWT = errors.New("no user's JWT in it")

var errNoCertificate = errors.New("there is no PEM certificate in it")
