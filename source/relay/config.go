package relay

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"time"

	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/pop"
)

// Config is a source of type relay.
type Config struct {
	// Name of the source; unique.
	Name string `koanf:"name"`
	Type string `koanf:"type"`
	// Server is the LQ server's name in events, subjects and keys; the source's
	// name where it is not given.
	Server string `koanf:"server"`
	// Listen is the host and port that the desktops connect to.
	Listen string `koanf:"listen"`
	// Address is the LQ server's host and port.
	Address string `koanf:"address"`
	// AgentPattern is a regular expression (RE2) that finds the agent's number, as
	// its group "agent", and if it has a group "channel" the channel, in the first
	// KiB that a desktop sends.
	AgentPattern string      `koanf:"agent_pattern"`
	Charset      pop.Charset `koanf:"charset"`
	// Timezone is the server's zone, by its IANA name.
	Timezone string `koanf:"timezone"`
	// AreaCode is the site's, without which local land lines have no E.164 form.
	AreaCode string `koanf:"area_code"`
	// ExpireAfter is how long a server may be silent on a connection before that is
	// reported; 0 = for ever. Three times the longest heartbeat interval seen from
	// the server, where that is longer. The connection is left alone.
	ExpireAfter time.Duration `koanf:"expire_after"`
	// DialTimeout bounds how long a desktop waits for the server to accept.
	DialTimeout time.Duration `koanf:"dial_timeout"`
	// MaxClients and MaxClientsPerAddress bound the connections at one time, in all
	// and from one address.
	MaxClients           int `koanf:"max_clients"`
	MaxClientsPerAddress int `koanf:"max_clients_per_address"`
	// Allow lists the networks (10.1.0.0/16) and addresses that may connect; empty =
	// every one.
	Allow []string `koanf:"allow"`
	// AllowOverlap permits another source on the same address.
	AllowOverlap bool `koanf:"allow_overlap"`
}

// DefaultConfig holds the defaults. An address may hold many agents: a terminal
// server, or a branch office behind NAT. Its limit is there to keep one client gone
// wild from taking all the places.
func DefaultConfig() Config {
	return Config{
		Type:                 "relay",
		Listen:               "0.0.0.0:7628",
		AgentPattern:         `op=(?P<agent>[^,;\s]+)`,
		Charset:              pop.Auto,
		Timezone:             "Asia/Shanghai",
		ExpireAfter:          30 * time.Second,
		DialTimeout:          10 * time.Second,
		MaxClients:           5000,
		MaxClientsPerAddress: 256,
	}
}

// maxPattern bounds the length in bytes of the agent pattern, and with it the work
// of matching.
const maxPattern = 1024

// Validate returns the first thing that is wrong with c, by the name of its key.
func (c *Config) Validate() error {
	if err := source.CheckName("name", c.Name); err != nil {
		return err
	}
	if err := source.CheckName("server", c.Server); err != nil {
		return err
	}
	if _, port, err := net.SplitHostPort(c.Listen); err != nil || port == "" {
		return fmt.Errorf("listen is %q: expected the host and port that the desktops connect to, such as 0.0.0.0:7628", c.Listen)
	}
	if host, port, err := net.SplitHostPort(c.Address); err != nil || host == "" || port == "" {
		return fmt.Errorf("address is %q: expected the LQ server's host and port, such as 10.0.0.6:7628", c.Address)
	}
	if _, err := c.pattern(); err != nil {
		return err
	}
	if _, err := c.decoding(); err != nil {
		return err
	}
	switch {
	case c.ExpireAfter < 0 || c.ExpireAfter > 0 && c.ExpireAfter < time.Second:
		return fmt.Errorf("expire_after is %v: expected at least 1s, or 0 for never", c.ExpireAfter)
	case c.DialTimeout < 100*time.Millisecond || c.DialTimeout > 5*time.Minute:
		return fmt.Errorf("dial_timeout is %v: expected 100ms to 5m", c.DialTimeout)
	case c.MaxClients < 1 || c.MaxClients > 100_000:
		return fmt.Errorf("max_clients is %d: expected 1 to 100000 connections", c.MaxClients)
	case c.MaxClientsPerAddress < 1 || c.MaxClientsPerAddress > 100_000:
		return fmt.Errorf("max_clients_per_address is %d: expected 1 to 100000 connections", c.MaxClientsPerAddress)
	}
	_, err := source.ParseAllow(c.Allow)
	return err
}

func (c *Config) pattern() (*regexp.Regexp, error) {
	const expected = `expected a regular expression with a group named agent, such as 'op=(?P<agent>[^,;\s]+)'`
	if len(c.AgentPattern) > maxPattern {
		return nil, fmt.Errorf("agent_pattern has %d bytes: expected at most %d", len(c.AgentPattern), maxPattern)
	}
	pattern, err := regexp.Compile(c.AgentPattern)
	if err != nil {
		return nil, fmt.Errorf("agent_pattern is %q: %w: %s", c.AgentPattern, err, expected)
	}
	for _, name := range pattern.SubexpNames() {
		if name != "" && name != "agent" && name != "channel" {
			return nil, fmt.Errorf("agent_pattern is %q: unknown group %q: expected agent, and channel where there is one", c.AgentPattern, name)
		}
	}
	if pattern.SubexpIndex("agent") < 0 {
		return nil, fmt.Errorf("agent_pattern is %q: %s", c.AgentPattern, expected)
	}
	return pattern, nil
}

func (c *Config) decoding() (*source.Decoding, error) {
	return source.NewDecoding(c.Charset, c.Timezone, c.AreaCode)
}

// dialsItself reports whether what the relay dials is where it listens: each
// connection would then open another until the limits are reached.
func (c *Config) dialsItself(listening netip.AddrPort, own []net.Addr) bool {
	host, port, err := net.SplitHostPort(c.Address)
	if err != nil {
		return false
	}
	number, err := net.LookupPort("tcp", port)
	if err != nil || number != int(listening.Port()) {
		return false
	}
	if strings.EqualFold(host, "localhost") {
		host = "127.0.0.1"
	}
	address, err := netip.ParseAddr(host)
	if err != nil {
		return false // a name: to ask for it at start would make the start depend on DNS
	}
	address = address.Unmap()
	listen := listening.Addr().Unmap()
	if !listen.IsUnspecified() {
		return address == listen || address.IsUnspecified() && listen.IsLoopback()
	}
	if address.IsLoopback() || address.IsUnspecified() {
		return true
	}
	for _, a := range own {
		if prefix, err := netip.ParsePrefix(a.String()); err == nil && prefix.Addr().Unmap() == address {
			return true
		}
	}
	return false
}

var errDialsItself = errors.New("address is the relay's own: each desktop would be passed on to the relay itself without end; " +
	"expected the LQ server's address, or another port in listen")
