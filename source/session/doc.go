// Package session is the source that holds one TCP session for each agent, as a
// client of the LQ server (manual, chapter 7, mode 5).
//
// A session connects, sends the registration message, answers every TRY_REQ with
// TRY_REP and takes pops. It ends when the server closes it, when it is proven
// dead, or when the roster or the operator says so, and never otherwise: closing
// a session may sign the agent out (manual, chapter 5).
package session
