package config

import (
	"strings"

	"github.com/callpop/connector/sink/kafkasink"
	"github.com/callpop/connector/sink/natssink"
	"github.com/callpop/connector/source/callback"
	"github.com/callpop/connector/source/relay"
	"github.com/callpop/connector/source/session"
)

// kind is one type of source or sink.
type kind struct {
	name string
	// make returns a Config of this kind with its defaults.
	make func() Component
	// complete sets the defaults that follow from other keys; may be nil.
	complete func(Component)
}

func sourceKinds() []kind {
	return []kind{
		{
			name:     "session",
			make:     func() Component { c := session.DefaultConfig(); return &c },
			complete: func(c Component) { serverIsName(&c.(*session.Config).Server, c.(*session.Config).Name) },
		},
		{
			name:     "relay",
			make:     func() Component { c := relay.DefaultConfig(); return &c },
			complete: func(c Component) { serverIsName(&c.(*relay.Config).Server, c.(*relay.Config).Name) },
		},
		{
			name:     "callback",
			make:     func() Component { c := callback.DefaultConfig(); return &c },
			complete: func(c Component) { serverIsName(&c.(*callback.Config).Server, c.(*callback.Config).Name) },
		},
	}
}

// serverIsName sets the default of server.
func serverIsName(server *string, name string) {
	if *server == "" {
		*server = name
	}
}

func sinkKinds() []kind {
	return []kind{
		{name: "nats", make: func() Component { c := natssink.DefaultConfig(); return &c }},
		{name: "kafka", make: func() Component { c := kafkasink.DefaultConfig(); return &c }},
	}
}

// kindNames are the names of the kinds.
func kindNames(kinds []kind) (names []string) {
	for _, k := range kinds {
		names = append(names, k.name)
	}
	return names
}

// oneOf writes a choice: session, relay or callback.
func oneOf(names []string) string {
	last := len(names) - 1
	if last < 1 {
		return strings.Join(names, "")
	}
	return strings.Join(names[:last], ", ") + " or " + names[last]
}
