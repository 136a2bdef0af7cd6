package config

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/callback"
	"github.com/callpop/connector/source/relay"
	"github.com/callpop/connector/source/session"
)

// Validate reports everything that is wrong with c as [Errors], without places in
// a file. Load has done it.
func (c *Config) Validate() error {
	var m mistakes
	c.check(&m)
	return m.err()
}

// check lets each part look at itself and then looks at what they share. A part
// that is known to be wrong already is left out: what it says could follow from
// that alone.
func (c *Config) check(m *mistakes) {
	part := func(key string, value Component) {
		p := (*path)(nil).at(key)
		if !m.within(p) {
			m.said(p, value.Validate(), keysOf(fieldsOf(reflect.ValueOf(value).Elem())))
		}
	}
	sources := (*path)(nil).at("sources")
	if len(c.Sources) == 0 && !m.within(sources) {
		m.add(sources, Error{Expected: "at least one source", message: "sources is empty: expected at least one source"})
	}
	for i, s := range c.Sources {
		if p := sources.entry(i); !m.within(p) {
			m.said(p, s.validate(), componentKeys(s.Config))
			c.checkRoster(m, p, s.Config)
		}
	}
	for i, s := range c.Sinks {
		if p := (*path)(nil).at("sinks").entry(i); !m.within(p) {
			m.said(p, s.validate(), componentKeys(s.Config))
		}
	}
	part("source", &c.Intake)
	part("spool", &c.Spool)
	part("embedded", &c.Embedded)
	part("http", &c.HTTP)
	part("feed", &c.Feed)
	part("log", &c.Log)
	part("replicas", &c.Replicas)
	part("telemetry", &c.Telemetry)
	timeout := (*path)(nil).at("shutdown_timeout")
	if (c.ShutdownTimeout < minShutdown || c.ShutdownTimeout > maxShutdown) && !m.within(timeout) {
		m.wrong(timeout, shortDuration(c.ShutdownTimeout), shortDuration(minShutdown)+" to "+shortDuration(maxShutdown))
	}
	c.checkNames(m)
	c.checkAddresses(m)
	c.checkAgents(m)
	c.checkCallbacks(m)
	c.checkPublic(m)
}

// Below a second nothing drains; a supervisor waits minutes at most.
const (
	minShutdown = time.Second
	maxShutdown = 10 * time.Minute
)

func (s *Source) validate() error {
	if s.Config == nil {
		return errors.New("type is missing: expected a source")
	}
	return s.Config.Validate()
}

func (s *Sink) validate() error {
	if s.Config == nil {
		return errors.New("type is missing: expected a sink")
	}
	return errors.Join(source.CheckName("name", s.Name), s.Config.Validate())
}

func componentKeys(c Component) []string {
	keys := []string{"name", "type", "start"}
	if c == nil {
		return keys
	}
	return append(keys, keysOf(fieldsOf(reflect.ValueOf(c).Elem()))...)
}

// checkNames refuses two sources, or two sinks, of one name: metrics, and a sink's
// place in the spool, go by it.
func (c *Config) checkNames(m *mistakes) {
	unique := func(list string, names []string) {
		first := map[string]int{}
		for i, name := range names {
			at, taken := first[name]
			if !taken {
				first[name] = i
			}
			if taken && name != "" {
				p := (*path)(nil).at(list).entry(i).at("name")
				m.wrong(p, quote(name), fmt.Sprintf("a name of its own, as %s[%d] has this one", list, at))
			}
		}
	}
	var sources, sinks []string
	for _, s := range c.Sources {
		sources = append(sources, s.Name)
	}
	for _, s := range c.Sinks {
		sinks = append(sinks, s.Name)
	}
	unique("sources", sources)
	unique("sinks", sinks)
}

// upstream is the LQ server that a source connects to.
func (s *Source) upstream() (address string, holdsSessions, allowOverlap bool) {
	switch c := s.Config.(type) {
	case *session.Config:
		return canonical(c.Address), true, c.AllowOverlap
	case *relay.Config:
		return canonical(c.Address), false, c.AllowOverlap
	default:
		return "", false, false
	}
}

// canonical writes an address such that two ways to write it are equal. Names are
// not looked up.
func canonical(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return ""
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		host = ip.Unmap().String()
	}
	return net.JoinHostPort(strings.ToLower(strings.TrimSuffix(host, ".")), strings.TrimLeft(port, "0"))
}

// checkAddresses refuses a source on the address of a session source: it would
// register agents a second time, and a server may sign the first one out.
func (c *Config) checkAddresses(m *mistakes) {
	for i := range c.Sources {
		address, holds, allowed := c.Sources[i].upstream()
		if address == "" {
			continue
		}
		for j := range c.Sources[:i] {
			other, otherHolds, otherAllowed := c.Sources[j].upstream()
			if other != address || !holds && !otherHolds || allowed || otherAllowed {
				continue
			}
			m.wrong((*path)(nil).at("sources").entry(i).at("address"), quote(address),
				fmt.Sprintf("an address of its own, as sources[%d] is on this one and agents would be registered twice; allow_overlap: true permits it", j))
			break
		}
	}
}

// checkRoster refuses a session source, at p, that nobody can give an agent to.
func (c *Config) checkRoster(m *mistakes, p *path, of Component) {
	s, ok := of.(*session.Config)
	byHTTP := c.HTTP.Admin != "" && !c.HTTP.AdminToken.IsZero()
	if !ok || len(s.Agents) > 0 || s.AgentsFile != "" || byHTTP || m.within(p) {
		return
	}
	const expected = `at least one agent, such as ["801", "810-829"], or agents_file, or http.admin with admin_token to set them by`
	m.add(p.at("agents"), Error{Expected: expected, message: fmt.Sprintf("%v is empty: expected %s", p.at("agents"), expected)})
}

// checkAgents refuses two session sources with one agent of one server.
func (c *Config) checkAgents(m *mistakes) {
	type key struct{ server, agent string }
	holder := map[key]int{}
	for i := range c.Sources {
		s, ok := c.Sources[i].Config.(*session.Config)
		if !ok {
			continue
		}
		reported := map[int]bool{i: true}
		for _, agent := range s.Configured() {
			k := key{cmp.Or(s.Server, s.Name), agent.ID}
			at, taken := holder[k]
			if !taken {
				holder[k] = i
			} else if !reported[at] {
				reported[at] = true
				p := (*path)(nil).at("sources").entry(i).at("agents")
				m.add(p, Error{
					Value: quote(agent.ID), Expected: "each agent of a server in one source",
					message: fmt.Sprintf("%v has agent %s of server %s, as sources[%d] does: expected each agent of a server in one source", p, agent.ID, s.Server, at),
				})
			}
		}
	}
}

// checkCallbacks refuses callback sources that cannot share their address.
func (c *Config) checkCallbacks(m *mistakes) {
	for i := range c.Sources {
		s, ok := c.Sources[i].Config.(*callback.Config)
		if !ok {
			continue
		}
		for j := range c.Sources[:i] {
			other, ok := c.Sources[j].Config.(*callback.Config)
			if !ok {
				continue
			}
			if err := s.Conflict(other); err != nil {
				m.said((*path)(nil).at("sources").entry(i), err, componentKeys(s))
				break
			}
		}
	}
}

// checkPublic refuses a public address at which nobody may read anything.
func (c *Config) checkPublic(m *mistakes) {
	if p := (*path)(nil).at("http").at("public"); c.HTTP.Public != "" && !c.Feed.IsOpen() && !m.within(p) && !m.within((*path)(nil).at("feed")) {
		m.wrong(p, quote(c.HTTP.Public), "feed.signing_key or feed.token beside it, since without either nobody may read the feed")
	}
}
