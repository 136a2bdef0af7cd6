package config

import (
	"maps"
	"slices"
)

// Effect is what it takes to put another value of a key in force.
type Effect string

// The effects, from the least harm to the most.
const (
	// Live: it is in force at once, and no connection is touched.
	Live Effect = "live"
	// Replaced: the sink is closed and a new one goes on from its place in the
	// spool. No event is lost.
	Replaced Effect = "replaced"
	// Reconnects: the sessions that it concerns are closed and opened anew.
	Reconnects Effect = "reconnects"
	// Restart: it stays as it was until the connector is started anew.
	Restart Effect = "restart"
)

// effects are those of every key that does not need a restart; keys of sources
// have the source's type in front. Keys of sinks are Replaced.
func effects() map[string]Effect {
	live := func(prefix string, keys ...string) map[string]Effect {
		m := map[string]Effect{}
		for _, key := range keys {
			m[prefix+key] = Live
		}
		return m
	}
	all := live("", "source.buffer_bytes", "spool.max_age", "spool.max_bytes", "spool.min_free",
		"http.admin_token", "log.level", "shutdown_timeout", "drain_pace",
		"replicas.count", "replicas.index", "replicas.gain_delay", "replicas.connect_before_close", "watch")
	maps.Copy(all, live("session.", "agents", "agents_file", "charset", "timezone", "area_code", "expire_after",
		"reconnect_interval", "dial_rate", "allow_overlap"))
	maps.Copy(all, live("relay.", "charset", "timezone", "area_code", "dial_timeout",
		"max_clients", "max_clients_per_address", "allow", "allow_overlap"))
	maps.Copy(all, live("callback.", "redirect", "charset", "timezone", "area_code",
		"secret", "secret_parameter", "allow"))
	for _, key := range []string{"server", "address", "registration", "registration_hex"} {
		all["session."+key] = Reconnects
	}
	return all
}

// EffectOf is the effect of a key outside of sources and sinks, such as
// spool.max_age, or of a key of a type of source, such as session.address.
func EffectOf(key string) Effect {
	if e, ok := effects()[key]; ok {
		return e
	}
	return Restart
}

// keysWithEffects lists what effects has, in order.
func keysWithEffects() []string { return slices.Sorted(maps.Keys(effects())) }
