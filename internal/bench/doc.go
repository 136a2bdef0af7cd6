// Package bench measures the connector, for `connector bench` and for
// docs/performance.md.
//
// A run has processes of its own for everything that costs something: an LQ server
// that makes the load, the connector under test, the broker, and what the figures
// are compared with. So each process's memory, CPU time and collector are its own.
// The one that calls [Run] starts them, watches what a subscriber of the broker
// gets, and puts the figures together.
//
// # What is measured
//
// Every pop carries its number (in the keys that a caller pressed, a field that
// all formats have), and a number has an instant at which it is meant to be
// written: latencies are counted from that instant, not from the write. So a load
// generator that is held up, by a connector that does not read or by a busy
// machine, hides nothing; how late it was is a figure of its own. The processes
// share one clock, the machine's.
//
// The instants of a pop:
//
//	written       the kernel took it from the LQ server
//	read          the connector had it: the event's received_at
//	spooled       emit returned: from here on the connector owns it
//	acknowledged  the call to the sink that published it returned
//	delivered     a subscriber of the broker had it
//
// Spooled and acknowledged are seen by wrapping the daemon's emit and sinks from
// outside, and written to memory that both processes map; the daemon has no code
// for it on its way.
//
// # What is compared
//
// The same machine does other work in other minutes, so each run also measures, one
// after the other and with the same messages: a program that only reads the
// sessions' frames, and one that only publishes (nats.go's JetStream, with the
// sink's window; kafka-go's Writer, with the sink's batch).
//
// # What is checked
//
// Every pop must reach the subscriber, the pops of one call in the order in which
// they were received, and those over one session in the order of the wire. A run
// in which one is missing or out of order gives its figures and an error.
package bench
