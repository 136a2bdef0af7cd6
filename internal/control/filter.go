package control

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/callpop/connector/internal/spool"
	"github.com/callpop/connector/schema"
)

// Filter says which events are meant: those that fit everything that is set.
type Filter struct {
	// Types are the event types, in whose order events are given; none means all.
	Types []schema.Type `json:"types,omitempty"`
	// Since and Until bound the time at which an event was received or happened;
	// Since is included, Until is not.
	Since time.Time `json:"since,omitzero"`
	Until time.Time `json:"until,omitzero"`
	// Server, Agent and Key are those of the event.
	Server string `json:"server,omitempty"`
	Agent  string `json:"agent,omitempty"`
	Key    string `json:"key,omitempty"`
	// IDs are events' ids.
	IDs []string `json:"ids,omitempty"`
	// Reason and Sink are those of dead letters; where one is set, nothing else
	// fits.
	Reason string `json:"reason,omitempty"`
	Sink   string `json:"sink,omitempty"`
	// After and Through bound the sequence: greater than After, and where Through
	// is set, up to it. They need a single type.
	After   uint64 `json:"after,omitempty"`
	Through uint64 `json:"through,omitempty"`
}

// maxIDs bounds Filter.IDs.
const maxIDs = 10_000

// Validate returns what is wrong with f, marked by [Wrong].
func (f *Filter) Validate() error {
	for _, t := range f.Types {
		if spool.StreamName(t) == "" {
			return Wrong(fmt.Errorf("event type %q: expected one of %q", t, schema.Types))
		}
	}
	switch {
	case !f.Since.IsZero() && !f.Until.IsZero() && !f.Since.Before(f.Until):
		return Wrong(fmt.Errorf("since %s is not before until %s", f.Since.Format(time.RFC3339), f.Until.Format(time.RFC3339)))
	case (f.After > 0 || f.Through > 0) && len(f.Types) != 1:
		return Wrong(errors.New("a sequence is one of a single type: expected the type beside it"))
	case f.Through > 0 && f.After >= f.Through:
		return Wrong(fmt.Errorf("after %d is not before %d, the last sequence", f.After, f.Through))
	case len(f.IDs) > maxIDs:
		return Wrong(fmt.Errorf("%d ids: expected at most %d", len(f.IDs), maxIDs))
	}
	return nil
}

// types are those that f means.
func (f *Filter) types() []schema.Type {
	if len(f.Types) == 0 {
		return schema.Types[:]
	}
	return f.Types
}

// fits reports whether f means e.
func (f *Filter) fits(e *schema.Event) bool {
	switch {
	case !f.Since.IsZero() && e.Time.Before(f.Since),
		!f.Until.IsZero() && !e.Time.Before(f.Until),
		f.Server != "" && e.Server != f.Server,
		f.Agent != "" && e.Agent != f.Agent,
		f.Key != "" && e.Key != f.Key,
		len(f.IDs) > 0 && !slices.Contains(f.IDs, e.ID):
		return false
	case f.Reason == "" && f.Sink == "":
		return true
	}
	letter, err := readLetter(e)
	return err == nil && (f.Reason == "" || letter.Reason == f.Reason) && (f.Sink == "" || letter.Sink == f.Sink)
}
