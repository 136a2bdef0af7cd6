package callback

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// recheck is how long a certificate is used before its files are looked at again.
const recheck = time.Minute

// certificate is a key pair that is read again when its files change: they do so
// every few months, and the daemon does not restart for it.
type certificate struct {
	files TLS

	mu      sync.Mutex // guards what follows
	pair    *tls.Certificate
	changed [2]time.Time
	checked time.Time
}

func loadCertificate(files TLS) (*certificate, error) {
	c := &certificate{files: files, checked: time.Now()}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	return c, nil
}

func (c *certificate) load() error {
	changed, err := c.times()
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.files.CertFile, c.files.KeyFile)
	if err != nil {
		return fmt.Errorf("read %s and %s: %w", c.files.CertFile, c.files.KeyFile, err)
	}
	c.pair, c.changed = &pair, changed
	return nil
}

func (c *certificate) times() (changed [2]time.Time, err error) {
	for i, name := range [...]string{c.files.CertFile, c.files.KeyFile} {
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
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
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
