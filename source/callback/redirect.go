package callback

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/pop"
)

const (
	// maxRedirect is the length in bytes of the longest template.
	maxRedirect = 2048
	// maxValue bounds what one field adds to the address, in bytes before they are
	// escaped: servers refuse addresses beyond some 8 KiB, and nothing that a page
	// is opened by is as long.
	maxValue = 256
	// extraField is where the fields begin that have no name of their own.
	extraField = ".Extra."
)

// Redirect is the address of a CRM's page with places for what is known of a call.
type Redirect struct{ parts []part }

// part is literal text and the field that follows it; the last one has none.
type part struct {
	literal string
	field   field // nil where there is none
	// inPath says that the field is part of the path.
	inPath bool
}

// field gives one field of what is known of a call.
type field func(*pop.Pop, *source.Origin) string

// fields are those of the event that are known when the page opens. The event's id
// is not among them: it is made while it is stored.
func fields() map[string]field {
	return map[string]field{
		".Server":          func(_ *pop.Pop, o *source.Origin) string { return o.Server },
		".Customer.Number": func(p *pop.Pop, _ *source.Origin) string { return p.Number },
		".Customer.E164":   func(p *pop.Pop, o *source.Origin) string { return o.Decoding.Now().Numbers.E164(p.Number) },
		".Agent.ID":        func(p *pop.Pop, _ *source.Origin) string { return p.Agent },
		".Agent.Channel":   func(p *pop.Pop, _ *source.Origin) string { return p.Channel },
		".Call.ID":         func(p *pop.Pop, _ *source.Origin) string { return p.ID },
		".Call.Line":       func(p *pop.Pop, _ *source.Origin) string { return p.Line },
		".Call.StartedAt": func(p *pop.Pop, _ *source.Origin) string {
			if p.StartedAt.IsZero() {
				return ""
			}
			return p.StartedAt.Format(time.RFC3339Nano)
		},
		".IVR.Keys": func(p *pop.Pop, _ *source.Origin) string { return p.Keys },
	}
}

// ParseRedirect parses an absolute http or https address with placeholders such
// as {{.Customer.Number}} in its path, query or fragment: .Server, .Customer.Number,
// .Customer.E164, .Agent.ID, .Agent.Channel, .Call.ID, .Call.Line, .Call.StartedAt,
// .IVR.Keys, and .Extra.NAME for a parameter that has no field of its own. Scheme
// and host are literal, or whoever writes the query would choose where the browser
// goes.
func ParseRedirect(template string) (*Redirect, error) {
	if len(template) > maxRedirect {
		return nil, fmt.Errorf("it has %d bytes: expected at most %d", len(template), maxRedirect)
	}
	r := &Redirect{}
	var written strings.Builder // what is before the place looked at, an x for each field
	rest := template
	for {
		literal, after, more := strings.Cut(rest, "{{")
		if err := checkLiteral(literal); err != nil {
			return nil, err
		}
		written.WriteString(literal)
		if !more {
			r.parts = append(r.parts, part{literal: literal})
			break
		}
		name, tail, closed := strings.Cut(after, "}}")
		if !closed {
			return nil, errors.New("a placeholder has no closing }}")
		}
		name = strings.TrimSpace(name)
		field, err := fieldOf(name)
		if err != nil {
			return nil, err
		}
		if !hostEnded(written.String()) {
			return nil, fmt.Errorf("{{%s}} stands in the scheme or host: expected these as literal text, "+
				"such as https://crm.example/customer?phone={{.Customer.Number}}, or a caller could choose where the browser is sent", name)
		}
		r.parts = append(r.parts, part{literal: literal, field: field, inPath: !strings.ContainsAny(written.String(), "?#")})
		written.WriteByte('x')
		rest = tail
	}
	u, err := url.Parse(written.String())
	switch {
	case err != nil:
		return nil, errors.New("expected an address such as https://crm.example/customer?phone={{.Customer.Number}}")
	case u.Scheme != "http" && u.Scheme != "https", u.Hostname() == "":
		return nil, errors.New("expected an address that begins with https:// or http:// and a host")
	case u.User != nil:
		return nil, errors.New("it has a user before the host: expected none")
	}
	return r, nil
}

// hostEnded says whether what is written holds scheme and host whole.
func hostEnded(written string) bool {
	_, after, ok := strings.Cut(written, "://")
	return ok && strings.IndexAny(after, "/?#") > 0
}

// checkLiteral refuses what does not belong into an address, and what browsers
// and we might read in different ways.
func checkLiteral(literal string) error {
	for i := range len(literal) {
		if c := literal[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"<>\^{|}`+"`", c) >= 0 {
			return fmt.Errorf("%q cannot be part of an address: expected it percent-encoded", c)
		}
	}
	return nil
}

func fieldOf(name string) (field, error) {
	if extra, ok := strings.CutPrefix(name, extraField); ok && extra != "" {
		return func(p *pop.Pop, _ *source.Origin) string {
			for _, f := range p.Extra {
				if f.Name == extra {
					return f.Value
				}
			}
			return ""
		}, nil
	}
	known := fields()
	if f, ok := known[name]; ok {
		return f, nil
	}
	return nil, fmt.Errorf("{{%s}} is not known when the page opens: expected one of %s, or %sNAME for any other parameter",
		name, strings.Join(slices.Sorted(maps.Keys(known)), ", "), extraField)
}

// Append appends the address for what is known of a call and returns the extended
// slice. What is not known is empty.
func (r *Redirect) Append(dst []byte, p *pop.Pop, o *source.Origin) []byte {
	for _, part := range r.parts {
		dst = append(dst, part.literal...)
		if part.field != nil {
			dst = append(dst, escape(part.field(p, o), part.inPath)...)
		}
	}
	return dst
}

// escape escapes everything but letters, digits and - _ . ~, which is right in a
// path's segment, in a query and in a fragment alike. A value of dots in a path
// would be taken for a step up, escaped or not, so it becomes a dash.
func escape(value string, inPath bool) string {
	if len(value) > maxValue {
		end := maxValue
		for end > 0 && !utf8.RuneStart(value[end]) {
			end--
		}
		value = value[:end]
	}
	if inPath && value != "" && strings.Trim(value, ".") == "" {
		return "-"
	}
	// In a fragment a plus is no space.
	return strings.ReplaceAll(url.QueryEscape(value), "+", "%20")
}
