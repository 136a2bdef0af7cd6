// Package faults is the suite that tries to break the connector's promises. It
// holds tests only, and needs Linux.
//
// What goes in: the real binary, built once and run as a child process; LQ servers
// (source/lqsim), real NATS servers, a fake Kafka; kill -9, full file systems,
// flipped bits, cut networks. What comes out: one row for each fault, in a table
// at the end: events in, out, reported as gone, lost, duplicated, reordered, and
// the seconds to recover. A test fails where anything is lost that was not
// reported, or out of order within its key.
//
//	go test ./internal/faults -run Fault -count=1 -v
//	go test ./internal/faults -run Fault -count=1 -v -timeout 2h -faults.long
//	go test ./internal/faults -run Fault -short
//
// -faults.long, or CONNECTOR_FAULTS=long in the environment, runs the long half:
// millions of events, outages of minutes, more kills. -faults.table FILE writes
// the table as Markdown. A fault that this machine cannot make (mounting a file
// system needs root, tracing needs strace) is skipped with a line that says what
// is missing; with CI=true it fails.
package faults
