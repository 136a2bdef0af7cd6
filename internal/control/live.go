package control

import (
	"context"
	"errors"
	"net"
	"time"
)

// Daemon is the running connector, beside its spool.
type Daemon interface {
	// Reload reads the configuration again and puts it in force.
	Reload(ctx context.Context) Reloaded
	// Plan says what a reload with another configuration file would do; an error is
	// what is wrong with the file.
	Plan(ctx context.Context, file string) (Changes, error)
	// Drain closes sessions one after another and tells yield how far it is.
	Drain(ctx context.Context, r DrainRequest, yield func(Drained) error) error
	// Upgrade starts a successor and returns when it has taken over, or why it has not.
	Upgrade(ctx context.Context, r UpgradeRequest) (Upgraded, error)
	// HandOver passes everything to the process at the other end of conn, which it
	// closes; or it refuses, and all is as it was.
	HandOver(ctx context.Context, conn *net.UnixConn)
}

// Changes are the differences between the configuration in force and another.
type Changes struct {
	Keys     []Change   `json:"keys"`
	Sessions []Sessions `json:"sessions"`
	// Pending are the keys that wait for a restart.
	Pending []string `json:"pending"`
}

// Change is one key that differs.
type Change struct {
	// Key is the key's path, with the names of sources and sinks.
	Key string `json:"key"`
	Old string `json:"old,omitempty"`
	New string `json:"new,omitempty"`
	// Effect is live, replaced, reconnects or restart.
	Effect string `json:"effect"`
	Detail string `json:"detail,omitempty"`
}

// Sessions are those of one source that a change concerns: agents and ranges of
// agents.
type Sessions struct {
	Source string `json:"source"`
	Server string `json:"server"`
	// Closed end; Opened are new; Reopened end and are opened anew.
	Closed   Agents `json:"closed"`
	Opened   Agents `json:"opened"`
	Reopened Agents `json:"reopened"`
	// Kept counts those that are left alone.
	Kept int `json:"kept"`
}

// Agents are some agents.
type Agents struct {
	Count int `json:"count"`
	// Agents are numbers and ranges.
	Agents []string `json:"agents"`
}

// The outcomes of a reload.
const (
	Applied   = "applied"
	Unchanged = "unchanged"
	Refused   = "refused"
)

// Reloaded is what became of a reload.
type Reloaded struct {
	At time.Time `json:"at"`
	// Outcome is applied, unchanged or refused: refused changes nothing.
	Outcome string `json:"outcome"`
	// Message says what changed, or why nothing did: each mistake on a line.
	Message string `json:"message"`
	Changes
}

// errNoDaemon is for what only a running connector can do.
var errNoDaemon = Wrong(errors.New("no connector runs on this spool"))

// ReloadRequest asks for nothing in particular.
type ReloadRequest struct{}

// Reload has the running connector read its configuration again.
var Reload = Operation[ReloadRequest, Reloaded]{name: "reload", run: func(ctx context.Context, h *Host, _ ReloadRequest, yield func(Reloaded) error) error {
	if h.Daemon == nil {
		return errNoDaemon
	}
	return yield(h.Daemon.Reload(ctx))
}}

// PlanRequest names a configuration file, as the running connector can read it.
type PlanRequest struct {
	File string `json:"file"`
}

// Plan says what a reload with another configuration would do.
var Plan = Operation[PlanRequest, Changes]{name: "plan", run: func(ctx context.Context, h *Host, r PlanRequest, yield func(Changes) error) error {
	if h.Daemon == nil {
		return errNoDaemon
	}
	changes, err := h.Daemon.Plan(ctx, r.File)
	if err != nil {
		return Wrong(err)
	}
	return yield(changes)
}}

// DrainRequest says how to drain.
type DrainRequest struct {
	// Pace is how many sessions are closed in a second; 0 = all at once.
	Pace float64 `json:"pace"`
	// Exit has the connector stop when it is drained.
	Exit bool `json:"exit,omitempty"`
	// Undo opens the sessions of the roster again.
	Undo bool `json:"undo,omitempty"`
}

// Drained is how far a drain is.
type Drained struct {
	// Left counts the sessions that are still open, of Total.
	Left  int `json:"left"`
	Total int `json:"total"`
	// Opened counts the sessions that an undo opens again.
	Opened int `json:"opened,omitempty"`
}

// Drain closes the sessions of the running connector, which goes on delivering.
var Drain = Operation[DrainRequest, Drained]{name: "drain", live: true, run: func(ctx context.Context, h *Host, r DrainRequest, yield func(Drained) error) error {
	switch {
	case h.Daemon == nil:
		return errNoDaemon
	case r.Pace < 0:
		return Wrong(errors.New("drain: expected a pace of 0 or more"))
	case r.Undo && (r.Exit || r.Pace > 0):
		return Wrong(errors.New("drain: undo goes with nothing else"))
	}
	return h.Daemon.Drain(ctx, r, yield)
}}
