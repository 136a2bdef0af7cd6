package feed

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// position is an event's place in a spool: what an SSE id says.
type position struct {
	spool    string
	sequence uint64
}

// Sizes of an id's parts: a spool's id begins with the time at which the spool was
// made, six bytes of milliseconds.
const (
	spoolDigits    = 20
	spoolTimeBytes = 6
	sequenceDigits = 20
)

// parsePosition reads <spool id>-<sequence>; ok is false for anything else.
func parsePosition(text string) (p position, ok bool) {
	spool, sequence, _ := strings.Cut(text, "-")
	if raw, err := hex.DecodeString(spool); err != nil || len(raw)*2 != spoolDigits || len(sequence) > sequenceDigits ||
		strings.Trim(sequence, "0123456789") != "" {
		return position{}, false
	}
	n, err := strconv.ParseUint(sequence, 10, 64)
	return position{strings.ToLower(spool), n}, err == nil
}

func (p position) String() string { return fmt.Sprintf("%s-%0*d", p.spool, sequenceDigits, p.sequence) }

// made is when the position's spool was made.
func (p position) made() time.Time {
	raw, err := hex.DecodeString(p.spool)
	if err != nil || len(raw) < spoolTimeBytes {
		return time.Time{}
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(append([]byte{0, 0}, raw[:spoolTimeBytes]...)))).UTC()
}

// start is where a request wants its stream to begin. At most one is set.
type start struct {
	after *position
	since time.Time
}

// parseStart reads Last-Event-ID, or last_event_id of the query for those who
// cannot send headers, and since. What was seen last counts before since, which
// an EventSource repeats in its address each time.
func parseStart(r *http.Request, now time.Time, maxSince time.Duration) (start, error) {
	query := r.URL.Query()
	name, last := "Last-Event-ID", r.Header.Get("Last-Event-ID")
	if last == "" {
		name, last = "last_event_id", query.Get("last_event_id")
	}
	if last != "" {
		p, ok := parsePosition(last)
		if !ok {
			return start{}, &refusal{http.StatusBadRequest, "bad_position", fmt.Sprintf("%s: %.80q: expected the id of an event, <spool id>-<sequence>", name, last)}
		}
		return start{after: &p}, nil
	}
	since, err := parseSince(query.Get("since"), now, maxSince)
	return start{since: since}, err
}

// parseSince reads a time or how long ago it was; the empty text is the zero time.
// What is further back than most allows begins there.
func parseSince(text string, now time.Time, most time.Duration) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if ago, isDuration := parseAgo(text); isDuration {
		at, err = now.Add(-ago), nil
	}
	if err != nil {
		return time.Time{}, &refusal{http.StatusBadRequest, "bad_since", fmt.Sprintf("since: %.80q: expected a time such as 2026-11-23T08:00:00Z (a + in it as %%2B) or how long ago, such as 15m", text)}
	}
	if earliest := now.Add(-most); at.Before(earliest) {
		at = earliest
	}
	return at.UTC(), nil
}

func parseAgo(text string) (time.Duration, bool) {
	d, err := time.ParseDuration(text)
	return d, err == nil && d >= 0
}
