package source

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/callpop/connector/source/pop"
)

// Decoding is what a server's pops need to be understood beyond their bytes. It
// is shared by everything of one source and safe for concurrent use; its users
// take what is in force, see [Decoding.Now], for each pop.
type Decoding struct {
	Charset  pop.Charset
	Location *time.Location
	Numbers  *Numbers

	successor atomic.Pointer[Decoding]
}

// Now is what is in force: d, or what [Decoding.Become] was given last.
func (d *Decoding) Now() *Decoding {
	if s := d.successor.Load(); s != nil {
		return s
	}
	return d
}

// Become puts other in force for everything that shares d.
func (d *Decoding) Become(other *Decoding) { d.successor.Store(other) }

// NewDecoding makes one of the keys that every source has: the server's character
// set, its time zone by IANA name, and the site's area code, which may be empty.
// The error names the key, its value, and what was expected.
func NewDecoding(charset pop.Charset, timezone, areaCode string) (*Decoding, error) {
	switch charset {
	case pop.Auto, pop.UTF8, pop.GB18030:
	default:
		return nil, fmt.Errorf("charset is %q: expected auto, utf-8 or gb18030", charset)
	}
	location, err := time.LoadLocation(timezone)
	if err != nil || timezone == "" || strings.EqualFold(timezone, "local") {
		return nil, fmt.Errorf("timezone is %q: expected a name of the IANA time zone database, such as Asia/Shanghai", timezone)
	}
	numbers, err := NewNumbers(areaCode)
	if err != nil {
		return nil, fmt.Errorf("area_code is %w", err)
	}
	return &Decoding{Charset: charset, Location: location, Numbers: numbers}, nil
}
