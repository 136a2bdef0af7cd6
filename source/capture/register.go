package capture

import (
	"bytes"
	"errors"
	"net"
	"time"
)

// register reads what a client sends first, until it is one of the registrations
// that are known, or cannot become one.
func (r *Replay) register(conn net.Conn) (received []byte, err error) {
	deadline := time.Now().Add(registerTimeout)
	buffer := make([]byte, 4096)
	for {
		whole, more := r.known(received)
		if whole && !more || !whole && !more && len(received) > 0 || len(received) > maxRegistration {
			return received, nil
		}
		until := deadline
		if whole {
			until = time.Now().Add(settle)
		} else if len(received) > 0 {
			until = time.Now().Add(betweenPieces)
		}
		_ = conn.SetReadDeadline(until)
		n, err := conn.Read(buffer)
		received = append(received, buffer[:n]...)
		var timeout net.Error
		switch {
		case err == nil || n > 0:
		case errors.As(err, &timeout) && timeout.Timeout():
			return received, nil
		case whole && len(received) > 0: // a half close behind the registration
			return received, nil
		default:
			return nil, err
		}
	}
}

// known says whether received is a whole registration, and whether a longer one
// begins with it.
func (r *Replay) known(received []byte) (whole, more bool) {
	for _, recorded := range r.recordings {
		whole = whole || bytes.Equal(received, recorded.registration)
		more = more || len(received) < len(recorded.registration) && bytes.HasPrefix(recorded.registration, received)
	}
	for i := range r.templates {
		_, _, n, ok, longer := r.templates[i].registration.Match(received)
		whole = whole || ok && n == len(received) && n > 0
		more = more || longer
	}
	return whole, more
}
