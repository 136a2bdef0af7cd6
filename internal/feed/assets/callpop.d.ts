/** Types of callpop.js: `/// <reference path="callpop.d.ts" />`, or put it beside your sources. */
declare namespace CallPop {
  interface Options {
    /** The LQ server's name, as the connector's configuration has it. */
    server: string
    /** The agent's number (工号). */
    agent: string
    /** The agent's token; or a function that gets a fresh one, asked before each connection. */
    token: string | (() => string | Promise<string>)
    /** A customer calls: pop. A pop older than the connector's feed.max_age comes to onLate. */
    onPop?: (pop: Pop) => void
    /** A pop that comes too late to be popped, as after an outage: for a list. */
    onLate?: (pop: Pop) => void
    /** The connection or the agent's session changed. */
    onState?: (state: State) => void
    /** For the first connection of a tab: the pops since a time (RFC 3339), or for a while, such as '15m'. */
    since?: string
    /** The connector's public address, with a slash at its end; where the script came from unless given. */
    base?: string
    /** Gets the events callpop, callpoplate and callpopstate; document unless given. */
    target?: EventTarget
  }

  interface Feed {
    readonly state: State
    /** The newest pop, or all since a time or for a while such as '2h', the newest first. */
    latest(since?: string): Promise<Latest>
    /** Ends the connection for good. */
    close(): void
  }

  interface State {
    /** refused: the token is not valid, or of another agent; nothing is tried any more. */
    feed: 'connecting' | 'live' | 'waiting' | 'refused' | 'closed'
    /** The agent's session with the LQ server, where the connector knows of one. */
    session?: SessionChanged
    /** How the stream went on: incomplete and other_spool say that pops may be missing or come twice. */
    resume?: 'now' | 'exact' | 'since' | 'incomplete' | 'other_spool'
    /** Why it is waiting or refused. */
    error?: string
  }

  interface Latest {
    /** The place in the connector's spool from which a stream goes on. */
    position: string
    session?: SessionChanged
    pops: { id: string; late?: boolean; pop: Pop }[]
  }

  /** The event CallPop, version 1. What is absent is not known. */
  interface Pop {
    id: string
    fingerprint: string
    version: 1
    /** The call: all its pops have this key. */
    key: string
    server: string
    agent?: { id?: string; channel?: string }
    pop?: { mode?: Mode; code: number }
    direction?: 'inbound' | 'outbound'
    call?: {
      sn?: string
      id?: string
      id_derived?: true
      line?: string
      started_at?: string
      transferred_from?: string
    }
    customer?: { number?: string; e164?: string }
    ivr?: { keys?: string; member?: string; data?: string; fields?: Record<string, string> }
    format: string
    declared_format?: string
    truncated?: true
    extra?: Record<string, string>
    raw: string
    raw_base64?: string
    source: { type: string; name: string; agent?: string }
    received_at: string
  }

  type Mode =
    | 'inbound' | 'manual_outbound' | 'inbound_conference' | 'auto_outbound' | 'inbound_transfer'
    | 'outbound_transfer' | 'outbound_conference' | 'test' | 'reserved'

  interface SessionChanged {
    id: string
    version: 1
    server: string
    agent?: string
    state: 'connecting' | 'connected' | 'failed' | 'expired' | 'reconnecting' | 'closed'
    ocx_code: number
    cause?: string
    at: string
    gap?: { from: string; to: string }
    source: { type: string; name: string; agent?: string }
  }

  /** Listens to the agent's pops until close is called. */
  function connect(options: Options): Feed
  /** The template with {customer.number} and the like made the pop's fields, escaped. */
  function url(template: string, pop: Pop): string
  /** Opens the page in the window or frame of that name; null where the browser blocks windows. */
  function open(template: string, pop: Pop, target?: string, features?: string): Window | null
}

interface DocumentEventMap {
  callpop: CustomEvent<CallPop.Pop>
  callpoplate: CustomEvent<CallPop.Pop>
  callpopstate: CustomEvent<CallPop.State>
}
