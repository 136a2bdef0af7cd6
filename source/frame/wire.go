package frame

import (
	"errors"
	"fmt"
	"strings"
)

const (
	// Request is the server's heartbeat (握手信息).
	Request = "TRY_REQ"
	// Reply is the client's answer to it.
	Reply = "TRY_REP"
	// MaxPop is the length in bytes of the longest pop: N is one unsigned byte.
	MaxPop = 255
)

// request is Request for the functions of package bytes; it is never written to.
var request = []byte(Request)

// errLooksLikeHeartbeat: the two cannot be told apart on the wire.
var errLooksLikeHeartbeat = errors.New("frame a pop: 84 bytes that start with RY_REQ would be read as a heartbeat")

// AppendPop appends a pop as the server sends it, one byte N and the N bytes of
// pop, and returns the extended slice. It fails, returning dst as it was, for a
// pop of more than [MaxPop] bytes and for the one that reads as a heartbeat.
func AppendPop(dst, pop []byte) ([]byte, error) {
	if len(pop) > MaxPop {
		return dst, fmt.Errorf("frame a pop: %d bytes, the wire carries at most %d", len(pop), MaxPop)
	}
	if len(pop) == int(Request[0]) && strings.HasPrefix(string(pop[:len(Request)]), Request[1:]) {
		return dst, errLooksLikeHeartbeat
	}
	dst = append(dst, byte(len(pop)))
	return append(dst, pop...), nil
}
