package config

import (
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
)

// envPrefix begins every variable that sets a key.
const envPrefix = "CONNECTOR_"

// environment is the layer of variables. asked are the variables that the file
// names in ${…}, which are no settings. A variable whose section the file has made
// something else is left out: that mistake is the file's.
func (l *loader) environment(variables []string, asked map[string]bool) koanf.Provider {
	known := settings()
	return env.Provider(".", env.Opt{
		Prefix:      envPrefix,
		EnvironFunc: func() []string { return variables },
		TransformFunc: func(name, value string) (string, any) {
			key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, envPrefix)), "__", ".")
			switch {
			case known[key] && name == strings.ToUpper(name):
				if !l.open(key) {
					return "", nil
				}
				l.settings[key] = name
				return key, given{Text: value, Shown: quote(value)}
			case asked[name], !strings.Contains(name, "__") && isServiceLink(name, value):
			default:
				l.unknownVariable(name, key, known)
			}
			return "", nil
		},
	})
}

func (l *loader) unknownVariable(name, key string, known map[string]bool) {
	section, _, _ := strings.Cut(key, ".")
	expected := "expected the name of a key, such as " + variable("spool.sync")
	if near, ok := nearest(key, slices.Sorted(maps.Keys(known))); ok {
		expected = "did you mean " + variable(near) + "?"
	} else if section == "sources" || section == "sinks" {
		expected = section + " are set in the file, where ${NAME} takes a value from the environment"
	}
	// The value is not shown: it may be a secret that its name does not reach.
	l.mistakes.push(&Error{
		Setting: printable(name), Expected: expected,
		message: fmt.Sprintf("not a known setting: %s", expected),
	})
}

// variable is the name of the variable that sets a key.
func variable(key string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(key, ".", "__"))
}

var serviceLink = regexp.MustCompile(`^CONNECTOR(?:_[A-Z0-9_]+?)??_(SERVICE_HOST|SERVICE_PORT(?:_[A-Z0-9_]+)?|PORT(?:_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)?)$`)

// isServiceLink says whether Kubernetes made a variable for a Service whose name
// starts with connector (Kubernetes, "Discovering services"). The value has to have
// its form as well: CONNECTOR_PORT=8080 was written by a person, who would never
// learn that it sets nothing.
func isServiceLink(name, value string) bool {
	m := serviceLink.FindStringSubmatch(name)
	if m == nil {
		return false
	}
	switch kind := m[1]; {
	case strings.HasSuffix(kind, "_HOST"), strings.HasSuffix(kind, "_ADDR"):
		_, err := netip.ParseAddr(value)
		return err == nil
	case strings.HasPrefix(kind, "SERVICE_PORT"), strings.HasSuffix(kind, "_PORT"):
		_, err := strconv.ParseUint(value, 10, 16)
		return err == nil
	case strings.HasSuffix(kind, "_PROTO"):
		return value == "tcp" || value == "udp" || value == "sctp"
	default:
		scheme, address, ok := strings.Cut(value, "://")
		_, err := netip.ParseAddrPort(address)
		return ok && err == nil && (scheme == "tcp" || scheme == "udp" || scheme == "sctp")
	}
}
