package session

import (
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/pop"
)

// Config is a source of type session.
type Config struct {
	// Name of the source; unique.
	Name string `koanf:"name"`
	Type string `koanf:"type"`
	// Server is the LQ server's name in events, subjects and keys; the source's
	// name where it is not given.
	Server string `koanf:"server"`
	// Address is the LQ server's host and port.
	Address string `koanf:"address"`
	// Agents is the roster, AgentsFile a file with more of it that may change while
	// the connector runs. Read has what was in the file. There may be neither where
	// the roster is set by HTTP.
	Agents     source.Roster `koanf:"agents"`
	AgentsFile string        `koanf:"agents_file"`
	Read       source.Roster
	// Registration is the template of the registration message, see
	// [frame.ParseRegistration]; RegistrationHex gives it as hex digits. Exactly
	// one is required: the vendor does not publish these bytes.
	Registration    string      `koanf:"registration"`
	RegistrationHex string      `koanf:"registration_hex"`
	Charset         pop.Charset `koanf:"charset"`
	// Timezone is the server's zone, by its IANA name.
	Timezone string `koanf:"timezone"`
	// AreaCode is the site's, without which local land lines have no E.164 form.
	AreaCode string `koanf:"area_code"`
	// ExpireAfter is how long a server may be silent; 0 = for ever. Three times
	// the longest heartbeat interval seen from the server, where that is longer.
	ExpireAfter time.Duration `koanf:"expire_after"`
	// ReconnectInterval bounds the pause before another attempt.
	ReconnectInterval time.Duration `koanf:"reconnect_interval"`
	// DialRate is how many connections a second are opened to the server.
	DialRate int `koanf:"dial_rate"`
	// AllowOverlap permits another source on the same address.
	AllowOverlap bool `koanf:"allow_overlap"`
}

// DefaultConfig holds the defaults: the times are those of LClientCS.ocx (manual,
// chapter 6).
func DefaultConfig() Config {
	return Config{
		Type:              "session",
		Charset:           pop.Auto,
		Timezone:          "Asia/Shanghai",
		ExpireAfter:       30 * time.Second,
		ReconnectInterval: 20 * time.Second,
		DialRate:          50,
	}
}

// ErrNoRegistration says what to do about the one thing that nobody publishes.
var ErrNoRegistration = errors.New("registration is missing: " +
	"the vendor's manual does not say which bytes a client sends to register, so they must be set. " +
	"Ask the vendor, or record what a client that works sends first (connector capture, then connector capture show, " +
	"which writes the lines to paste): with {{.Agent}} and {{.Channel}} in place of the agent's number and channel, " +
	"such as registration: 'op={{.Agent}},ch={{.Channel}};'")

// Validate returns the first thing that is wrong with c, by the name of its key.
func (c *Config) Validate() error {
	if err := source.CheckName("name", c.Name); err != nil {
		return err
	}
	if err := source.CheckName("server", c.Server); err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil || host == "" || port == "" {
		return fmt.Errorf("address is %q: expected the LQ server's host and port, such as 10.0.0.5:7628", c.Address)
	}
	if _, err := c.registration(); err != nil {
		return err
	}
	if _, err := c.decoding(); err != nil {
		return err
	}
	switch {
	case c.ExpireAfter < 0 || c.ExpireAfter > 0 && c.ExpireAfter < time.Second:
		return fmt.Errorf("expire_after is %v: expected at least 1s, or 0 for never", c.ExpireAfter)
	case c.ReconnectInterval < 100*time.Millisecond || c.ReconnectInterval > time.Hour:
		return fmt.Errorf("reconnect_interval is %v: expected 100ms to 1h", c.ReconnectInterval)
	case c.DialRate < 1 || c.DialRate > 10_000:
		return fmt.Errorf("dial_rate is %d: expected 1 to 10000 connections a second", c.DialRate)
	}
	return nil
}

func (c *Config) registration() (frame.Registration, error) {
	switch {
	case c.Registration == "" && c.RegistrationHex == "":
		return frame.Registration{}, ErrNoRegistration
	case c.Registration != "" && c.RegistrationHex != "":
		return frame.Registration{}, errors.New("registration and registration_hex are both set: expected one of them")
	case c.RegistrationHex != "":
		r, err := frame.ParseRegistrationHex(c.RegistrationHex)
		if err != nil {
			return r, fmt.Errorf("registration_hex is %q: %w", c.RegistrationHex, err)
		}
		return r, nil
	default:
		r, err := frame.ParseRegistration(c.Registration)
		if err != nil {
			return r, fmt.Errorf("registration is %q: %w", c.Registration, err)
		}
		return r, nil
	}
}

func (c *Config) decoding() (*source.Decoding, error) {
	return source.NewDecoding(c.Charset, c.Timezone, c.AreaCode)
}

// Configured is the roster as configuration and file have it; of an agent in both
// the file's entry counts.
func (c *Config) Configured() source.Roster { return c.Agents.With(c.Read) }

// SameSession reports whether the session of an agent that stands in c just as in
// other is the same with both: if not, it has to be closed and opened anew. Both
// are valid.
func (c *Config) SameSession(other *Config, agent source.Agent) bool {
	a, errA := c.target()
	b, errB := other.target()
	return errA == nil && errB == nil && c.Server == other.Server && a.same(b, agent.ID, agent.Channel)
}

func (c *Config) target() (*target, error) {
	registration, err := c.registration()
	return &target{c.Address, registration}, err
}
