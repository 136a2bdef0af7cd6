package sink

import "fmt"

// Start says where a sink begins that has no cursor in the spool yet.
type Start string

// The two ways to start.
const (
	// StartNew: with the first event after the sink was added. The default.
	StartNew Start = "new"
	// StartAll: with the oldest event that the spool holds.
	StartAll Start = "all"
)

// UnmarshalText reads new or all; nothing means new.
func (s *Start) UnmarshalText(text []byte) error {
	switch start := Start(text); start {
	case StartNew, StartAll:
		*s = start
	case "":
		*s = StartNew
	default:
		return fmt.Errorf("%q is not a way to start: want %s or %s", text, StartNew, StartAll)
	}
	return nil
}
