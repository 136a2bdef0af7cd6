package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

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

// blockRecord is a record of a block.
type blockRecord struct {
	size      int
	sequence  uint64
	stored    int64
	tombstone bool
	erased    bool
	subject   []byte
	body      []byte
	// headersLength is what the headers' length should be; -1 where it is that.
	headersLength int
}

func (r *blockRecord) isEvent() bool { return !r.tombstone && !r.erased }

// recordAt reads the first fields of the record at an offset; ok is false where
// there can be none.
func recordAt(data []byte, at int) (rec blockRecord, ok bool) {
	if len(data)-at < recordLeast {
		return rec, false
	}
	h := data[at : at+recordHeader]
	length := binary.LittleEndian.Uint32(h)
	rec.size = int(length &^ headersBit)
	least := recordLeast + int(binary.LittleEndian.Uint16(h[20:]))
	if length&headersBit != 0 {
		least += 4
	}
	if rec.size < least || rec.size > maxRecord || rec.size > len(data)-at {
		return rec, false
	}
	sequence := binary.LittleEndian.Uint64(h[4:])
	rec.tombstone, rec.erased = sequence&tombstoneBit != 0, sequence&erasedBit != 0
	rec.sequence = sequence &^ (tombstoneBit | erasedBit)
	rec.stored = int64(binary.LittleEndian.Uint64(h[12:])) //nolint:gosec // as the server has it
	rec.headersLength = -1
	return rec, rec.sequence <= maxSequence && (rec.sequence > 0 || rec.erased)
}

// maxSequence is beyond what a spool ever gets to.
const maxSequence = 1 << 56

// headersEnd is the end of a record's headers, and of nothing in them.
var headersEnd = []byte("\r\n\r\n")

// record reads the record at an offset, and its checksum.
func (r *blockReader) record(data []byte, at int) (rec blockRecord, ok bool) {
	if rec, ok = recordAt(data, at); !ok {
		return rec, false
	}
	h, rest := data[at:at+recordHeader], data[at+recordHeader:at+rec.size-recordChecksum]
	n := int(binary.LittleEndian.Uint16(h[20:]))
	rec.subject, rest = rest[:n], rest[n:]
	length := -1
	if binary.LittleEndian.Uint32(h)&headersBit != 0 {
		length, rest = int(binary.LittleEndian.Uint32(rest)), rest[4:]
	}
	r.hash.Reset()
	// A hash takes all it is given.
	_, _ = r.hash.Write(h[4:20])
	_, _ = r.hash.Write(rec.subject)
	_, _ = r.hash.Write(rest)
	var sum [recordChecksum]byte
	if !bytes.Equal(r.hash.Sum(sum[:0]), data[at+rec.size-recordChecksum:at+rec.size]) {
		return rec, false
	}
	rec.body = rest
	if length >= 0 {
		// No checksum guards this length, but the headers say themselves where they
		// end.
		end := bytes.Index(rest, headersEnd)
		if end < 0 {
			return rec, false
		}
		if end += len(headersEnd); end != length {
			rec.headersLength = end
		}
		rec.body = rest[end:]
	}
	return rec, true
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

// cursorRecord reads a record of the cursors' bucket.
func cursorRecord(rec *blockRecord) (stream string, sequence uint64, ok bool) {
	key, ok := bytes.CutPrefix(rec.subject, []byte("$KV."+cursorBucket+"."))
	if !ok {
		return "", 0, false
	}
	_, stream, ok = strings.Cut(string(key), ".")
	sequence, err := strconv.ParseUint(string(rec.body), 10, 64)
	return stream, sequence, ok && err == nil && sequence <= maxSequence
}

// tombstone makes the record of a block that says that the event of a sequence is gone: with
// nothing after it, the server goes on with the next.
func (r *blockReader) tombstone(number int, sequence uint64, at time.Time) ([]byte, error) {
	if err := r.open(number); err != nil {
		return nil, err
	}
	rec := make([]byte, recordHeader, recordLeast)
	binary.LittleEndian.PutUint32(rec, recordLeast)
	binary.LittleEndian.PutUint64(rec[4:], sequence|tombstoneBit)
	binary.LittleEndian.PutUint64(rec[12:], uint64(at.UnixNano())) //nolint:gosec // as the server has it
	r.hash.Reset()
	_, _ = r.hash.Write(rec[4:20])
	return r.hash.Sum(rec), nil
}
