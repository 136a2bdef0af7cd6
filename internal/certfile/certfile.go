// Package certfile holds a server's certificate that is read again when its files
// change: they do so every few months, and the daemon does not restart for it.
package certfile

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// recheck is how long a certificate is used before its files are looked at again.
const recheck = time.Minute

// Certificate is a key pair in two files.
type Certificate struct {
	certFile, keyFile string

	mu      sync.Mutex // guards what follows
	pair    *tls.Certificate
	changed [2]time.Time
	checked time.Time
}

// Load reads a certificate with its chain and its key, each a PEM file. The error
// names the files.
func Load(certFile, keyFile string) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, checked: time.Now()}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return c, nil
}

// Config is a server's configuration with this certificate.
func (c *Certificate) Config() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: c.get}
}

func (c *Certificate) load() error {
	changed, err := c.times()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("read %s and %s: %w", c.certFile, c.keyFile, err)
	}
	c.pair, c.changed = &pair, changed
	return nil
}

func (c *Certificate) times() (changed [2]time.Time, err error) {
	for i, name := range [...]string{c.certFile, c.keyFile} {
		info, err := os.Stat(name)
		if err != nil {
			return changed, err
		}
		changed[i] = info.ModTime()
	}
	return changed, nil
}

// get is the [tls.Config]'s GetCertificate. What cannot be read, as in the middle
// of a change, leaves the old one in use until the next look.
func (c *Certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= recheck {
		c.checked = now
		if changed, err := c.times(); err == nil && changed != c.changed {
			_ = c.load()
		}
	}
	return c.pair, nil
}
