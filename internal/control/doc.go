// Package control is what an operator does to a spool: look at it, check it, take
// events out of it, purge it, replay it to a sink, and retry dead letters; and to
// the connector that runs on it: reload its configuration and drain its sessions.
//
// Each [Operation] is written once, over a [Host]: an open spool with the sinks
// and the decoder that the configuration gives. It is called through a [Client]:
// [Local] calls it in this process, for a spool that nobody else has open; [Remote]
// has the process that holds the spool do it, over a Unix socket in the spool's
// directory, which a [Server] of that process serves. [Open] picks the one that is
// possible, never both.
//
// # On the socket
//
// A request is POST /v1/<operation> over HTTP/1.1, with a JSON body of at most 1
// MiB; unknown fields are errors. The answer is lines of JSON: {"item": …} for each
// thing found, then one {"end": true}, or {"error": "…", "wrong": true} where wrong
// says that the request itself was at fault. An answer without such a last line
// was cut off. Who may write to the socket, its owner and root, may do everything.
package control
