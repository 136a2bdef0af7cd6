package spool

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// ledgerFile, in the spool's directory, says what the log has to hold.
const ledgerFile = "ledger"

// ledgerInterval is how often it is brought up to date. What was stored since, and
// is then damaged, may be counted short; its sequences are given to no other event
// all the same, see [tailMargin].
const ledgerInterval = time.Second

// ledger is what the log has to hold, kept beside it: the embedded server takes
// whatever it finds for all there ever was.
type ledger struct {
	// Clean is true after a close in order: the blocks are as Streams says.
	Clean bool `json:"clean"`
	// Boot names the run of the operating system, where that is known.
	Boot    string                   `json:"boot,omitempty"`
	Streams map[string]*streamLedger `json:"streams"`
	// Cursors are the sinks' places by their keys, for those that damage takes.
	Cursors map[string]uint64 `json:"cursors"`
}

// streamLedger is what one stream has to hold.
type streamLedger struct {
	// First is the oldest sequence that the limits had left, Last the newest that
	// was ever given to an event or passed over.
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
	// MaxBytes is the stream's limit.
	MaxBytes int64 `json:"max_bytes"`
	// Gaps are the sequences between that have no event, rising.
	Gaps []Gap `json:"gaps,omitempty"`
	// Blocks are the sizes of the files, after a close in order.
	Blocks map[string]int64 `json:"blocks,omitempty"`
}

// Gap is a run of sequences without events, because of damage.
type Gap struct {
	// From and To are its first and last sequence.
	From uint64 `json:"from"`
	To   uint64 `json:"to"`
	// Lost is how many events were there: the first so many of the sequences. The
	// rest were never an event's; where damage took the end of a stream, it goes on
	// well beyond what may have been there.
	Lost uint64 `json:"lost"`
	// After and Before are when the events before and after the gap were stored;
	// zero where there is none.
	After  time.Time `json:"after,omitzero"`
	Before time.Time `json:"before,omitzero"`
	// Loose is true for many gaps that were drawn together: there are events between.
	Loose bool `json:"loose,omitempty"`
	// Found is when the gap was reported; zero for one that is not yet.
	Found time.Time `json:"found,omitzero"`
	// Undelivered is how many of the lost events each sink had not had; a sink that
	// had them all is not in it.
	Undelivered map[string]uint64 `json:"undelivered,omitempty"`
}

// lostAfter is how many of the gap's lost events have sequences after one.
func (g *Gap) lostAfter(sequence uint64) uint64 {
	end := g.From + g.Lost // after the last lost one
	return end - min(end, max(g.From, sequence+1))
}

// neverGiven is how many of the sequences from one to another were no event's.
func (g *Gap) neverGiven(from, to uint64) uint64 {
	if g.Loose {
		return 0
	}
	from, end := max(from, g.From+g.Lost), min(to, g.To)+1
	return end - min(end, from)
}

// maxGaps bounds the gaps of a stream that are kept apart.
const maxGaps = 1000

// prune forgets gaps that are before the stream's first event and were reported
// long ago, and draws the oldest together where they are too many.
func (l *streamLedger) prune(old time.Time) {
	l.Gaps = slices.DeleteFunc(l.Gaps, func(g Gap) bool {
		return g.To < l.First && !g.Found.IsZero() && g.Found.Before(old)
	})
	for len(l.Gaps) > maxGaps {
		a, b := l.Gaps[0], l.Gaps[1]
		if a.To < l.First {
			l.Gaps = l.Gaps[1:]
			continue
		}
		a.Loose = true
		a.To, a.Lost, a.Before, a.Found = b.To, a.Lost+b.Lost, b.Before, b.Found
		undelivered := maps.Clone(a.Undelivered)
		for sink, n := range b.Undelivered {
			if undelivered == nil {
				undelivered = map[string]uint64{}
			}
			undelivered[sink] += n
		}
		a.Undelivered = undelivered
		l.Gaps[1] = a
		l.Gaps = l.Gaps[1:]
	}
}

// readLedger returns the ledger of a spool's directory. One that is missing or
// damaged is nil, and then only damage within the log shows.
func readLedger(dir string) (*ledger, error) {
	text, err := os.ReadFile(filepath.Join(dir, ledgerFile)) //nolint:gosec // the operator names the directory
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what the spool has to hold: %w", err)
	}
	body, sum, _ := bytes.Cut(text, []byte("\n"))
	if want := ledgerSum(body); string(bytes.TrimSpace(sum)) != want {
		return nil, fmt.Errorf("read what the spool has to hold: %s: the checksum is wrong", filepath.Join(dir, ledgerFile))
	}
	l := newLedger()
	if err := json.Unmarshal(body, l); err != nil {
		return nil, fmt.Errorf("read what the spool has to hold: %s: %w", filepath.Join(dir, ledgerFile), err)
	}
	return l, nil
}

func newLedger() *ledger {
	l := &ledger{Streams: map[string]*streamLedger{}, Cursors: map[string]uint64{}}
	for _, st := range streams {
		l.Streams[st.name] = &streamLedger{}
	}
	return l
}

func ledgerSum(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:8])
}

// writeLedger puts a ledger in the place of the one before it, so that a crash
// leaves one of them whole.
func writeLedger(dir string, l *ledger) error {
	body, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("write what the spool has to hold: %w", err)
	}
	if err := replaceFile(filepath.Join(dir, ledgerFile), append(body, "\n"+ledgerSum(body)+"\n"...)); err != nil {
		return fmt.Errorf("write what the spool has to hold: %w", err)
	}
	return nil
}

// replaceFile writes a file anew, and returns once it is on disk under its name.
func replaceFile(path string, parts ...[]byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	for _, part := range parts {
		if _, err = f.Write(part); err != nil {
			break
		}
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(path string) error {
	dir, err := os.Open(path) //nolint:gosec // a directory of the spool
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

// bootID names the run of the operating system; "" where it has no name.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// keep brings the ledger up to date until the spool is closed.
func (s *Spool) keep() {
	ticker := time.NewTicker(ledgerInterval)
	defer ticker.Stop()
	for {
		select {
		case <-s.life.Done():
			return
		case <-ticker.C:
		}
		if e := s.current(); e != nil {
			s.keepNow(s.life, e)
		}
	}
}

// keepNow brings the ledger up to date with what engine e holds, and writes it if
// that is something new.
func (s *Spool) keepNow(ctx context.Context, e *engine) {
	limited, cancel := context.WithTimeout(ctx, stateTimeout)
	defer cancel()
	var states [len(streams)]State
	for i, st := range streams {
		// First the sequence that was acknowledged: the state is then no older.
		last, _ := s.tails[i].wait()
		state, err := streamState(limited, e, st)
		if err != nil {
			return // the next round
		}
		state.Last = last
		states[i] = state
	}
	b := &s.books
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case <-e.retired:
		return // what comes after it may have been written already
	default:
	}
	s.enter(states)
	s.writeBooks()
}

// books are the ledger in memory.
type books struct {
	mu     sync.Mutex
	ledger *ledger // guarded by mu
	dirty  bool    // guarded by mu; there is something to write
	failed bool    // guarded by mu; the last write did
}

// enter takes the streams' states down. The caller holds books.mu.
func (s *Spool) enter(states [len(streams)]State) {
	b := &s.books
	if b.ledger.Clean {
		b.ledger.Clean, b.dirty = false, true
	}
	for i, st := range streams {
		l := b.ledger.Streams[st.name]
		before := *l
		l.First, l.Last, l.MaxBytes, l.Blocks = states[i].First, max(l.Last, states[i].Last), int64(s.config.MaxBytes), nil
		if l.First != before.First || l.Last != before.Last || l.MaxBytes != before.MaxBytes {
			b.dirty = true
			l.prune(time.Now().Add(-s.config.MaxAge))
		}
	}
}

// writeBooks writes the ledger where it is not written. On a full disk that fails,
// and the log goes on with the one before. The caller holds books.mu.
func (s *Spool) writeBooks() {
	b := &s.books
	if !b.dirty {
		return
	}
	err := writeLedger(s.config.Dir, b.ledger)
	if err != nil && !b.failed {
		s.logger.Warn("what the spool has to hold cannot be written down; damage may be counted short", "error", err)
	}
	b.dirty, b.failed = err != nil, err != nil
}

// noteCursor takes a sink's place down, for the next time that the ledger is
// written.
func (s *Spool) noteCursor(key string, sequence uint64) {
	b := &s.books
	b.mu.Lock()
	defer b.mu.Unlock()
	if known, ok := b.ledger.Cursors[key]; !ok || known != sequence {
		b.ledger.Cursors[key], b.dirty = sequence, true
	}
}

// forgetCursor takes it out.
func (s *Spool) forgetCursor(key string) {
	b := &s.books
	b.mu.Lock()
	defer b.mu.Unlock()
	if _, ok := b.ledger.Cursors[key]; ok {
		delete(b.ledger.Cursors, key)
		b.dirty = true
		s.writeBooks()
	}
}

// gaps returns the gaps of a stream.
func (s *Spool) gaps(st stream) []Gap {
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	return slices.Clone(s.books.ledger.Streams[st.name].Gaps)
}

// gapAt returns the gap that a sequence is in.
func (s *Spool) gapAt(st stream, sequence uint64) (Gap, bool) {
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	for _, g := range s.books.ledger.Streams[st.name].Gaps {
		if g.From <= sequence && sequence <= g.To && !g.Loose {
			return g, true
		}
	}
	return Gap{}, false
}

// takenFrom is how many of the events from one sequence to another damage took.
func (g *Gap) takenFrom(from, to uint64) uint64 {
	from, end := max(from, g.From), min(to, g.To)+1
	if from >= end {
		return 0
	}
	return end - from - g.neverGiven(from, to)
}

// takenFrom is how many of a stream's events from one sequence to another damage
// took; where the gaps were drawn together, at most so many.
func (s *Spool) takenFrom(st stream, from, to uint64) (n uint64) {
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	gaps := s.books.ledger.Streams[st.name].Gaps
	for i := range gaps {
		n += gaps[i].takenFrom(from, to)
	}
	return n
}

// neverGiven is how many of a stream's sequences from one to another were never an
// event's.
func (s *Spool) neverGiven(st stream, from, to uint64) (n uint64) {
	if from > to {
		return 0
	}
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	gaps := s.books.ledger.Streams[st.name].Gaps
	for i := range gaps {
		n += gaps[i].neverGiven(from, to)
	}
	return n
}
