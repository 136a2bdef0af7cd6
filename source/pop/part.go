package pop

import (
	"slices"
	"strings"
)

// Part is a piece of a pop string or a callback's query: one name with its value.
type Part struct {
	// From and To are where it is in the text, in bytes; what parts the pieces is
	// in none of them.
	From, To int
	// Name is the key as received; for the fields of a t1v1 pop, which have none,
	// what the callback calls them: outch, phone, spare, startTime, dtmf. Empty for
	// a piece without one.
	Name string
	// Value is the value, trimmed; a callback's with its escapes undone.
	Value string
	// Field is where a CallPop event has it, such as customer.number; empty for a
	// name that is not known.
	Field string
}

// maxParts bounds what [Parts] returns.
const maxParts = maxPieces

// fieldsOfKeys says where an event has the known keys of a pop string.
var fieldsOfKeys = [keys]string{
	keyH: "format", keyCh: "call.line", keyPh: "customer.number", keyID: "call.id", keyTm: "call.started_at", keyOp: "agent.id",
	keySn: "call.sn", keyTy: "pop.code", keySo: "call.transferred_from", keyMb: "ivr.member", keyDa: "ivr.data", keyDm: "ivr.keys",
}

// fieldsOfParams says the same of a callback's parameters.
var fieldsOfParams = [params]string{
	paramPhone: "customer.number", paramOper: "agent.id", paramCh: "agent.channel", paramOutch: "call.line",
	paramStartTime: "call.started_at", paramDatetime: "call.started_at", paramDtmf: "ivr.keys", paramID: "call.id",
}

// positions are the fields of a t1v1 pop, in their order.
var positions = [...]struct{ name, field string }{
	{"outch", "call.line"}, {"phone", "customer.number"}, {"spare", "extra.spare"}, {"startTime", "call.started_at"}, {"dtmf", "ivr.keys"},
}

// Parts takes a text of [Pop.Text] apart, in its order, so that people see what each
// piece of it is; callback says that it is a callback's query. It is for looking at:
// which piece counts where a name comes twice, and what a value means, only
// [Decoder] says. Anything may be taken apart; of too much, the first 256 pieces.
func Parts(text string, callback bool) []Part {
	var parts []Part
	from, to := inner(text)
	switch {
	case callback:
		parts = split(text, 0, len(text), "&", maxParts, callbackPart)
	case isPositional(text):
		parts = split(text, from, to, ",", len(positions), func(piece string) Part { return Part{Value: piece} })
		for i := range parts {
			parts[i].Name, parts[i].Field = positions[i].name, positions[i].field
		}
	default:
		parts = split(text, from, to, ",", maxParts, pairPart)
	}
	return slices.DeleteFunc(parts, func(p Part) bool { return p.From == p.To })
}

func isPositional(text string) bool {
	s, _ := trimClosing(text)
	_, wrong := parsePositional(s)
	return wrong < 0
}

// inner is where a pop string is without spaces round it and what closes it.
func inner(text string) (from, to int) {
	s, _ := trimClosing(text)
	from = len(text) - len(strings.TrimLeft(text, " "))
	return from, from + len(s)
}

// split cuts text[from:to] at separator into at most limit pieces, of which the last
// is the rest.
func split(text string, from, to int, separator string, limit int, read func(piece string) Part) []Part {
	var parts []Part
	for {
		end := to
		more := false
		if i := strings.Index(text[from:to], separator); i >= 0 && len(parts) < limit-1 {
			end, more = from+i, true
		}
		start, stop := from, end
		for start < stop && text[start] == ' ' {
			start++
		}
		for stop > start && text[stop-1] == ' ' {
			stop--
		}
		p := read(text[start:stop])
		p.From, p.To = start, stop
		parts = append(parts, p)
		if !more {
			return parts
		}
		from = end + len(separator)
	}
}

func pairPart(piece string) Part {
	name, value, _ := cutPair(piece)
	p := Part{Name: name, Value: value}
	if k := keyOf(name); k != keys {
		p.Field = fieldsOfKeys[k]
	}
	return p
}

func callbackPart(piece string) Part {
	name, value, named := strings.Cut(piece, "=")
	if !named {
		name, value = "", piece
	}
	p := Part{Name: unescaped(name), Value: unescaped(value)}
	if k := paramOf(p.Name); k != params {
		p.Field = fieldsOfParams[k]
	}
	return p
}

func unescaped(s string) string {
	raw := appendUnescaped(nil, []byte(s))
	text, _ := Text(raw, Auto)
	return trim(text)
}
