package pop

import (
	"bytes"
	"slices"
)

// maxPieces bounds the parameters of a callback; the manual names eight.
const maxPieces = 256

// piece is a parameter of a callback in Decoder.query: its name is [start:equals],
// its value [equals:end]; one without a name has equals at start.
type piece struct {
	start, equals, end int
}

// param is a known parameter of a callback.
type param uint8

const (
	paramPhone param = iota
	paramOper
	paramCh
	paramOutch
	paramStartTime
	paramDatetime
	paramDtmf
	paramID
	params // how many there are; no known parameter
)

func paramOf(name string) param {
	switch name {
	case "phone":
		return paramPhone
	case "oper":
		return paramOper
	case "ch":
		return paramCh
	case "outch":
		return paramOutch
	case "startTime":
		return paramStartTime
	case "datetime":
		return paramDatetime
	case "dtmf":
		return paramDtmf
	case "id":
		return paramID
	}
	return params
}

// DecodeCallback decodes the query of a callback URL, what follows its first "?"
// (manual, chapter 3). Only "&" parts its parameters, as dtmf holds semicolons; +
// and %XX are decoded, and a % without two hex digits stands for itself. Bytes
// beyond ASCII, percent-encoded or not, are of the character set that [Charset]
// finds for the whole query.
//
// Here ch is the agent's channel and outch the line's. startTime counts before
// datetime. Errors are as those of Decode; the column is of the query.
func (d *Decoder) DecodeCallback(query []byte, p *Pop) error {
	d.reset(p)
	if len(query) > MaxQuery {
		return &Error{Reason: TooLong, Column: MaxQuery + 1}
	}
	at, ok := d.cutQuery(query)
	if !ok {
		return &Error{Reason: TooLong, Column: at + 1}
	}
	gb := !isASCII(d.query) && d.Charset.resolve(d.query, false)
	// Enough for all of it, and an id derived from the longest channel.
	d.buf = slices.Grow(d.buf[:0], maxGrowth*(len(query)+2*len(d.query))+spareRoom)
	d.buf, p.Lossy = appendDecoded(d.buf, query, gb)
	p.Text = view(d.buf)
	if trim(p.Text) == "" {
		return &Error{Reason: Empty, Column: 1}
	}

	var values [params]string
	var seen uint16
	for _, c := range d.pieces {
		name := d.decodePiece(c.start, c.equals, gb)
		value := d.decodePiece(c.equals, c.end, gb)
		k := paramOf(name)
		switch {
		case name == "":
			d.addExtra(unparsed, value)
		case k == params || seen&(1<<k) != 0:
			d.addExtra(name, value)
		default:
			seen |= 1 << k
			values[k] = value
		}
	}
	if seen == 0 {
		return d.fail(p, Unrecognised, 1)
	}
	d.callback(&values, p)
	if p.Number == "" && p.ID == "" {
		return d.fail(p, NoCall, 1)
	}
	d.lend(p)
	return nil
}

func (d *Decoder) callback(values *[params]string, p *Pop) {
	p.Format = Callback
	p.Number, p.Agent = values[paramPhone], values[paramOper]
	p.Channel, p.Line = values[paramCh], values[paramOutch]
	p.ID = orAbsent(values[paramID])
	keys, _ := trimClosing(values[paramDtmf])
	p.Keys = orAbsent(keys)

	line := p.Line
	if line == "" {
		line = p.Channel
	}
	datetime := values[paramDatetime]
	clock, clocked := parseClock(datetime)
	ms, timed := parseMillis(values[paramStartTime])
	switch {
	case timed:
		p.StartedAt = milli(d.Location, ms)
		if !clocked || d.zone.clock(d.Location, ms) != clock {
			d.addExtra("datetime", datetime)
		}
		if p.ID == "" {
			p.ID, p.IDDerived = d.deriveID(ms, line), true
		}
		return
	case clocked:
		p.StartedAt = d.startedAt(clock, p.ID, line)
	default:
		d.addExtra("datetime", datetime)
	}
	d.addExtra("startTime", values[paramStartTime])
}

// cutQuery decodes + and %XX of a query into d.query and d.pieces. It returns
// where there are too many pieces.
func (d *Decoder) cutQuery(query []byte) (at int, ok bool) {
	d.query = slices.Grow(d.query[:0], len(query)+1)
	d.pieces = d.pieces[:0]
	for more := true; more; {
		part := query[at:]
		end := bytes.IndexByte(part, '&')
		if more = end >= 0; more {
			part = part[:end]
		}
		if len(d.pieces) == maxPieces {
			return at, false
		}
		c := piece{start: len(d.query)}
		c.equals = c.start
		if i := bytes.IndexByte(part, '='); i > 0 && len(bytes.Trim(part[:i], " +")) > 0 {
			d.query = appendUnescaped(d.query, part[:i])
			c.equals = len(d.query)
			part, at = part[i+1:], at+i+1
		}
		d.query = appendUnescaped(d.query, part)
		c.end = len(d.query)
		if c.end > c.start {
			d.pieces = append(d.pieces, c)
		}
		// A byte between pieces, so that no two make a character together.
		d.query = append(d.query, '&')
		at += len(part) + 1
	}
	return at, true
}

// decodePiece decodes d.query[from:to] into d.buf.
func (d *Decoder) decodePiece(from, to int, gb bool) string {
	if from == to {
		return ""
	}
	start := len(d.buf)
	d.buf, _ = appendDecoded(d.buf, d.query[from:to], gb)
	return trim(view(d.buf[start:]))
}

func appendUnescaped(dst, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case c == '+':
			c = ' '
		case c == '%' && i+2 < len(s):
			high, low := unhex(s[i+1]), unhex(s[i+2])
			if high < 16 && low < 16 {
				c = high<<4 | low
				i += 2
			}
		}
		dst = append(dst, c)
	}
	return dst
}

// unhex returns the value of a hex digit, or 16 for anything else.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}
