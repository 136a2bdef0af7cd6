package sinktest

import (
	"fmt"
	"time"

	"github.com/callpop/connector/schema"
)

// epoch is the time of the first event that [Event] makes.
var epoch = time.Date(2026, 3, 4, 5, 6, 7, 890123456, time.UTC)

// Event makes the n-th event of a test, with an id of its own, a key, an agent
// and a body. All of it follows from the arguments but the id.
func Event(t schema.Type, n int, key, agent string) schema.Event {
	at := epoch.Add(time.Duration(n) * time.Millisecond)
	id := schema.NewID(at)
	return schema.Event{
		Type:   t,
		ID:     id,
		Key:    key,
		Server: "hq",
		Agent:  agent,
		Time:   at,
		Body:   fmt.Appendf(nil, `{"id":%q,"n":%d,"source":{"type":"session","name":"hq"}}`, id, n),
	}
}
