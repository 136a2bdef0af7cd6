// Package console serves the operators' page of the admin listener, and the data
// behind it:
//
//   - /console/, the page: agents as a wall, servers, sinks, the rate of the last
//     hour, recent events, dead letters; /console/login, where a browser logs in;
//   - GET /console/api/state, everything that changes, and of the agents and events
//     only what has changed since the version that the viewer names;
//   - GET /console/api/events/{type}/{sequence}, one event, its raw bytes taken apart
//     field by field;
//   - GET /console/api/agents/{server}/{agent}, what happened to one agent;
//   - GET /console/api/dead-letters, the newest first, and POST
//     /console/api/dead-letters/retry, which puts some back into the line;
//   - POST /console/api/numbers, which shows or hides customers' numbers.
//
// One reader for each kind of event follows the spool, for all viewers together; a
// viewer costs a short answer a second. Who may come in, and who may change
// something, is decided by the guard of package web before anything gets here.
//
// Customers' numbers, and what customers typed or an IVR attached, are masked, except
// for a viewer who logged in and asked to see them, which is logged.
package console
