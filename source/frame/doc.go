// Package frame cuts the byte stream of an LQ server's socket into frames and
// writes what the two sides send (the vendor's manual, chapter 7).
//
// The server sends two things, one after the other and without anything between
// them:
//
//   - a heartbeat, the 7 bytes TRY_REQ with no length in front, which the client
//     answers with the 7 bytes TRY_REP;
//   - a pop, one byte N and then a string of N bytes (chapter 8).
//
// N = 84 is the letter T, so both may begin with the same byte. What follows
// decides: RY_REQ makes it a heartbeat, anything else a pop of 84 bytes.
//
// # Lost framing
//
// Nothing in the stream marks where a frame begins. A pop starts with "H=" or an
// ASCII digit; call a frame that does not a stray. One stray may be a server's
// quirk, so it is handed out as a pop like any other (it will not decode).
// Framing is lost
//
//   - at the second stray running, as soon as the start of its payload is known:
//     heartbeats and well-formed pops between two strays break the run, empty
//     pops do not;
//   - at any stray, already the first one, in which a whole TRY_REQ begins.
//     Without this rule a lost stream on a quiet line would swallow minutes of
//     heartbeats, unanswered, as the payload of one frame.
//
// From the length byte of that frame on, everything before the next TRY_REQ is
// [Skipped], handed out in pieces of 256 bytes and a last shorter one; framing
// goes on with that heartbeat. A frame that starts like a pop is never cut,
// whatever it contains.
//
// The frames depend on the stream alone, never on how the network split it, and
// no byte is dropped: the frames' wire bytes, one after the other, are the stream.
package frame
