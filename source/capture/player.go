package capture

import (
	"context"
	"net"
	"time"

	"github.com/callpop/connector/source/frame"
)

// recording is one connection's server side.
type recording struct {
	number       int64
	registration []byte
	agent        string
	begun        time.Time
	entries      []Entry
	// serverEnds says that the server ended the connection, reset that it broke it.
	serverEnds, reset bool
	started, finished bool
}

func newRecording(d *dialogue, agent string) *recording {
	c := d.connection
	r := &recording{number: c.Number, registration: d.registration, agent: agent, begun: c.Opened}
	clientEnded := false
	begun := false
	for _, e := range c.Entries {
		switch e.Kind {
		case Client:
			if !begun {
				begun, r.begun = true, e.At
			}
		case Server:
			r.entries = append(r.entries, e)
		case ClientEnd:
			clientEnded = true
		case ServerEnd:
			r.serverEnds = !clientEnded && e.Cause != causeStopped
			r.reset = r.serverEnds && e.Cause != causeClosed
		}
	}
	return r
}

// player plays to one client.
type player struct {
	replay *Replay
	conn   net.Conn
	// gone is closed when the client will send no more.
	gone    chan struct{}
	decoder frame.Decoder
	// edge says that what was sent ends with a whole frame.
	edge bool
}

// play sends what the server sent; false means that it could not be sent.
func (p *player) play(ctx context.Context, recorded *recording) bool {
	begun := time.Now()
	for _, e := range recorded.entries {
		if speed := p.replay.options.Speed; speed > 0 {
			due := begun.Add(time.Duration(float64(e.At.Sub(recorded.begun)) / speed))
			if !p.wait(ctx, time.Until(due)) {
				return false
			}
		}
		if !p.send(e.Data) {
			return false
		}
		p.follow(e.Data)
	}
	return true
}

// wait waits; false means that there is no use in going on.
func (p *player) wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.gone:
	case <-ctx.Done():
	}
	return false
}

func (p *player) send(data []byte) bool {
	_ = p.conn.SetWriteDeadline(time.Now().Add(replayWrite))
	_, err := p.conn.Write(data)
	return err == nil
}

// follow finds out where the frames end.
func (p *player) follow(data []byte) {
	for len(data) > 0 {
		n := copy(p.decoder.Buffer(), data)
		p.decoder.Wrote(n)
		data = data[n:]
		for _, ok := p.decoder.Next(); ok; _, ok = p.decoder.Next() {
		}
	}
	p.edge = p.decoder.Pending() == 0
}

// end closes the connection as the server did.
func (p *player) end(ctx context.Context, broken bool) {
	if broken {
		reset(p.conn)
		return
	}
	if half, ok := p.conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		p.wait(ctx, lingerAfterClose) // so that what was sent last is not lost to a reset
	}
}

// keepAlive sends heartbeats until the client leaves.
func (p *player) keepAlive(ctx context.Context) {
	for p.wait(ctx, p.replay.heartbeat) {
		if p.edge && !p.send([]byte(frame.Request)) {
			return
		}
	}
}
