package bench

import (
	"time"

	"github.com/callpop/connector/schema"
	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/pop"
)

// maker makes events of a plan's pops, the very ones that the connector makes.
type maker struct {
	plan      Plan
	server    string
	decoding  *source.Decoding
	assembler *source.Assembler
	buffer    []byte
}

func newMaker(server string, p Plan) (*maker, error) {
	decoding, err := source.NewDecoding(pop.Auto, "Asia/Shanghai", areaCode)
	if err != nil {
		return nil, err
	}
	return &maker{plan: p, server: server, decoding: decoding, assembler: source.NewAssembler()}, nil
}

func (m *maker) event(n int, at time.Time) schema.Event {
	raw, session := m.plan.Append(m.buffer[:0], n)
	m.buffer = raw
	e, _, _ := m.assembler.Pop(&source.Origin{ // a plan's pops have no errors
		Type: "session", Name: m.server, Server: m.server, Agent: Agent(session), Channel: source.FindChannel, Decoding: m.decoding,
	}, at, raw)
	return e
}
