// Package handover is the line over which a connector passes what it holds to its
// successor: messages in both directions, with sockets among them.
//
// A message is a header of 8 bytes (the length of what follows, the number of
// descriptors, the length of its kind), its kind, and a body of JSON. Descriptors go
// with its first byte, as SCM_RIGHTS (unix(7)): both processes have them then, and
// the sender decides when it lets go. Where the system cannot pass descriptors,
// [Supported] is false.
package handover
