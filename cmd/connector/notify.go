package main

import (
	"net"
	"strings"
)

// tellSupervisor tells systemd, where it started this process, what it has to know
// (sd_notify(3)): READY=1, STOPPING=1, MAINPID=. Elsewhere nobody listens.
func tellSupervisor(environ []string, state string) {
	var socket string
	for _, v := range environ {
		if value, ok := strings.CutPrefix(v, "NOTIFY_SOCKET="); ok {
			socket = value
		}
	}
	if socket == "" {
		return
	}
	if strings.HasPrefix(socket, "@") {
		socket = "\x00" + socket[1:]
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	_, _ = conn.Write([]byte(state)) // what systemd does not hear it asks for by its time-outs
}
