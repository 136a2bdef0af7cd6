package pop

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

// Decoder turns pop strings and callbacks into Pops. The zero value is ready: any
// character set, times in UTC.
//
// It reuses its buffers: every string in a Pop, and its Fields and Extra, are
// valid only until the decoder's next Decode or DecodeCallback, as with
// bufio.Scanner.Bytes. Copy (strings.Clone) what must live longer. What a call
// returns depends on its argument and the two settings alone. A Decoder is not
// safe for concurrent use.
type Decoder struct {
	// Charset is the server's character set; empty is Auto.
	Charset Charset
	// Location is the server's time zone; nil is UTC.
	Location *time.Location

	buf    []byte // what the Pop's strings point into
	query  []byte // a callback's names and values before they are decoded
	pieces []piece
	fields []Field
	extra  []Field
	zone   zone
}

// spareRoom is what a decoder's buffer has beyond the text, for a derived id: up
// to 13 digits of time and a line, of which a callback's can be long.
const spareRoom = 64

// Decode decodes a pop string without its length byte, as package frame hands it
// out. Its error is an [*Error]; then p holds Text and Lossy alone, and not even
// these if the string is too long.
func (d *Decoder) Decode(raw []byte, p *Pop) error {
	d.reset(p)
	if len(raw) > MaxLength {
		return &Error{Reason: TooLong, Column: MaxLength + 1}
	}
	if isASCII(raw) {
		d.buf = append(slices.Grow(d.buf[:0], len(raw)+spareRoom), raw...)
	} else {
		gb := d.Charset.resolve(raw, len(raw) == MaxLength)
		d.buf = slices.Grow(d.buf[:0], maxGrowth*len(raw)+spareRoom)
		d.buf, p.Lossy = appendDecoded(d.buf, raw, gb)
	}
	p.Text = view(d.buf)

	s, complete := trimClosing(p.Text)
	wrong := 0 // the part that is not as t1v1 has it
	if beginsPositional(s) {
		var f positional
		if f, wrong = parsePositional(s); wrong < 0 {
			d.positional(&f, p)
			complete = complete || f.keys == "NA" || f.keys == "0"
		}
	}
	switch {
	case wrong < 0:
	case s == "":
		return &Error{Reason: Empty, Column: 1}
	case !d.pairs(s, p):
		return d.fail(p, Unrecognised, column(raw, wrong))
	case p.Number == "" && p.SN == "" && p.ID == "":
		return d.fail(p, NoCall, 1)
	}
	p.Truncated = len(raw) == MaxLength && !complete
	d.lend(p)
	return nil
}

func (d *Decoder) reset(p *Pop) {
	*p = Pop{}
	d.fields, d.extra = d.fields[:0], d.extra[:0]
}

// lend gives p the lists, or none where they are empty.
func (d *Decoder) lend(p *Pop) {
	if len(d.fields) > 0 {
		p.Fields = d.fields
	}
	if len(d.extra) > 0 {
		p.Extra = d.extra
	}
}

// fail leaves nothing in p but its text.
func (d *Decoder) fail(p *Pop, reason Reason, column int) error {
	*p = Pop{Text: p.Text, Lossy: p.Lossy}
	return &Error{Reason: reason, Column: column}
}

// column returns where the part of that index starts in raw.
func column(raw []byte, index int) int {
	at := 0
	for ; index > 0; index-- {
		for at < len(raw) && raw[at] != ',' {
			at++
		}
		at++
	}
	return at + 1
}

// trimClosing trims s and takes off the one semicolon that closes it.
func trimClosing(s string) (trimmed string, closed bool) {
	s = trim(s)
	if n := len(s); n > 0 && s[n-1] == ';' {
		return trim(s[:n-1]), true
	}
	return s, false
}

// trim takes off spaces; no other character is one on this wire.
func trim(s string) string {
	for len(s) > 0 && s[0] == ' ' {
		s = s[1:]
	}
	for len(s) > 0 && s[len(s)-1] == ' ' {
		s = s[:len(s)-1]
	}
	return s
}

// absent says whether the value of an sn, id, so, da or dm stands for none.
func absent(s string) bool {
	return s == "" || s == "0" || s == "NA"
}

func orAbsent(s string) string {
	if absent(s) {
		return ""
	}
	return s
}

// deriveID makes an id as the server does: epoch milliseconds, then the channel.
func (d *Decoder) deriveID(ms int64, channel string) string {
	start := len(d.buf)
	d.buf = strconv.AppendInt(d.buf, ms, 10)
	d.buf = append(d.buf, channel...)
	return view(d.buf[start:])
}

// startedAt returns the time of a clock reading, to the millisecond where the id
// agrees with it.
func (d *Decoder) startedAt(clock int64, id, channel string) time.Time {
	if channel != "" && len(id) > len(channel) && strings.HasSuffix(id, channel) {
		if ms, ok := parseMillis(id[:len(id)-len(channel)]); ok && d.zone.clock(d.Location, ms) == clock {
			return milli(d.Location, ms)
		}
	}
	return d.zone.at(d.Location, clock)
}

// addExtra keeps a value that has no place of its own.
func (d *Decoder) addExtra(name, value string) {
	if value == "" {
		return
	}
	for i := range d.extra {
		if d.extra[i].Name == name {
			d.extra[i].Value += "," + value
			return
		}
	}
	if len(d.extra) < MaxFields {
		d.extra = append(d.extra, Field{name, value})
	}
}

// unparsed is the name of what has none in Pop.Extra.
const unparsed = "unparsed"

// splitData parses the name:value pairs of a da.
func (d *Decoder) splitData(data string) {
	for more := true; more; {
		var piece string
		piece, data, more = strings.Cut(data, "|")
		name, value, _ := strings.Cut(piece, ":")
		name, value = trim(name), trim(value)
		if name == "" || value == "" || len(d.fields) == MaxFields {
			continue
		}
		if !slices.ContainsFunc(d.fields, func(f Field) bool { return f.Name == name }) {
			d.fields = append(d.fields, Field{name, value})
		}
	}
}
