package capture

import (
	"slices"
	"time"
	"unicode/utf8"

	"github.com/callpop/connector/source"
	"github.com/callpop/connector/source/frame"
	"github.com/callpop/connector/source/pop"
)

// Summary is what a transcript tells of a site.
type Summary struct {
	Started  time.Time `json:"started"`
	Upstream string    `json:"upstream"`
	// Masked, Cut and Full as in [Transcript].
	Masked bool `json:"masked"`
	Cut    bool `json:"cut"`
	Full   bool `json:"full"`
	// Connections counts all, Refused those that did not reach the server.
	Connections int `json:"connections"`
	Refused     int `json:"refused"`
	// LostBytes were passed on, but not recorded.
	LostBytes   int           `json:"lost_bytes"`
	Templates   []Template    `json:"templates"`
	Unexplained []Unexplained `json:"unexplained,omitempty"`
	Pops        Pops          `json:"pops"`
	Heartbeats  Heartbeats    `json:"heartbeats"`
}

// Pops sums up what pops there were.
type Pops struct {
	Count int `json:"count"`
	// Undecodable are those from which neither number nor call can be had; Empty
	// those of no bytes; UnframedBytes those outside any frame.
	Undecodable   int `json:"undecodable"`
	Empty         int `json:"empty"`
	UnframedBytes int `json:"unframed_bytes"`
	// Formats count the decoded ones by what they are, Declared those whose H says
	// something else.
	Formats  map[string]int `json:"formats"`
	Declared map[string]int `json:"declared,omitempty"`
	// GB18030 and UTF8 count those with text beyond ASCII.
	GB18030 int `json:"gb18030"`
	UTF8    int `json:"utf8"`
	// Missing are fields that some pops lack.
	Missing []Missing `json:"missing,omitempty"`
	// Longest is the length in bytes of the longest one, NearLimit how many have
	// nearLimit bytes or more, of 255 that the wire carries.
	Longest   int `json:"longest"`
	NearLimit int `json:"near_limit"`
}

// nearLimit is a length that leaves no room for a longer name or one more field.
const nearLimit = 230

// Missing is a field that some pops lack, and what that costs.
type Missing struct {
	// Field is its key in a pop string.
	Field string `json:"field"`
	// Without counts the pops that lack it.
	Without int    `json:"without"`
	Cost    string `json:"cost"`
}

// Heartbeats sums up what heartbeats there were.
type Heartbeats struct {
	Count    int `json:"count"`
	Answered int `json:"answered"`
	// Interval is the median time between two of a connection, in nanoseconds; 0
	// where there were none.
	Interval time.Duration `json:"interval"`
	// SlowestReply is the longest time that a client took, in nanoseconds.
	SlowestReply time.Duration `json:"slowest_reply"`
}

// ExplainOptions say what is known of the site.
type ExplainOptions struct {
	Hints Hints
	// Decoding is the site's; nil: any character set, the time of China.
	Decoding *source.Decoding
	// MaskNumbers keeps customers' numbers out of what is shown.
	MaskNumbers bool
	// Brief leaves out the frames.
	Brief bool
}

func (o *ExplainOptions) decoding() (*source.Decoding, error) { return orDefault(o.Decoding) }

func orDefault(d *source.Decoding) (*source.Decoding, error) {
	if d != nil {
		return d, nil
	}
	numbers, err := source.NewNumbers("")
	if err != nil {
		return nil, err
	}
	return &source.Decoding{Charset: pop.Auto, Location: time.FixedZone("+08", 8*60*60), Numbers: numbers}, nil
}

// Summarize sums a transcript up.
func Summarize(t *Transcript, o ExplainOptions) (*Summary, error) {
	decoding, err := o.decoding()
	if err != nil {
		return nil, err
	}
	return summarize(t, takeAllApart(t), o.Hints, decoding), nil
}

func takeAllApart(t *Transcript) []*dialogue {
	dialogues := make([]*dialogue, len(t.Connections))
	for i, c := range t.Connections {
		dialogues[i] = takeApart(c)
	}
	return dialogues
}

func summarize(t *Transcript, dialogues []*dialogue, hints Hints, decoding *source.Decoding) *Summary {
	s := &Summary{
		Started: t.Started, Upstream: t.Upstream, Masked: t.Masked, Cut: t.Cut, Full: t.Full,
		Connections: len(t.Connections),
		Pops:        Pops{Formats: map[string]int{}, Declared: map[string]int{}},
	}
	s.Templates, s.Unexplained = infer(dialogues, hints)
	c := counter{summary: s, decoder: pop.Decoder{Charset: decoding.Charset, Location: decoding.Location}, with: map[string]int{}}
	for _, d := range dialogues {
		if d.connection.Refused != "" {
			s.Refused++
		}
		c.count(d)
	}
	c.finish()
	return s
}

// counter counts what the dialogues hold.
type counter struct {
	summary   *Summary
	decoder   pop.Decoder
	pop       pop.Pop
	decoded   int
	with      map[string]int // by field
	intervals []time.Duration
}

func (c *counter) count(d *dialogue) {
	s := c.summary
	var last time.Time // heartbeat
	for i := range d.steps {
		step := &d.steps[i]
		switch step.kind {
		case stepPop:
			c.countPop(step.data)
		case stepEmpty:
			s.Pops.Empty++
		case stepSkipped, stepRest:
			s.Pops.UnframedBytes += len(step.data)
		case stepLost:
			s.LostBytes += step.lost
			last = time.Time{}
		case stepHeartbeat:
			s.Heartbeats.Count++
			if !last.IsZero() {
				c.intervals = append(c.intervals, step.at.Sub(last))
			}
			last = step.at
		case stepReply:
			s.Heartbeats.Answered++
			s.Heartbeats.SlowestReply = max(s.Heartbeats.SlowestReply, step.took)
		}
	}
}

func (c *counter) countPop(raw []byte) {
	p := &c.summary.Pops
	p.Count++
	p.Longest = max(p.Longest, len(raw))
	if len(raw) >= nearLimit {
		p.NearLimit++
	}
	if text, _ := pop.Text(raw, pop.Auto); text != string(raw) {
		p.GB18030++
	} else if utf8.RuneCountInString(text) != len(text) {
		p.UTF8++
	}
	if c.decoder.Decode(raw, &c.pop) != nil {
		p.Undecodable++
		return
	}
	c.decoded++
	p.Formats[c.pop.Format]++
	if c.pop.Declared != "" {
		p.Declared[clone(c.pop.Declared)]++
	}
	for field, has := range map[string]bool{
		"ph": c.pop.Number != "", "id": c.pop.ID != "", "op": c.pop.Agent != "", "sn": c.pop.SN != "",
		"ty": c.pop.Mode != 0, "tm": !c.pop.StartedAt.IsZero(),
		"call": c.pop.SN != "" || c.pop.ID != "",
	} {
		if has {
			c.with[field]++
		}
	}
}

func clone(s string) string { return string([]byte(s)) }

func (c *counter) finish() {
	if len(c.intervals) > 0 {
		slices.Sort(c.intervals)
		c.summary.Heartbeats.Interval = c.intervals[len(c.intervals)/2]
	}
	for _, f := range []struct{ field, cost string }{
		{"ph", "no customer can be looked up for them"},
		{"op", "the event's agent is the one who registered; a relay finds that one by agent_pattern alone"},
		{"sn", "pops of one call are put together, and in order, by id instead"},
		{"id", "the call's recording cannot be looked up by id (the manual has id in t1v2 and t1v3 only)"},
		{"ty", "what kind of pop it is, and its direction, is not known: transfers and calls to the customer look like calls from the customer"},
		{"tm", "when the call began is not known, nor an id derived from it"},
	} {
		without := c.decoded - c.with[f.field]
		if without == 0 {
			continue
		}
		if f.field == "sn" && c.with["call"] < c.decoded {
			f.cost = "those without id as well cannot be put together: each pop is a call of its own"
		}
		c.summary.Pops.Missing = append(c.summary.Pops.Missing, Missing{f.field, without, f.cost})
	}
}

// maxPop is the longest pop on the wire.
const maxPop = frame.MaxPop
