// Package relay is the source that stands between the agents' desktops, with the
// vendor's own clients on them (manual, chapters 5 to 7), and the LQ server. A
// desktop connects here instead of to the server; for each one the relay dials
// the server, passes every byte both ways at once and unchanged, and taps the
// pops on the way. No desktop is touched but for the address it connects to.
//
// # What a desktop may rely on
//
// The desktop comes first. The bytes go on before the tap looks at them; the tap
// has a goroutine of its own behind a bounded queue that never waits. A log that
// is stuck, a pop that cannot be decoded, even a bug in decoding, costs events,
// counted and reported as a gap, and never a byte or a moment of the desktop's
// stream. Heartbeats are answered by the desktop, never by the relay. A half-close
// is passed on as a half-close, a reset as a reset. Nothing of the relay's own ends a
// connection that is open both ways, but TCP keepalive where a quiet line has not
// answered for six minutes. What differs from a direct connection:
//
//   - A desktop's connect succeeds before the server's answer is known. If the
//     server then refuses, or does not answer within dial_timeout, the desktop's
//     connection is reset.
//   - The server sees the relay's address, not the desktop's.
//   - When the connector stops, all connections are closed, and the desktops
//     connect again by themselves, to the connector once it is back. A restart of
//     the connector is felt by each desktop as a restart of the server.
//
// # Whose pops they are
//
// A pop that names its agent (op) is that agent's. Else it is the agent's whom the
// configured pattern finds in what the desktop sent first, which nobody documents;
// else the client's address stands for the agent. Session events are for the
// pattern's agent or the address: connected at the first byte from the server, and
// why it ended. A connection that ends before the desktop said anything is counted
// and logged only: whose it was nobody knows. Of several connections of one agent
// the first that comes up and the last that ends are reported.
package relay
