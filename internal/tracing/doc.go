// Package tracing makes the spans of an event's way: receive, decode, spool, and
// one publish for each sink.
//
// The trace of an event begins where the event does, in package source. Its context
// is put into [schema.Event] as a W3C traceparent, is kept with the event in the
// spool and goes to the brokers as a header; nothing changes it on the way. Package
// sink finds it there, minutes or days and restarts later, and its publish span is
// the child of the span whose context that is, with a link to it, as OpenTelemetry's
// conventions for messaging have it.
//
// Whether a trace is sampled is decided before anything of it is made: what is not
// sampled costs an id and the header that says so, with which the services behind
// the brokers decide alike (W3C Trace Context, section 3.2.2.5.1). Without a
// [Tracer] nothing is made, and no header is written.
//
// No span holds a customer's number: nothing that a pop says becomes an attribute,
// but for the names of server and agent, the event's id and the key of its call.
package tracing
