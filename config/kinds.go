package config

import (
	"github.com/callpop/connector/sink/kafkasink"
	"github.com/callpop/connector/sink/natssink"
	"github.com/callpop/connector/source/session"
)

// kind is one type of source or sink.
type kind struct {
	name string
	// make returns a Config of this kind with its defaults. nil means that this
	// version does not have the kind: its name is refused as such.
	make func() Component
	// complete sets the defaults that follow from other keys; may be nil.
	complete func(Component)
}

func sourceKinds() []kind {
	return []kind{
		{
			name: "session",
			make: func() Component { c := session.DefaultConfig(); return &c },
			complete: func(c Component) {
				if s, ok := c.(*session.Config); ok && s.Server == "" {
					s.Server = s.Name
				}
			},
		},
		{name: "relay"},
		{name: "callback"},
	}
}

func sinkKinds() []kind {
	return []kind{
		{name: "nats", make: func() Component { c := natssink.DefaultConfig(); return &c }},
		{name: "kafka", make: func() Component { c := kafkasink.DefaultConfig(); return &c }},
	}
}

// available are the names of the kinds that this version has.
func available(kinds []kind) (names []string) {
	for _, k := range kinds {
		if k.make != nil {
			names = append(names, k.name)
		}
	}
	return names
}
