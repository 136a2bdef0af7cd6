// Package lqsim is a scripted LQ server: the server's side of the vendor's manual,
// chapter 7 (mode 5), for tests, for `connector simulate` and for `connector demo`.
//
// [Server] listens, reads each client's registration by the same template that the
// client renders, sends heartbeats (TRY_REQ) and counts the replies (TRY_REP), and
// sends pops to the newest session of the agent they are for. As the real server
// it numbers, acknowledges and resends nothing: a pop for an agent without a
// session is missed, and counted. On command it misbehaves in every way that
// clients have to stand: it falls silent, goes half open, breaks off inside a
// frame, closes, resets, refuses, and sends garbage. Every session, heartbeat,
// reply and pop is booked, so that a test can compare what was sent with what
// arrived and prove by a connection's number that a socket stayed open.
//
// What the manual leaves open is a choice here: the registration's bytes
// ([DefaultRegistration]), that the first heartbeat comes at once, that a client
// whose registration does not fit is closed, and that after a second registration
// of an agent the older socket stays open and keeps its heartbeats, and with
// [Options.EverySession] its pops.
//
// [Traffic] makes up what a Chinese call centre would see: numbers of every kind,
// IVR data, calls that are passed on, become conferences and pop again. The same
// seed makes the same calls.
//
// # Goroutines, limits, errors
//
// [Server.Run] owns all goroutines, one for each socket, and waits for them. Names
// come from the network: they are at most [frame.MaxValue] bytes, of at most
// 100,000 agents, and not escaped. Errors name the agent, never a customer.
//
// # Scenarios
//
// A [Scenario] is a script in YAML. Unknown keys, keys that a kind of step does not
// use, durations without a unit, aliases and second documents are errors, each on
// one line with file, line, key, value and what was expected. A file has at most
// 256 KiB and 10,000 steps. testdata/example.yaml shows all of it:
//
//	name: morning          # default: the file's name
//	description: Calls, a transfer, a silent server.
//	format: t1v5           # t1v1 to t1v5, or mixed; default: the player's
//	charset: utf-8         # or gb18030; default: the player's
//	seed: 42               # default: the player's
//	loop: 2                # rounds, or forever; default 1
//	steps:
//	  - {kind: wait, sessions: 2}
//	  - {kind: inbound, at: 1s, agent: $1, call: anna, data: "meb_id:2222"}
//	  - {kind: transfer, after: 4s, call: anna, to: $2}
//
// Each step has a kind and either at, counted from the round's start, or after,
// counted from the step before (default 0s). Steps stand in the order of time. An
// agent is a number such as 801, $1, $2 … for the first, second … of the roster
// that the player was given, or, but in to, $all for each of it.
//
//	inbound        a new call rings (ty 1). agent ($1), call: a name for later
//	               steps; number, line, sn, keys, data, member: made up unless
//	               given, "" leaves one out; mode: another ty; format, charset
//	outbound       the same for a call to the customer (ty 2; mode: 4 automatic)
//	gb18030        inbound with Chinese IVR data in GB18030
//	transfer       the call (default: the latest) is passed on (ty 5 or 6, so).
//	               to (required), call; keys, data: new from here on
//	three_way      another agent is brought in (ty 3 or 7). As transfer
//	re_pop         the same pop again (ty 1 or 2). call, agent (who has it), keys,
//	               data
//	burst          many calls, made up. count (required), rate: pops a second
//	               (default: at once), agent ($all), format, charset
//	silence        nothing is sent, no heartbeats and no pops. agent ($all), for
//	half_open      the session's socket is kept and never touched. agent ($1)
//	cut            a pop breaks off and the session ends. at_byte: how much of its
//	               frame is sent (default half), reset: true for RST; keys of inbound
//	accept_silent  new connections are accepted and never answered. for
//	refuse         new connections are refused, or with hang_up: true accepted and
//	               closed at once. for
//	garbage        bytes that are no pop. agent ($1), count (64), framed: true for
//	               a frame of them, which leaves the framing whole
//	heartbeat      one more TRY_REQ. agent ($all), count (1)
//	close, reset   the session ends with FIN or RST. agent ($1)
//	raw            bytes as given: hex or text. agent ($1), framed: false for bytes
//	               without the length in front
//	wait           for: a time; sessions: until so many are up, with for as the
//	               longest wait; the script's clock stands still meanwhile
//
// What for ends, ends by itself while the script goes on; without it, it lasts
// until the scenario is over. [BuiltinScenarios] has one ready file for each kind.
package lqsim
