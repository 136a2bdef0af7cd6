package lqsim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/encoding/simplifiedchinese"

	"github.com/callpop/connector/source/pop"
)

// The character sets that pops can be sent in.
const (
	UTF8    = "utf-8"
	GB18030 = "gb18030"
)

// Mixed as a format takes another one of t1v1 to t1v5 for each call. A real
// server keeps to one.
const Mixed = "mixed"

// formats and charsets are what may be asked for. Never changed.
var (
	formats  = []string{pop.T1V1, pop.T1V2, pop.T1V3, pop.T1V4, pop.T1V5}
	charsets = []string{UTF8, GB18030}
)

// The pop modes (弹屏模式, ty; manual chapter 8) that calls here go through.
const (
	modeInbound          = 1
	modeManualOutbound   = 2
	modeInboundThreeWay  = 3
	modeAutoOutbound     = 4
	modeInboundTransfer  = 5
	modeOutboundTransfer = 6
	modeOutboundThreeWay = 7
	modeTest             = 8
	modeReserved         = 9
)

// outsideLines is how many outside lines the call centre has: an E1's.
const outsideLines = 30

// exchange makes calls up: numbers, serial numbers, lines, times. The same seed
// and the same questions give the same calls.
type exchange struct {
	rng      *rand.Rand
	sn       uint64
	line     int
	lastMS   [outsideLines]int64 // the start of each line's last call: an id is never given twice
	location *time.Location
}

func newExchange(seed, firstSN uint64, location *time.Location) *exchange {
	if firstSN == 0 {
		firstSN = 1000
	}
	if location == nil {
		location = time.FixedZone("UTC+8", 8*60*60)
	}
	return &exchange{rng: rand.New(rand.NewPCG(seed, 7628)), sn: firstSN, location: location}
}

// call is one call on its way through the call centre.
type call struct {
	pop     pop.Pop // what all of its pops share
	format  string
	charset string
	mode    int    // of its first pop
	holder  string // the agent who has it now
}

// begin makes a call up. The format must be one of formats or [Mixed].
func (x *exchange) begin(at time.Time, mode int, format, charset string) *call {
	if format == Mixed {
		format = formats[x.rng.IntN(len(formats))]
	}
	line := x.line
	x.line = (x.line + 1) % outsideLines
	ms := max(at.UnixMilli(), x.lastMS[line]+1)
	x.lastMS[line] = ms
	channel := strconv.Itoa(line + 1)
	c := &call{format: format, charset: charset, mode: mode}
	c.pop = pop.Pop{
		Line:      channel,
		Number:    number(x.rng),
		ID:        strconv.FormatInt(ms, 10) + channel,
		StartedAt: time.UnixMilli(ms).In(x.location),
		SN:        strconv.FormatUint(x.sn, 10),
		Keys:      pressedKeys(x.rng),
		Data:      ivrData(x.rng),
	}
	x.sn++
	if x.rng.IntN(3) == 0 {
		c.pop.Member = digits(x.rng, 6)
	}
	return c
}

// outbound says whether the call centre made the call.
func (c *call) outbound() bool {
	return c.mode == modeManualOutbound || c.mode == modeAutoOutbound
}

// ring is the call's pop at an agent, in the mode given.
func (c *call) ring(agent string, mode int) pop.Pop {
	p := c.pop
	p.Agent = agent
	p.Mode = mode
	c.holder = agent
	return p
}

// transfer is the pop at the agent whom the holder passes the call on to.
func (c *call) transfer(to string) pop.Pop {
	from := c.holder
	mode := modeInboundTransfer
	if c.outbound() {
		mode = modeOutboundTransfer
	}
	p := c.ring(to, mode)
	p.From = from
	return p
}

// threeWay is the pop at the agent whom the holder brings in.
func (c *call) threeWay(with string) pop.Pop {
	holder := c.holder
	mode := modeInboundThreeWay
	if c.outbound() {
		mode = modeOutboundThreeWay
	}
	p := c.ring(with, mode)
	c.holder = holder
	return p
}

// rePop is the pop that an agent has asked for again: its mode is 1 or 2 whatever
// came before (manual chapter 8).
func (c *call) rePop(agent string) pop.Pop {
	p := c.pop
	p.Agent = agent
	p.Mode = modeInbound
	if c.outbound() {
		p.Mode = modeManualOutbound
	}
	return p
}

// encode is the pop string as the server sends it. It fails where the pop does
// not fit the format: a field with a separator in it, more than 255 bytes.
func encode(p *pop.Pop, format, charset string) ([]byte, error) {
	raw, err := pop.Append(nil, format, p)
	if err != nil {
		return nil, err
	}
	if charset == GB18030 {
		if raw, err = simplifiedchinese.GB18030.NewEncoder().Bytes(raw); err != nil {
			return nil, fmt.Errorf("encode a pop in GB18030: %w", err)
		}
	}
	return raw, nil
}

func checkFormat(format string) error {
	if format != Mixed && !slices.Contains(formats, format) {
		return fmt.Errorf("format %q: expected t1v1, t1v2, t1v3, t1v4, t1v5 or mixed", format)
	}
	return nil
}

func checkCharset(charset string) error {
	if !slices.Contains(charsets, charset) {
		return fmt.Errorf("charset %q: expected utf-8 or gb18030", charset)
	}
	return nil
}

// maxAgent is the longest agent number that leaves room for all else in a pop.
const maxAgent = 32

// checkAgents tells of an agent number that a pop string cannot carry.
func checkAgents(agents []string) error {
	for _, id := range agents {
		if id == "" || len(id) > maxAgent || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(",;=", r) }) {
			return fmt.Errorf("agent %q: expected 1 to %d printable ASCII characters without space, comma, semicolon or equals sign", id, maxAgent)
		}
	}
	return nil
}
