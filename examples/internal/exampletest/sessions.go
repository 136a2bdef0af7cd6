package exampletest

import (
	"time"

	"github.com/callpop/connector/schema"
)

// Session is the event of an agent's session that went up or down.
func Session(agent string, at time.Time, state schema.SessionState) schema.Event {
	change := schema.SessionChanged{
		ID: schema.NewID(at), Version: schema.Version, Server: Server, Agent: agent, State: state, OCXCode: state.OCXCode(),
		At: at.UTC(), Source: schema.Source{Type: "session", Name: Server},
	}
	return change.Event()
}
