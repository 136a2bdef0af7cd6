package pop

import "slices"

// Text decodes bytes that are no pop to UTF-8, the way [Decoder.Decode] does; lossy
// says that some of them could not be decoded.
func Text(raw []byte, c Charset) (text string, lossy bool) {
	decoded, lossy := appendDecoded(slices.Grow([]byte(nil), maxGrowth*len(raw)), raw, c.resolve(raw, len(raw) >= MaxLength))
	return string(decoded), lossy
}
