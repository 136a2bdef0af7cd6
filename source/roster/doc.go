// Package roster keeps what was set of the rosters while the connector ran: by
// HTTP, on top of what is configured.
//
// Of each source there is an [Edit]: agents added and agents removed, or a whole
// list in place of the configured one. Beside them is the [Split] over
// replicas. Both are in a file in the spool's directory, written whole, synced and
// renamed before a change counts.
package roster
