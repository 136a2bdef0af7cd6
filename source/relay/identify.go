package relay

import (
	"bytes"
	"strings"
	"unicode"

	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/pop"
)

// reply is what a desktop may say without saying who it is; never written to.
var reply = []byte(frame.Reply)

// hasSpoken reports whether a desktop that sent said has sent more than answers to
// heartbeats.
func hasSpoken(said []byte) bool {
	for bytes.HasPrefix(said, reply) {
		said = said[len(reply):]
	}
	return !bytes.HasPrefix(reply, said)
}

// identify decides whose connection it is, once, by what the desktop has said so
// far, and counts the session as live where the server has been heard.
func (t *tap) identify(d *desktop) {
	if d.origin == nil {
		of := t.o.origin
		o := &source.Origin{Type: of.Type, Name: of.Name, Server: of.Server, Decoding: of.Decoding}
		var found bool
		if o.Agent, o.Channel, found = t.agentIn(d.said); !found {
			o.Agent = d.address.String()
		}
		d.origin, d.said = o, nil
		d.named.Store(true)
	}
	t.rise(d)
}

// recognize identifies a desktop, once the server has been heard, as soon as the
// pattern finds an agent whose number is whole: because something follows it, or
// because the server spoke after all of it. Without a find it is left for later, as
// a registration may come in pieces and behind the server's first heartbeat.
func (t *tap) recognize(d *desktop) {
	if d.origin != nil {
		return
	}
	at := t.o.pattern.FindSubmatchIndex(d.said)
	if at == nil {
		return
	}
	ends := at[2*t.o.pattern.SubexpIndex("agent")+1]
	if ends < 0 {
		return // a match without the group
	}
	// The tap is shown what the server sent behind its passing on, so that the
	// desktop's answer may come first: the times tell.
	if ends < len(d.said) || !d.spoke.After(d.heard) {
		t.identify(d)
	}
}

// agentIn finds agent and channel in what a desktop said.
func (t *tap) agentIn(said []byte) (agent, channel string, found bool) {
	pattern := t.o.pattern
	if groups := pattern.FindSubmatch(said); groups != nil {
		agent = t.name(groups[pattern.SubexpIndex("agent")])
		if i := pattern.SubexpIndex("channel"); i >= 0 {
			channel = t.name(groups[i])
		}
	}
	if agent == "" {
		if !t.unnamed {
			t.unnamed = true
			t.o.log.Warn("agent_pattern finds no agent in what a desktop sent: until it does, desktops go by their address; this is logged once",
				"agent_pattern", pattern.String(), "bytes", len(said))
		}
		return "", "", false
	}
	if channel == "0" || channel == source.FindChannel {
		channel = "" // the server finds it (manual, chapter 5, LClientStart)
	}
	return agent, channel, true
}

// name is a group as text; empty where it is none that could be an agent's: the
// bytes come from the network.
func (t *tap) name(group []byte) string {
	if len(group) > frame.MaxValue {
		return ""
	}
	text, lossy := pop.Text(group, t.o.origin.Decoding.Now().Charset)
	text = strings.TrimSpace(text)
	if lossy || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return ""
	}
	return text
}
