// Package capture records what a vendor's own client and an LQ server say to each
// other, and explains it: above all the registration message, whose bytes no
// manual gives (manual, chapter 7).
//
// [Record] stands between the two, passes every byte and writes a transcript.
// [Read] reads one back; [Explain] shows it frame by frame and finds the template
// of the registration, [Events] gives its pops as events, and a [Replay] is the
// server of it to whoever connects.
//
// # Transcripts
//
// A transcript is text of one JSON object a line (JSON Lines). The first line
// names the format and its version:
//
//	{"callpop_capture":1,"started":"2026-11-23T08:00:00Z","upstream":"10.0.0.6:7628","numbers":"plain"}
//
// Each line after it is a record: the connection's number, counted from 1, when,
// what, and of bytes the bytes as hex digits:
//
//	{"connection":1,"at":"2026-11-23T08:00:01.5Z","event":"open","from":"10.0.0.7:51234"}
//	{"connection":1,"at":"2026-11-23T08:00:01.6Z","event":"client","bytes":"6f703d3830313b"}
//	{"connection":1,"at":"2026-11-23T08:00:01.7Z","event":"server","bytes":"5452595f524551"}
//
// The events of a connection are
//
//	open        a client connected (from) and the server took it
//	refused     a client connected (from), but the server could not be reached (cause)
//	client      bytes that the client sent, in the pieces in which they came
//	server      bytes that the server sent
//	client_end  the client will send no more (cause: how it ended)
//	server_end  the server will send no more
//	lost        count bytes of that side (of) are missing here: the transcript could
//	            not be written as fast as they came. They were passed on
//	full        the transcript has reached its limit and ends here; connection 0
//
// Records stand in the order in which things happened. A record is written at once
// and whole, so that a recorder which is killed leaves at most its last line cut
// off, and [Read] takes such a transcript.
//
// # Masked numbers
//
// With "numbers":"masked" the customers' numbers in pops, and every run of seven or
// more digits in what IVR and customer added, have stars in the place of all but
// up to three first and four last digits. Nothing changes its length, so the
// framing is as it was. What the server sends is then recorded frame by frame, each
// when it is whole, and not in the pieces in which it came.
//
// # Limits
//
// A line has at most 128 KiB, a transcript 256 MiB, a million records and 10,000
// connections. Transcripts come from other sites: nothing in them is trusted, and
// what is printed of them is escaped.
package capture
