package spool

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
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
