package spool

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/callpop/connector/internal/bytesize"
)

// Before the embedded server opens the store, the spool checks it, for the server
// (2.15) does not stand damage well: behind a damaged record it drops the rest of
// the block; a flipped bit in a record's sequence makes it fill memory; and where
// the end of a stream is gone, it gives the sequences out again, of which a sink
// that had them sees nothing.
//
// What is checked: after a close in order, the sizes of all blocks and the newest
// cleanCheck bytes of each stream; after anything else, every record of every
// block, which the server does itself then too. A block with damage is written
// anew from its whole records, and kept aside as it was.

// cleanCheck is how much of each stream is read at a start after a close in order:
// a log of four hundred thousand events, in about 0.3 s of one core.
const cleanCheck = int64(256 * bytesize.MiB)

// tailMargin is by how much a stream goes on beyond all that is known, where its
// end was damaged: events may have been stored after the ledger was written last,
// and a sink may have had them. It is ten times what the log takes in a second.
const tailMargin = 1 << 20

// inspection is what a stream's files hold.
type inspection struct {
	name   string
	dir    string // of its blocks
	blocks []*block
	// purging is true where the server was about to replace the blocks by others.
	purging bool
}

func streamDir(dir, name string) string {
	return filepath.Join(dir, "jetstream", spoolAccount, "streams", name)
}

// end is the highest sequence that whole records name: the server goes on after it.
func (in *inspection) end() (n uint64) {
	for _, b := range in.blocks {
		n = max(n, b.end())
	}
	return n
}

// seen is the highest sequence of which the files show that it was there.
func (in *inspection) seen() (n uint64) {
	for _, b := range in.blocks {
		n = max(n, b.end(), b.seen)
	}
	return n
}

// torn is true where damage reaches the end of the newest block.
func (in *inspection) torn() bool {
	return len(in.blocks) > 0 && in.blocks[len(in.blocks)-1].torn
}

// bytes is how much the whole records take.
func (in *inspection) bytes() (n int64) {
	for _, b := range in.blocks {
		n += b.size - b.lost()
	}
	return n
}

// inspect looks at the files of a stream. sizes are those that they had after a
// close in order; nil has every record checked.
func inspect(dir, name string, sizes map[string]int64) (*inspection, error) {
	in := &inspection{name: name, dir: filepath.Join(streamDir(dir, name), "msgs")}
	if err := removeLeftovers(in.dir); err != nil {
		return nil, err
	}
	staged, err := blockFiles(filepath.Join(streamDir(dir, name), "__new_msgs__"))
	if err != nil {
		return nil, err
	}
	in.purging = len(staged) > 0
	files, err := blockFiles(in.dir)
	if err != nil || len(files) == 0 || in.purging {
		return in, err
	}
	trusted := 0
	if sizes != nil && sizesAgree(files, sizes) {
		trusted = len(files)
		for budget := cleanCheck; trusted > 0 && budget >= files[trusted-1].size; trusted-- {
			budget -= files[trusted-1].size
		}
	}
	in.blocks = make([]*block, len(files))
	errs := make([]error, len(files))
	var workers sync.WaitGroup
	next := make(chan int)
	for range min(len(files), runtime.GOMAXPROCS(0), 4) {
		workers.Go(func() {
			reader := blockReader{stream: name}
			for i := range next {
				if f := files[i]; i < trusted {
					in.blocks[i], errs[i] = reader.trust(f.number, f.path, f.size)
				} else {
					in.blocks[i], errs[i] = reader.scan(f.number, f.path)
				}
			}
		})
	}
	for i := range files {
		next <- i
	}
	close(next)
	workers.Wait()
	if err := errors.Join(errs...); err != nil {
		return nil, fmt.Errorf("check stream %s: %w", name, err)
	}
	in.order()
	return in, nil
}

// order makes the sequences of the blocks rise from each to the next, as they do
// in all that the server writes, and fills in those that were trusted.
func (in *inspection) order() {
	var last uint64
	for i, b := range in.blocks {
		if b.trusted && len(b.runs) > 0 {
			// What is not looked at is taken for whole.
			for _, after := range in.blocks[i+1:] {
				if len(after.runs) > 0 {
					b.runs[0].to = max(after.runs[0].from-1, b.runs[0].from)
					b.seen = b.runs[0].to
					break
				}
			}
		}
		if len(b.runs) > 0 && b.runs[0].from <= last {
			// A copy of an older block, or worse. None of it is of use.
			b.kept, b.runs, b.removed, b.mended, b.seen, b.trusted = nil, nil, 0, nil, 0, false
		}
		last = max(last, b.seen)
	}
}

// removeLeftovers removes what a crash in [replaceFile] left of a file.
func removeLeftovers(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, ".*"+blockSuffix+"-*"))
	for _, path := range left {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

type blockFile struct {
	number int
	path   string
	size   int64
}

// blockFiles are the blocks in a directory, by their number.
func blockFiles(dir string) ([]blockFile, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list blocks: %w", err)
	}
	var files []blockFile
	for _, entry := range entries {
		digits, ok := strings.CutSuffix(entry.Name(), blockSuffix)
		n, err := strconv.ParseUint(digits, 10, 31)
		if !ok || err != nil || !entry.Type().IsRegular() {
			continue
		}
		info, err := entry.Info()
		if err != nil {
			return nil, fmt.Errorf("list blocks: %w", err)
		}
		files = append(files, blockFile{int(n), filepath.Join(dir, entry.Name()), info.Size()}) //nolint:gosec // 31 bits
	}
	slices.SortFunc(files, func(a, b blockFile) int { return cmp.Compare(a.number, b.number) })
	return files, nil
}

func sizesAgree(files []blockFile, sizes map[string]int64) bool {
	if len(files) != len(sizes) {
		return false
	}
	for _, f := range files {
		if size, ok := sizes[filepath.Base(f.path)]; !ok || size != f.size {
			return false
		}
	}
	return true
}

// findings are what an inspection comes to.
type findings struct {
	// gaps are new ones, not yet in the ledger.
	gaps []Gap
	// next is one more than the highest sequence that may have been an event's;
	// 0 where the stream goes on from its last record.
	next uint64
}

// judge compares what a stream's files hold with what they have to. cursor is the
// highest that any sink has there; suspect says that the end may be missing,
// and nothing tells how much of it.
func judge(in *inspection, l *streamLedger, cursor uint64, suspect bool, now time.Time, maxAge time.Duration) findings {
	var f findings
	held := in.end()
	// A cursor is given to what a sink has had: whatever the log lost, it was there.
	known := max(in.seen(), l.Last, cursor)
	if known == 0 {
		return f
	}
	var runs []run
	for _, b := range in.blocks {
		runs = append(runs, b.runs...)
	}
	next := l.First // of what has to be there
	if next == 0 || l.Last == 0 {
		next = held + 1
		if len(runs) > 0 {
			next = runs[0].from
		}
	}
	var before run
	for _, r := range runs {
		if r.from > next && !in.limited(r, l, next, now, maxAge) {
			f.add(l.Gaps, Gap{From: next, To: r.from - 1, After: storedAt(before.endedAt), Before: storedAt(r.began)})
		}
		next, before = max(next, r.to+1), r
	}
	if in.emptied(next, l) {
		next = held + 1
	}
	if next <= known {
		f.add(l.Gaps, Gap{From: next, To: known, After: storedAt(before.endedAt)})
	}
	if held < known || suspect {
		f.next = known + 1 + tailMargin
		f.extend(known, f.next-1, storedAt(before.endedAt))
	}
	return f
}

// limited reports whether the limits may have taken what is missing before run r,
// the log's first: they may have since the ledger was written. What is older than
// max_age would go now all the same; and a stream whose oldest block went by
// max_bytes is full but for one event, while a missing block leaves it less so.
func (in *inspection) limited(r run, l *streamLedger, next uint64, now time.Time, maxAge time.Duration) bool {
	if next != l.First {
		return false
	}
	return now.Sub(time.Unix(0, r.began)) >= maxAge || in.bytes() >= l.MaxBytes-min(l.MaxBytes/16, int64(maxPayload))
}

// emptied reports whether the stream was emptied: a purge leaves nothing but a
// tombstone of the last event.
func (in *inspection) emptied(next uint64, l *streamLedger) bool {
	if next != l.First {
		return false
	}
	for _, b := range in.blocks {
		if len(b.runs) > 0 || b.lost() > 0 {
			return false
		}
	}
	end := in.end()
	// The spool's own tombstone, at the end of a gap, says nothing of what was before.
	return end >= l.Last && !slices.ContainsFunc(l.Gaps, func(g Gap) bool { return g.To == end })
}

// add adds what of a gap is not known already.
func (f *findings) add(known []Gap, g Gap) {
	for _, k := range known {
		if k.To < g.From || k.From > g.To {
			continue
		}
		if k.From > g.From {
			part := g
			part.To = k.From - 1
			f.lose(part)
		}
		if k.To >= g.To {
			return
		}
		g.From = k.To + 1
	}
	f.lose(g)
}

// lose adds a gap all of whose sequences were events.
func (f *findings) lose(g Gap) {
	g.Lost = g.To - g.From + 1
	f.gaps = append(f.gaps, g)
}

// extend has the last gap go on up to a sequence, or makes one.
func (f *findings) extend(known, to uint64, after time.Time) {
	if n := len(f.gaps); n > 0 && f.gaps[n-1].To == known {
		f.gaps[n-1].To = to
		return
	}
	f.gaps = append(f.gaps, Gap{From: known + 1, To: to, After: after})
}

func storedAt(nanoseconds int64) time.Time {
	if nanoseconds == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanoseconds).UTC()
}

// mend checks the store and makes it one that the server opens without dropping
// anything. What is lost is in the ledger before a file is changed, so that a crash
// on the way neither forgets it nor counts it twice.
func (s *Spool) mend() error {
	began := time.Now()
	clean := s.wasClean()
	names := []string{"KV_" + cursorBucket}
	for _, st := range streams {
		names = append(names, st.name)
	}
	inspections := make([]*inspection, len(names))
	for i, name := range names {
		known := s.sizes(name)
		if !clean {
			known = nil
		}
		var err error
		if inspections[i], err = inspect(s.config.Dir, name, known); err != nil {
			return fmt.Errorf("check the embedded server's store: %w", err)
		}
	}
	found := s.enterFindings(inspections, clean, began)
	// The first is that of the cursors.
	s.cursorsDamaged = slices.ContainsFunc(inspections[0].blocks, (*block).damaged)
	for i, in := range inspections {
		if err := s.mendMeta(in.name); err != nil {
			return fmt.Errorf("mend the embedded server's stream %s: %w", in.name, err)
		}
		if err := s.mendStream(in, &found[i]); err != nil {
			return fmt.Errorf("mend the embedded server's stream %s: %w", in.name, err)
		}
	}
	s.logger.Debug("the spool was checked", "dir", s.config.Dir, "closed_in_order", clean, "took", time.Since(began))
	return nil
}

func (s *Spool) wasClean() bool {
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	return s.books.ledger.Clean
}

// sizes are those of a stream's blocks after a close in order.
func (s *Spool) sizes(name string) map[string]int64 {
	s.books.mu.Lock()
	defer s.books.mu.Unlock()
	if l := s.books.ledger.Streams[name]; l != nil {
		return l.Blocks
	}
	return nil
}

// enterFindings judges what was found and writes it down.
func (s *Spool) enterFindings(inspections []*inspection, clean bool, now time.Time) []findings {
	b := &s.books
	b.mu.Lock()
	defer b.mu.Unlock()
	cursors := map[string]uint64{}
	for key, n := range b.ledger.Cursors {
		_, name, _ := strings.Cut(key, ".")
		cursors[name] = max(cursors[name], n)
	}
	for _, in := range inspections {
		for _, block := range in.blocks {
			for name, n := range block.cursors {
				cursors[name] = max(cursors[name], n)
			}
		}
	}
	for i, st := range streams {
		if l := b.ledger.Streams[st.name]; s.exact {
			last, _ := s.tails[i].wait()
			l.Last = max(l.Last, last)
		}
	}
	// After a loss of power the end may be missing without a trace. Where this
	// process has had the log open before, it knows all that was acknowledged.
	boot := bootID()
	rebooted := !clean && b.ledger.Boot != "" && b.ledger.Boot != boot
	found := make([]findings, len(inspections))
	for i, in := range inspections {
		l := b.ledger.Streams[in.name]
		if l == nil || in.purging {
			continue
		}
		suspect := l.Last > 0 && (rebooted || !clean && !s.exact && in.torn())
		found[i] = judge(in, l, cursors[in.name], suspect, now, s.config.MaxAge)
		l.Gaps = append(l.Gaps, found[i].gaps...)
		slices.SortFunc(l.Gaps, func(a, b Gap) int { return cmp.Compare(a.From, b.From) })
		if next := found[i].next; next > 0 {
			l.Last = max(l.Last, next-1)
		}
	}
	// From here on it is open, whatever becomes of this process.
	b.ledger.Clean, b.ledger.Boot, b.dirty = false, boot, true
	s.exact = true
	s.writeBooks()
	return found
}

// mendStream writes a stream's damaged blocks anew, and has it go on where it
// should.
func (s *Spool) mendStream(in *inspection, f *findings) error {
	changed := len(f.gaps) > 0
	reader := &blockReader{stream: in.name}
	for _, b := range in.blocks {
		if b.damaged() {
			changed = true
			if err := s.mendBlock(in, reader, b); err != nil {
				return err
			}
		}
	}
	if f.next > 0 {
		if err := os.MkdirAll(in.dir, 0o750); err != nil {
			return err
		}
		number := 1
		if n := len(in.blocks); n > 0 {
			number = in.blocks[n-1].number + 1
		}
		path := filepath.Join(in.dir, strconv.Itoa(number)+blockSuffix)
		record, err := reader.tombstone(number, f.next-1, time.Now())
		if err == nil {
			err = replaceFile(path, record)
		}
		if err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	// The index is of the blocks as they were.
	return removeIfThere(filepath.Join(in.dir, "index.db"))
}

// mendBlock keeps a damaged block aside and writes it anew from what is whole.
func (s *Spool) mendBlock(in *inspection, reader *blockReader, b *block) error {
	data, _, err := reader.load(b.path)
	if err != nil {
		return err
	}
	for at, length := range b.mended {
		for i := range 4 {
			data[at+i] = byte(length >> (8 * i))
		}
	}
	parts := make([][]byte, len(b.kept))
	for i, span := range b.kept {
		parts[i] = data[span.from:span.to]
	}
	var records uint64
	for _, r := range b.runs {
		records += r.to - r.from + 1
	}
	aside, err := s.keepAside(in.name, b)
	if err != nil {
		s.logger.Warn("a damaged block is not kept aside", "stream", in.name, "file", filepath.Base(b.path), "error", err)
	}
	s.logger.Warn("a block of the spool is damaged; its whole records are kept", "stream", in.name,
		"file", filepath.Base(b.path), "bytes", b.size, "damaged_bytes", b.lost(), "records", records, "kept_aside", aside)
	if len(parts) == 0 {
		if err := os.Remove(b.path); err != nil {
			return err
		}
		return syncDir(in.dir)
	}
	if len(b.kept) == 1 && b.kept[0].from == 0 && len(b.mended) == 0 {
		// Only its end is damaged, as after a write to a full disk. Then there is no
		// room for another file, and none is needed.
		return truncateFile(b.path, int64(b.kept[0].to))
	}
	return replaceFile(b.path, parts...)
}

func truncateFile(path string, size int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0) //nolint:gosec // a file of the spool
	if err != nil {
		return err
	}
	return errors.Join(f.Truncate(size), f.Sync(), f.Close())
}

// damagedDir has damaged blocks as they were found, for people to look into.
const damagedDir = "damaged"

// Damaged blocks that are kept aside are bounded: the oldest go.
const (
	maxAside      = 64
	maxAsideBytes = int64(256 * bytesize.MiB)
)

// keepAside copies a damaged block to damagedDir, where there is the space for it.
func (s *Spool) keepAside(stream string, b *block) (path string, err error) {
	if free, err := s.free(s.config.Dir); err == nil && free < uint64(s.config.MinFree)+2*uint64(min(b.size, maxBlock)) {
		return "", fmt.Errorf("%s free in %s", bytesize.Size(min(free, math.MaxInt64)), s.config.Dir)
	}
	dir := filepath.Join(s.config.Dir, damagedDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := makeRoom(dir, min(b.size, maxBlock)); err != nil {
		return "", err
	}
	// The name begins with the time, so that names sort by age.
	name := fmt.Sprintf("%s-%s-%d%s", time.Now().UTC().Format("20060102T150405.000000000"), stream, b.number, blockSuffix)
	path = filepath.Join(dir, name)
	if err := copyFile(path, b.path, maxBlock); err != nil {
		return "", err
	}
	return path, nil
}

// copyFile copies as much of a file, to one that must not be there yet.
func copyFile(to, from string, limit int64) (err error) {
	source, err := os.Open(from) //nolint:gosec // a file of the spool
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // in the spool's directory
	if err != nil {
		return err
	}
	_, err = io.Copy(f, io.LimitReader(source, limit))
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(to))
	}
	return nil
}

// makeRoom removes the oldest files, as many as another one of a size needs.
func makeRoom(dir string, size int64) error {
	entries, err := os.ReadDir(dir) // sorted by name
	if err != nil {
		return err
	}
	total, sizes := int64(0), make([]int64, len(entries))
	for i, entry := range entries {
		if info, err := entry.Info(); err == nil {
			sizes[i] = info.Size()
			total += sizes[i]
		}
	}
	for i, entry := range entries {
		if len(entries)-i < maxAside && total+size <= maxAsideBytes {
			return nil
		}
		if err := os.Remove(filepath.Join(dir, entry.Name())); err != nil {
			return err
		}
		total -= sizes[i]
	}
	return nil
}
