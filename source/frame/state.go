package frame

import "fmt"

// State is what a decoder knows of its stream, for another one that goes on with
// it: how well framed the stream is, and the bytes of the frame that is not whole
// yet. Ask when Next has returned false.
func (d *Decoder) State() []byte { return append([]byte{byte(d.state)}, d.Rest()...) }

// Restore has d go on from what State returned, whatever it was at before. On an
// error it is as it was.
func (d *Decoder) Restore(from []byte) error {
	switch {
	case len(from) == 0 || len(from)-1 > Size:
		return fmt.Errorf("restore a decoder from %d bytes: expected 1 to %d", len(from), 1+Size)
	case state(from[0]) > lost:
		return fmt.Errorf("restore a decoder: %d is no state of framing", from[0])
	}
	d.state = state(from[0])
	d.start, d.end = 0, uint16(copy(d.buf[:], from[1:])) //nolint:gosec // checked above
	return nil
}
