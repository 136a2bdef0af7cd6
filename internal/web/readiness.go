package web

import "time"

// Readiness is the body of /readyz. What is absent is not known. Times are RFC
// 3339. Whoever makes one fills in what is; the fields marked "derived" are
// worked out from those when it is served, and what they held is ignored.
type Readiness struct {
	// Ready says that the listeners and the spool serve. Derived: State is
	// serving, and the spool's is serving, low_space or suspended.
	Ready bool `json:"ready"`
	// State is what the process is doing.
	State State `json:"state"`
	// Problems are sentences for people: what is not as it should be. Derived;
	// absent while all is well. /readyz?full fails on any.
	Problems []string `json:"problems,omitempty"`
	// Version is the binary's.
	Version string `json:"version,omitempty"`
	// StartedAt is when the process started.
	StartedAt time.Time `json:"started_at,omitzero"`
	// Reload is the last attempt to put another configuration in force; nil before
	// there was one.
	Reload *Reload `json:"reload,omitempty"`
	// ConfigSHA256 is the digest of the configuration file in force, as sha256sum
	// gives it.
	ConfigSHA256 string `json:"config_sha256,omitempty"`
	// Roster says why agents of the roster have no session here; nil where none is
	// kept from it.
	Roster *Roster `json:"roster,omitempty"`
	// Spool is the durable log; nil before it is open.
	Spool *Spool `json:"spool,omitempty"`
	// Servers are the LQ servers of the configuration.
	Servers []Server `json:"servers,omitzero"`
	// Sinks are those of the configuration.
	Sinks []Sink `json:"sinks,omitzero"`
}

// State is what the process is doing.
type State string

// The states of the process.
const (
	// Starting: a listener or the spool is not up yet.
	Starting State = "starting"
	// Serving: the listeners are up and the spool is open.
	Serving State = "serving"
	// Stopping: the process was told to stop, and drains.
	Stopping State = "stopping"
)

// Reload is the last attempt to put another configuration in force.
type Reload struct {
	At time.Time `json:"at"`
	// Outcome is applied, unchanged or refused.
	Outcome string `json:"outcome"`
	// Message says what changed, or why nothing did.
	Message string `json:"message,omitempty"`
	// Pending are the keys that wait for a restart.
	Pending []string `json:"pending,omitempty"`
}

// Roster says why agents of the roster have no session here.
type Roster struct {
	// Replica is this one's number, of Replicas; absent with one replica alone.
	Replica  *int `json:"replica,omitempty"`
	Replicas *int `json:"replicas,omitempty"`
	// Surplus is true where the number is beyond the count: there is nothing to hold.
	Surplus bool `json:"surplus,omitempty"`
	// GainsAt is when sessions are opened that were another replica's.
	GainsAt time.Time `json:"gains_at,omitzero"`
	// LosesAt is when sessions are closed that are another replica's now.
	LosesAt time.Time `json:"loses_at,omitzero"`
	// DrainedSince is when an operator began to drain the connector, which opens no
	// session since then.
	DrainedSince time.Time `json:"drained_since,omitzero"`
	// FileProblems has, for each agents_file that cannot be read, why: its last good
	// content counts on.
	FileProblems []string `json:"file_problems,omitempty"`
}

// Spool is the condition of the durable log.
type Spool struct {
	State SpoolState `json:"state"`
	// Since is when State began.
	Since time.Time `json:"since,omitzero"`
	// Detail says why it is not serving.
	Detail string `json:"detail,omitempty"`
	// FreeBytes is the free space of its file system.
	FreeBytes *uint64 `json:"free_bytes,omitempty"`
	// Lost are the events that damage has taken from it, the newest findings last.
	Lost []Loss `json:"lost,omitempty"`
}

// Loss is a run of events that damage took from the spool.
type Loss struct {
	// Type is the events' type, such as callpop.v1.
	Type string `json:"type"`
	// Events is how many they were, From and To their sequences.
	Events uint64 `json:"events"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	// StoredAfter and StoredBefore bound the time from which they were; absent where
	// there is no event before or after them.
	StoredAfter  time.Time `json:"stored_after,omitzero"`
	StoredBefore time.Time `json:"stored_before,omitzero"`
	// FoundAt is when it was found, at a start.
	FoundAt time.Time `json:"found_at"`
	// Undelivered is how many of them each sink had not had; absent where every sink
	// had had them all.
	Undelivered map[string]uint64 `json:"undelivered,omitempty"`
}

// SpoolState is what the spool is doing.
type SpoolState string

// The states of the spool.
const (
	SpoolServing SpoolState = "serving"
	// SpoolLowSpace: it takes nothing new until there is space; events wait in
	// bounded memory.
	SpoolLowSpace SpoolState = "low_space"
	// SpoolRestarting: a write failed, and the log is being opened anew.
	SpoolRestarting SpoolState = "restarting"
	SpoolFailed     SpoolState = "failed"
	// SpoolSuspended: a successor opens the log; events wait in bounded memory until
	// it has taken over, or the log is opened here again.
	SpoolSuspended SpoolState = "suspended"
)

// Server is one LQ server and the sessions that are held to it.
type Server struct {
	// Name is the server's name, as in events.
	Name string `json:"name"`
	// Sources are the names of the sources that take pops from it.
	Sources []string `json:"sources,omitempty"`
	// State is derived from the two counts; absent where one is not known.
	State ServerState `json:"state,omitempty"`
	// SessionsUp counts the sessions over which the server has been heard.
	SessionsUp *int `json:"sessions_up,omitempty"`
	// SessionsWanted counts the agents of the roster; nil where others decide how
	// many there are.
	SessionsWanted *int `json:"sessions_wanted,omitempty"`
	// SessionsSilent counts the sessions that are up and get no pops while others
	// of the server do. It is no problem of this process, and absent while 0.
	SessionsSilent int `json:"sessions_silent,omitempty"`
}

// ServerState says how many of the wanted sessions are up.
type ServerState string

// The states of a server.
const (
	ServerUp      ServerState = "up"      // all of them
	ServerPartial ServerState = "partial" // some
	ServerDown    ServerState = "down"    // none
	ServerIdle    ServerState = "idle"    // none is wanted
)

// Sink is one broker and the lines of events to it. All but Name, Type and Lines
// is derived from the lines.
type Sink struct {
	Name string `json:"name"`
	// Type is nats or kafka.
	Type string `json:"type"`
	Delivery
	// Lines has one entry for each type of event.
	Lines []Line `json:"lines,omitzero"`
}

// Line is one type of event on its way to a sink.
type Line struct {
	// Type is the event's type, such as callpop.v1.
	Type string `json:"type"`
	Delivery
	// Lost counts the events that the spool's limits or damage took before the sink
	// had them, since the process started.
	Lost uint64 `json:"lost,omitempty"`
	// DeadLettered counts the events that the broker refused for good.
	DeadLettered uint64 `json:"dead_lettered,omitempty"`
}

// Delivery is how far a broker's acknowledgements have come. A connection that is
// up proves nothing, and is not in it.
type Delivery struct {
	// State of a sink is its lines' worst: retrying, then publishing, then idle.
	State DeliveryState `json:"state,omitempty"`
	// Since is when State began; of lines only.
	Since time.Time `json:"since,omitzero"`
	// OldestUndeliveredAt is the time of the oldest event that the spool holds and
	// the broker has not acknowledged; zero while there is none.
	OldestUndeliveredAt time.Time `json:"oldest_undelivered_at,omitzero"`
	// OldestUndeliveredSeconds is its age when the body was written. Derived in
	// lines too.
	OldestUndeliveredSeconds *float64 `json:"oldest_undelivered_seconds,omitempty"`
	// Backlog counts the events that the spool holds and the broker has not
	// acknowledged.
	Backlog *uint64 `json:"backlog,omitempty"`
	// LastError is the newest failure, also after it has passed.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	// LastSuccessAt is when the broker last acknowledged an event.
	LastSuccessAt time.Time `json:"last_success_at,omitzero"`
}

// DeliveryState is what a line is doing.
type DeliveryState string

// The states of a line.
const (
	// Idle: every event of the spool is acknowledged.
	Idle DeliveryState = "idle"
	// Publishing: events are on their way, and the last answers were good.
	Publishing DeliveryState = "publishing"
	// Retrying: the last attempt failed, and is made again.
	Retrying DeliveryState = "retrying"
)
