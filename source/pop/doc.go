// Package pop reads what an LQ server says about a call: the pop strings of the
// vendor's manual, chapter 8, and the callback queries of chapter 3. In go bytes,
// out comes a [Pop]; nothing is kept, looked up or waited for.
//
// # Pop strings
//
// A t1v1 pop is positional, "line,number,spare,start,keys" with the start in
// epoch milliseconds. All later ones are "H=t1v5,ch=2,…;": key=value parts between
// commas and a closing semicolon. H is not trusted alone (the manual's own t1v5
// example says t1v4): which keys there are decides too. Order does not matter, the
// closing semicolon may be missing, spaces (only U+0020) round names and values
// are trimmed, an empty value is an absent one, and unknown keys are kept. Names
// are matched to the letter. In sn, id, so, da and dm, "0" and "NA" mean absent
// as well; in no other key do they.
//
// A string is taken for t1v1 only if it has its shape, so that garbage which
// begins with a digit is not: the line is at most 6 digits or empty, the number
// has no "=", and either the number could be dialled (3 to 32 of 0-9 * # +, and 5
// at least where the start is missing with its comma) or the start is a time
// after March 1973 (12 digits or more).
//
// What gives neither a number nor a call (sn, id, or a start to derive an id
// from) is an [*Error]; everything else is a Pop, whatever is odd about it.
//
// # Times
//
// The server's tm and datetime are local time without a zone, to the second, of
// the years 2000 to 2099; Decoder.Location says which zone. An id made the way the
// server makes it, epoch milliseconds followed by the line's channel, adds the
// milliseconds where it agrees with both tm and ch.
//
// # Character sets
//
// The manual names none. See [Charset] for how one is found. Decoding comes
// before the parsing of values, as the bar that parts the fields of da is a legal
// second byte of a GBK character. NUL and control characters are data.
package pop
