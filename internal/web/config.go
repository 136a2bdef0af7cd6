package web

import (
	"errors"
	"fmt"
	"net"
	"strconv"
)

// Config is where HTTP is served.
type Config struct {
	// Health is the address of /livez, /readyz and /metrics; empty serves them
	// nowhere.
	Health string `koanf:"health"`
	// Public is the address of the agent feed and its script. This version does
	// not serve them: it must be empty.
	Public string `koanf:"public"`
	// Admin is the address of the console. This version does not serve it: it
	// must be empty.
	Admin string `koanf:"admin"`
}

// DefaultConfig is the configuration where none is given.
func DefaultConfig() Config { return Config{Health: "127.0.0.1:8080"} }

// Validate reports everything that is wrong with c, each with its key, its value
// and what was expected.
func (c Config) Validate() error {
	var errs []error
	if c.Health != "" {
		if err := checkAddress(c.Health); err != nil {
			errs = append(errs, fmt.Errorf("health: %q: expected host:port, such as 127.0.0.1:8080, or nothing: %w", c.Health, err))
		}
	}
	if c.Public != "" {
		errs = append(errs, fmt.Errorf("public: %q: expected nothing: this version does not serve the agent feed", c.Public))
	}
	if c.Admin != "" {
		errs = append(errs, fmt.Errorf("admin: %q: expected nothing: this version does not serve the console", c.Admin))
	}
	return errors.Join(errs...)
}

func checkAddress(address string) error {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port %q is not a number from 0 to 65535", port)
	}
	return nil
}
