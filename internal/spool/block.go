package spool

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/minio/highwayhash"

	"github.com/callpop/connector/internal/bytesize"
)

// The layout of the embedded server's block files, server/filestore.go of
// nats-server 2.15, all numbers little endian: records one after the other, each
//
//	length 4 | sequence 8 | time 8 | subject length 2 | subject | headers' length 4 | headers | body | checksum 8
//
// The length is that of the whole record. Its highest bit says that there are
// headers; without them their length is left out. The sequence's two highest bits
// mark what is no event: a record that was erased in its place, and a tombstone,
// which says that the event of its sequence is gone. The checksum is over
// sequence, time, subject, headers and body, and leaves out the three lengths.
const (
	recordHeader   = 4 + 8 + 8 + 2
	recordChecksum = 8
	recordLeast    = recordHeader + recordChecksum
	headersBit     = 1 << 31
	erasedBit      = 1 << 63
	tombstoneBit   = 1 << 62
)

const (
	// maxRecord is more than a record of maxPayload takes.
	maxRecord = 2 * maxPayload
	// maxBlock is more than the server lets a block grow to; what a file has beyond
	// it is damage, and is never in memory.
	maxBlock = int64(32 * bytesize.MiB)
)

// block is what a block file holds.
type block struct {
	number int
	path   string
	size   int64
	// kept are the whole records.
	kept []span
	// runs are the sequences of its events, rising.
	runs []run
	// removed is the highest sequence that a tombstone names.
	removed uint64
	// seen is the highest sequence of an event that surely was in it, whole or not.
	seen uint64
	// mended are lengths of headers that were wrong, by their offset, in records
	// that are whole but for them.
	mended map[int]uint32
	// torn is true where damage reaches the end of the file.
	torn bool
	// trusted is true where only the first record was looked at.
	trusted bool
	// cursors are the highest sequences that its records give to cursors, by stream;
	// in the block of a stream of events there are none.
	cursors map[string]uint64
}

// span is a part of a file.
type span struct{ from, to int }

// run is an unbroken run of sequences, with the times at which the first and the
// last were stored.
type run struct {
	from, to       uint64
	began, endedAt int64
}

// end is the highest sequence that its whole records name.
func (b *block) end() uint64 {
	if n := len(b.runs); n > 0 {
		return max(b.removed, b.runs[n-1].to)
	}
	return b.removed
}

// damaged is true where something in the file is not a whole record.
func (b *block) damaged() bool { return len(b.mended) > 0 || b.lost() > 0 }

// lost is how many bytes of the file are no whole record.
func (b *block) lost() int64 {
	n := b.size
	for _, s := range b.kept {
		n -= int64(s.to - s.from)
	}
	return n
}

// blockReader reads the blocks of one stream.
type blockReader struct {
	stream string
	hash   *highwayhash.Digest64 // of the block that is read
	buf    []byte
}

// open prepares for a block: each has a key of its own for its checksums.
func (r *blockReader) open(number int) error {
	key := sha256.Sum256(fmt.Appendf(nil, "%s-%d", r.stream, number))
	var err error
	if r.hash, err = highwayhash.NewDigest64(key[:]); err != nil {
		return fmt.Errorf("check block %d of %s: %w", number, r.stream, err)
	}
	return nil
}

// load reads a file as far as maxBlock. The bytes are good until the next load.
func (r *blockReader) load(path string) (data []byte, size int64, err error) {
	f, err := os.Open(path) //nolint:gosec // a file of the spool
	if err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s: expected a file", path)
	}
	n := int(min(info.Size(), maxBlock))
	if cap(r.buf) < n {
		r.buf = make([]byte, n)
	}
	read, err := io.ReadFull(f, r.buf[:n])
	return r.buf[:read], info.Size(), err
}

// scan checks every record of a block.
func (r *blockReader) scan(number int, path string) (*block, error) {
	if err := r.open(number); err != nil {
		return nil, err
	}
	data, size, err := r.load(path)
	if err != nil {
		return nil, err
	}
	b := &block{number: number, path: path, size: size}
	for at := 0; at < len(data); {
		rec, ok := r.record(data, at)
		if ok && rec.isEvent() && rec.sequence <= b.seen {
			ok = false // a second time, or out of order: the server would pass over it too
		}
		if !ok {
			at = r.resume(b, data, at)
			continue
		}
		b.keep(at, at+rec.size)
		b.note(&rec, at)
		at += rec.size
	}
	b.torn = b.torn || size > int64(len(data))
	return b, nil
}

// resume goes from a damaged record on to the next whole one.
func (r *blockReader) resume(b *block, data []byte, at int) int {
	// A record that is whole in length and comes next was one, for sure.
	if h, ok := recordAt(data, at); ok && h.isEvent() && h.sequence == b.seen+1 && len(b.runs) > 0 {
		b.seen = h.sequence
	}
	for at++; at < len(data); at++ {
		h, ok := recordAt(data, at)
		if !ok || h.sequence <= b.seen && h.isEvent() {
			continue
		}
		if _, ok := r.record(data, at); ok {
			return at
		}
	}
	b.torn = true
	return at
}

func (b *block) keep(from, to int) {
	if n := len(b.kept); n > 0 && b.kept[n-1].to == from {
		b.kept[n-1].to = to
		return
	}
	b.kept = append(b.kept, span{from, to})
}

// note takes down what a whole record says.
func (b *block) note(rec *blockRecord, at int) {
	if rec.headersLength >= 0 {
		if b.mended == nil {
			b.mended = map[int]uint32{}
		}
		b.mended[at+recordHeader+len(rec.subject)] = uint32(rec.headersLength) //nolint:gosec // less than maxRecord
	}
	if rec.tombstone {
		b.removed = max(b.removed, rec.sequence)
		return
	}
	if rec.sequence == 0 {
		return // erased, and its sequence with it
	}
	b.seen = rec.sequence
	if n := len(b.runs); n > 0 && b.runs[n-1].to+1 == rec.sequence {
		b.runs[n-1].to, b.runs[n-1].endedAt = rec.sequence, rec.stored
	} else {
		b.runs = append(b.runs, run{rec.sequence, rec.sequence, rec.stored, rec.stored})
	}
	if stream, sequence, ok := cursorRecord(rec); ok {
		if b.cursors == nil {
			b.cursors = map[string]uint64{}
		}
		b.cursors[stream] = max(b.cursors[stream], sequence)
	}
}

// trust reads the first record alone, and all where that is no event.
func (r *blockReader) trust(number int, path string, size int64) (*block, error) {
	if err := r.open(number); err != nil {
		return nil, err
	}
	f, err := os.Open(path) //nolint:gosec // a file of the spool
	if err != nil {
		return nil, err
	}
	data := make([]byte, min(size, int64(maxRecord)))
	_, err = io.ReadFull(f, data)
	if err = errors.Join(err, f.Close()); err != nil {
		return nil, err
	}
	rec, ok := r.record(data, 0)
	if !ok || !rec.isEvent() || rec.headersLength >= 0 {
		return r.scan(number, path)
	}
	b := &block{number: number, path: path, size: size, kept: []span{{0, int(size)}}, trusted: true}
	b.note(&rec, 0)
	return b, nil
}
