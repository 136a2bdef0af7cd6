package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// UpgradeRequest says who is to take over.
type UpgradeRequest struct {
	// Binary is the successor's program; empty: the one that was started.
	Binary string `json:"binary,omitempty"`
	// Config is its configuration file; empty: the one that is in force.
	Config string `json:"config,omitempty"`
}

// Upgraded is what became of it.
type Upgraded struct {
	// Process is the successor's id, Version the successor's.
	Process int    `json:"process"`
	Version string `json:"version"`
	// Sessions and Desktops count the connections that it has taken over.
	Sessions int `json:"sessions"`
	Desktops int `json:"desktops"`
	// Paused is for how long nothing was read from them.
	Paused time.Duration `json:"paused_ns"`
}

// Upgrade has the running connector start its successor and pass everything to it.
var Upgrade = Operation[UpgradeRequest, Upgraded]{name: "upgrade", live: true, run: func(ctx context.Context, h *Host, r UpgradeRequest, yield func(Upgraded) error) error {
	if h.Daemon == nil {
		return errNoDaemon
	}
	done, err := h.Daemon.Upgrade(ctx, r)
	if err != nil {
		return err
	}
	return yield(done)
}}

// takeoverName is the request that makes a connection to the control socket a line
// between a connector and its successor, as HTTP's Upgrade does (RFC 9110, 7.8).
const (
	takeoverName     = "takeover"
	takeoverProtocol = "callpop-handover"
)

// takeover makes the request's connection the daemon's.
func (s *Server) takeover(w http.ResponseWriter, r *http.Request) {
	if s.host.Daemon == nil || r.Header.Get("Upgrade") != takeoverProtocol {
		http.Error(w, "there is nothing to take over here", http.StatusBadRequest)
		return
	}
	made, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	conn, ok := made.(*net.UnixConn)
	if !ok || buffered.Reader.Buffered() > 0 {
		_ = made.Close() // it said more than it may yet
		return
	}
	_ = conn.SetDeadline(time.Time{})
	if _, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+takeoverProtocol+"\r\n\r\n"); err != nil {
		_ = conn.Close()
		return
	}
	s.host.Daemon.HandOver(s.life, conn)
}

// takeoverTimeout bounds the wait for the answer to [TakeOver], maxAnswer its size.
const (
	takeoverTimeout = 10 * time.Second
	maxAnswer       = 4 << 10
)

// TakeOver gives a connection to the connector that holds the spool in dir, over
// which it will pass on what it has.
func TakeOver(ctx context.Context, dir string) (*net.UnixConn, error) {
	made, err := dial(ctx, socketPath(dir))
	if err != nil {
		return nil, fmt.Errorf("take over from the connector that holds the spool in %s: %w: %w", dir, ErrUnreachable, plain(err))
	}
	conn, ok := made.(*net.UnixConn)
	if !ok {
		_ = made.Close()
		return nil, fmt.Errorf("take over: the control socket is a %T", made)
	}
	if err := switchProtocol(conn); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("take over from the connector that holds the spool in %s: %w", dir, err)
	}
	return conn, nil
}

// switchProtocol makes the request and reads the answer, and not a byte more: the
// next ones may have descriptors with them.
func switchProtocol(conn *net.UnixConn) error {
	if err := conn.SetDeadline(time.Now().Add(takeoverTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, "POST /v1/"+takeoverName+" HTTP/1.1\r\nHost: connector\r\nConnection: Upgrade\r\nUpgrade: "+
		takeoverProtocol+"\r\nContent-Length: 0\r\n\r\n"); err != nil {
		return err
	}
	var answer strings.Builder
	var one [1]byte
	for !strings.HasSuffix(answer.String(), "\r\n\r\n") {
		if answer.Len() > maxAnswer {
			return errors.New("its answer is too long")
		}
		if _, err := io.ReadFull(conn, one[:]); err != nil {
			return fmt.Errorf("read its answer: %w", err)
		}
		answer.WriteByte(one[0])
	}
	status, _, _ := strings.Cut(answer.String(), "\r\n")
	if !strings.HasPrefix(status, "HTTP/1.1 101 ") {
		return fmt.Errorf("it answers %q: is it of a version that cannot be taken over from?", status)
	}
	return conn.SetDeadline(time.Time{})
}
