package spool

import (
	"bytes"
	"encoding/binary"
	"strconv"
	"strings"
	"time"
)

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
