package pop

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Append appends p as the LQ server writes it in a format (T1V1 to T1V5,
// Callback), in UTF-8, and returns the extended slice. Decoded again it gives p
// back, as far as the format has room for it: what the format does not carry is
// left out (t1v1 has no Extra).
//
// H is p.Declared where that is set. Keys that stand in every string of a format
// are written for absent values too, as 0 where that means absent, else empty; mb
// is written only if there is one, and Extra comes last. An absent id of t1v2 and
// t1v3 is made as the server makes it, from start and line. A callback with an
// absent or derived id is one of popVer t1v1, which has neither id nor datetime.
// Times are written as a clock in StartedAt's own zone shows them.
//
// It fails, returning dst as it was, for an unknown format, a value with a comma
// in it, a time that tm has no digits for, and for more than MaxLength or MaxQuery
// bytes. Errors name the field and do not quote it.
func Append(dst []byte, format string, p *Pop) ([]byte, error) {
	w := writer{dst: dst, start: len(dst), separator: ','}
	limit := MaxLength
	switch format {
	case T1V1:
		w.positional(p)
	case T1V2, T1V3, T1V4, T1V5:
		w.pairs(format, p)
	case Callback:
		limit, w.separator = MaxQuery, '&'
		w.callback(p)
	default:
		return dst, fmt.Errorf("write pop: unknown format %q", format)
	}
	if w.err != nil {
		return dst, fmt.Errorf("write %s pop: %w", format, w.err)
	}
	if n := len(w.dst) - w.start; n > limit {
		return dst, fmt.Errorf("write %s pop: %d bytes, at most %d fit", format, n, limit)
	}
	return w.dst, nil
}

type writer struct {
	dst       []byte
	start     int
	separator byte
	err       error
}

func (w *writer) positional(p *Pop) {
	for _, f := range [...]Field{{"line", p.Line}, {"number", p.Number}, {"spare", p.Spare}} {
		w.value(f.Name, f.Value)
		w.dst = append(w.dst, ',')
	}
	if !p.StartedAt.IsZero() {
		w.dst = strconv.AppendInt(w.dst, p.StartedAt.UnixMilli(), 10)
	}
	w.dst = append(w.dst, ',')
	w.dst = append(w.dst, closedKeys(p.Keys)...)
}

// closedKeys is how the formats without a closing semicolon of their own write
// keys: dtmf=1;2;
func closedKeys(keys string) string {
	if keys == "" {
		return "NA"
	}
	return keys + ";"
}

func (w *writer) pairs(format string, p *Pop) {
	h := format
	if p.Declared != "" {
		h = p.Declared
	}
	w.pair("H", h)
	w.pair("ch", p.Line)
	w.pair("ph", p.Number)
	if format <= T1V3 {
		w.pair("id", serverID(p))
	} else {
		mode := ""
		if p.Mode != 0 {
			mode = strconv.Itoa(p.Mode)
		}
		w.pair("ty", mode)
	}
	w.pair("tm", w.clock(p.StartedAt))
	if format >= T1V3 {
		w.pair("op", p.Agent)
		w.pair("sn", orZero(p.SN))
	}
	if format >= T1V4 {
		w.pair("so", orZero(p.From))
	}
	if format >= T1V5 {
		if p.Member != "" {
			w.pair("mb", p.Member)
		}
		w.pair("da", orZero(p.Data))
	}
	w.pair("dm", orZero(p.Keys))
	for _, f := range p.Extra {
		w.extra(f)
	}
	w.dst = append(w.dst, ';')
}

// callback writes the parameters in the order of the manual's example. Values are
// percent-encoded but for the semicolons of dtmf, which the server leaves alone.
func (w *writer) callback(p *Pop) {
	derived := p.ID == "" || p.IDDerived
	w.pair("phone", p.Number)
	w.pair("oper", p.Agent)
	w.pair("ch", p.Channel)
	if p.Line != "" {
		w.pair("outch", p.Line)
	}
	if !p.StartedAt.IsZero() {
		if !derived {
			w.pair("datetime", w.clock(p.StartedAt))
		}
		w.pair("startTime", strconv.FormatInt(p.StartedAt.UnixMilli(), 10))
	}
	if !derived {
		w.pair("id", p.ID)
	}
	w.pair("dtmf", closedKeys(p.Keys))
	for _, f := range p.Extra {
		w.extra(f)
	}
}

func (w *writer) extra(f Field) {
	if f.Name != unparsed {
		w.pair(f.Name, f.Value)
		return
	}
	for part := range strings.SplitSeq(f.Value, ",") {
		w.dst = append(w.dst, w.separator)
		w.value(unparsed, part)
	}
}

func (w *writer) pair(name, value string) {
	if len(w.dst) > w.start {
		w.dst = append(w.dst, w.separator)
	}
	w.value("a name", name)
	w.dst = append(w.dst, '=')
	w.value(name, value)
}

func (w *writer) value(name, value string) {
	if w.separator == '&' {
		w.dst = appendEscaped(w.dst, value)
		return
	}
	if strings.IndexByte(value, ',') >= 0 && w.err == nil {
		w.err = fmt.Errorf("the value of %s has a comma in it", name)
	}
	w.dst = append(w.dst, value...)
}

func (w *writer) clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	if year := t.Year(); (year < 2000 || year > 2099) && w.err == nil {
		w.err = fmt.Errorf("the start is in the year %d, YYMMDDHHMMSS has 2000 to 2099", year)
	}
	return t.Format("060102150405")
}

// serverID is the id of p, or the one that the server would make for it, or 0.
func serverID(p *Pop) string {
	if p.ID == "" && !p.StartedAt.IsZero() {
		return strconv.FormatInt(p.StartedAt.UnixMilli(), 10) + p.Line
	}
	return orZero(p.ID)
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

func appendEscaped(dst []byte, s string) []byte {
	const digits = "0123456789ABCDEF"
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', isDigit(c), strings.IndexByte("-_.~;:*|", c) >= 0:
			dst = append(dst, c)
		default:
			dst = append(dst, '%', digits[c>>4], digits[c&15])
		}
	}
	return dst
}
