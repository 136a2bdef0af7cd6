package handover

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// MaxFiles is how many descriptors go with a message: the kernel takes 253 of them,
// and bounds those that are under way by the limit of open files.
const MaxFiles = 128

const (
	headerBytes = 8
	maxKind     = 64
	// maxBody bounds a message: the states of a hundred thousand agents fit.
	maxBody = 64 << 20
	// writeTimeout is how long the peer may take nothing.
	writeTimeout = 10 * time.Second
)

// Line is one end of a connection to a predecessor or a successor. One goroutine
// may receive, any number may send.
type Line struct {
	conn *net.UnixConn

	sending sync.Mutex // one message at a time
	broken  error      // guarded by sending: a message went out in part

	in     rights
	header [headerBytes]byte
}

// NewLine makes a Line of a connected Unix socket, of which nothing was read that
// belongs to the line. The Line closes it.
func NewLine(conn *net.UnixConn) *Line {
	return &Line{conn: conn, in: rights{conn: conn}}
}

// Send sends a message, with the descriptors of at most [MaxFiles] sockets; it
// returns when the kernel has it. body is encoded as JSON.
func (l *Line) Send(kind string, body any, sockets ...syscall.Conn) error {
	text, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("send %s: %w", kind, err)
	}
	if len(kind) == 0 || len(kind) > maxKind || len(text) > maxBody || len(sockets) > MaxFiles {
		return fmt.Errorf("send %s: %d bytes and %d sockets do not fit in a message", kind, len(text), len(sockets))
	}
	message := make([]byte, headerBytes, headerBytes+len(kind)+len(text))
	binary.BigEndian.PutUint32(message[0:], uint32(len(text)))    //nolint:gosec // checked above
	binary.BigEndian.PutUint16(message[4:], uint16(len(sockets))) //nolint:gosec // checked above
	binary.BigEndian.PutUint16(message[6:], uint16(len(kind)))    //nolint:gosec // checked above
	message = append(append(message, kind...), text...)

	l.sending.Lock()
	defer l.sending.Unlock()
	if l.broken == nil {
		l.broken = l.send(message, sockets)
	}
	if l.broken != nil {
		return fmt.Errorf("send %s: %w", kind, l.broken)
	}
	return nil
}

// send writes a message. Of an error the line does not recover.
func (l *Line) send(message []byte, sockets []syscall.Conn) error {
	if err := l.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if len(sockets) == 0 {
		_, err := l.conn.Write(message)
		return err
	}
	copies, oob, err := duplicate(sockets)
	defer closeAll(copies)
	if err != nil {
		return err
	}
	// The first byte goes alone with the descriptors, so that none are lost where
	// the rest does not fit at once.
	if _, _, err := l.conn.WriteMsgUnix(message[:1], oob, nil); err != nil {
		return err
	}
	_, err = l.conn.Write(message[1:])
	return err
}

// Receive waits for a message. io.EOF means that the peer is gone or has closed the
// line between two messages. What the message carries and nobody takes has to be
// discarded.
func (l *Line) Receive() (*Message, error) {
	if _, err := io.ReadFull(&l.in, l.header[:]); err != nil {
		if err == io.EOF {
			return nil, io.EOF
		}
		return nil, fmt.Errorf("receive: %w", err)
	}
	body, files, kind := binary.BigEndian.Uint32(l.header[0:]), int(binary.BigEndian.Uint16(l.header[4:])), int(binary.BigEndian.Uint16(l.header[6:]))
	if body > maxBody || files > MaxFiles || kind == 0 || kind > maxKind {
		return nil, fmt.Errorf("receive: a message of %d bytes, %d sockets and a kind of %d bytes: it is no connector that speaks", body, files, kind)
	}
	text := make([]byte, kind+int(body))
	if _, err := io.ReadFull(&l.in, text); err != nil {
		return nil, fmt.Errorf("receive: %w", err)
	}
	m := &Message{Kind: string(text[:kind]), body: text[kind:]}
	var err error
	if m.files, err = l.in.take(files); err != nil {
		return nil, fmt.Errorf("receive %s: %w", m.Kind, err)
	}
	return m, nil
}

// Deafen takes nothing more from the peer: what it has sent already can still be
// received, then comes io.EOF, and whatever it sends from now on fails there. So
// both know whether a message was sent in time.
func (l *Line) Deafen() error {
	err := l.conn.CloseRead()
	if errors.Is(err, syscall.ENOTCONN) { // it is closed there
		return nil
	}
	return err
}

// Close ends the line. It is safe to call it twice.
func (l *Line) Close() error {
	err := l.conn.Close()
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Message is one message.
type Message struct {
	Kind  string
	body  []byte
	files []int // -1 where taken
}

// Decode reads the body, into what was sent or what has its fields.
func (m *Message) Decode(into any) error {
	if err := json.Unmarshal(m.body, into); err != nil {
		return fmt.Errorf("read %s: %w", m.Kind, err)
	}
	return nil
}

// Sockets is how many the message came with.
func (m *Message) Sockets() int { return len(m.files) }

// Conn gives the i-th socket, once, as a TCP connection.
func (m *Message) Conn(i int) (*net.TCPConn, error) {
	file, err := m.file(i)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // what follows makes a copy
	made, err := net.FileConn(file)
	if err != nil {
		return nil, fmt.Errorf("%s: socket %d: %w", m.Kind, i, err)
	}
	conn, ok := made.(*net.TCPConn)
	if !ok {
		_ = made.Close()
		return nil, fmt.Errorf("%s: socket %d is a %T, expected a TCP connection", m.Kind, i, made)
	}
	return conn, nil
}

// Listener gives the i-th socket, once, as a listener.
func (m *Message) Listener(i int) (*net.TCPListener, error) {
	file, err := m.file(i)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // what follows makes a copy
	made, err := net.FileListener(file)
	if err != nil {
		return nil, fmt.Errorf("%s: socket %d: %w", m.Kind, i, err)
	}
	listener, ok := made.(*net.TCPListener)
	if !ok {
		_ = made.Close()
		return nil, fmt.Errorf("%s: socket %d is a %T, expected a TCP listener", m.Kind, i, made)
	}
	return listener, nil
}

func (m *Message) file(i int) (*os.File, error) {
	if i < 0 || i >= len(m.files) || m.files[i] < 0 {
		return nil, fmt.Errorf("%s: socket %d of %d is not there", m.Kind, i, len(m.files))
	}
	fd := m.files[i]
	m.files[i] = -1
	return os.NewFile(uintptr(fd), m.Kind), nil
}

// Discard closes the sockets that nobody took.
func (m *Message) Discard() {
	for i, fd := range m.files {
		if fd >= 0 {
			m.files[i] = -1
			closeAll([]int{fd})
		}
	}
}
