// Package spool is the durable log between the sources and the sinks: an
// embedded NATS server with JetStream, reached in-process, with three file
// streams.
//
// Sources put events in with [Spool.Emit]. When it returns nil, the event is in
// the log: it survives a kill of the process, and, with sync: always, a loss of
// power; with an interval, a loss of power costs at most that interval. Sinks
// read each stream by sequence with a [Reader], and keep how far they have come
// as a cursor of their own name. A reader holds no state in the server, so a
// slow or dead sink costs nothing and nobody can disturb it.
//
// Each stream is bounded by age and bytes; the oldest events go first, whether or
// not a sink had them, and [Reader.Lost] counts what went unread. While free disk
// space is below a limit, Emit waits: the server does not recover from a full
// disk by itself. If a write fails all the same, the server is restarted in the
// process.
//
// With [Embedded.Listen] set, the same server is a broker: clients subscribe to
// the streams' subjects and create pull consumers, and can change nothing.
package spool
