package admin

import "time"

// Server is an LQ server and the sessions that are held to it.
type Server struct {
	Name    string   `json:"name"`
	Sources []Source `json:"sources"`
}

// Source is one source of a server.
type Source struct {
	Name string `json:"name"`
	// Type is session, relay or callback.
	Type string `json:"type"`
	// Wanted and Up count sessions, see [source.Status].
	Wanted int `json:"sessions_wanted"`
	Up     int `json:"sessions_up"`
	// Edit is what was set of its roster by HTTP; absent where nothing was.
	Edit *Edit `json:"edit,omitempty"`
}

// Edit is what was set of a roster by HTTP.
type Edit struct {
	// Replaced means that the whole roster was.
	Replaced bool `json:"replaced"`
	// Added and Removed are agents and ranges of agents, beside the configured ones.
	Added   []string `json:"added"`
	Removed []string `json:"removed"`
}

// Roster is that of a server.
type Roster struct {
	Server string `json:"server"`
	// Agents are ordered by their numbers.
	Agents []Agent `json:"agents"`
}

// Agent is one agent of a roster and its session.
type Agent struct {
	ID string `json:"id"`
	// Channel is -1 where the server finds it.
	Channel string `json:"channel"`
	Server  string `json:"server"`
	Source  string `json:"source"`
	// State is that of the session: connecting, connected, failed, expired,
	// reconnecting or closed; elsewhere where another replica holds it, waiting where
	// that one still may, drained where an operator drains the connector.
	State string `json:"state"`
	// Since is when State began, because of Cause; absent where that is not known.
	Since time.Time `json:"since,omitzero"`
	Cause string    `json:"cause,omitempty"`
	// LastPopAt is when the session last had a pop, since the connector started.
	LastPopAt time.Time `json:"last_pop_at,omitzero"`
	// Replica is the one that holds the session; absent where there is one alone.
	Replica *int `json:"replica,omitempty"`
}

// The states of an agent that has no session here.
const (
	Elsewhere = "elsewhere"
	Waiting   = "waiting"
	Drained   = "drained"
)

// Changed says what an edit did.
type Changed struct {
	// Opened, Closed and Reopened count sessions here.
	Opened   int `json:"opened"`
	Closed   int `json:"closed"`
	Reopened int `json:"reopened"`
	// Agents counts those of the roster now.
	Agents int `json:"agents"`
}
