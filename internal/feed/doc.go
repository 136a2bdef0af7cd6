// Package feed serves the pops of one agent to web pages and CRM back ends, over
// HTTP on the public listener:
//
//   - GET /v1/servers/{server}/agents/{agent}/pops, a stream of Server-Sent Events
//     (HTML Living Standard, section 9.2) that goes on where Last-Event-ID says;
//   - GET …/pops/latest, the newest pops and the session, for a page just opened;
//   - POST …/pops/ticket, a ticket that opens the stream once, for EventSource,
//     which can send no header;
//   - /callpop.js and its types /callpop.d.ts, the client for web pages;
//   - /agents/{server}/{agent}, a page that shows all of it, to be copied: what
//     main.html and top.html are in the vendor's manual, chapter 4.
//
// One reader for each kind of event follows the spool, and what it reads is handed
// to the streams of its agent in memory. A stream that asks for the past, or whose
// peer reads too slowly for its small queue, reads its own agent's events from the
// spool until it has caught up. So no stream costs more than its queue, no stream
// slows another down, and none misses an event that the spool still holds.
//
// What is stored stays as it is: data is the event's body, id its place in the
// spool. Pops older than [Config.MaxAge] are events of another name, late, so that
// a page that listens for pop shows no calls of an hour ago.
//
// The customer's number is in the events: that is what they are for. Nobody reads
// them without a token, and neither numbers nor tokens are ever logged.
package feed
