// Prints the callpop connector's calls, a line of JSON each.
//
//     npm ci
//     node consumer.mjs nats://127.0.0.1:4222
//
// An event is acknowledged once its line is written: what a crash leaves comes again.
// Repeats carry the same ce-id, and those among the last 10,000 are dropped.
import { writeSync } from 'node:fs'
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from '@nats-io/jetstream'
import { connect, nanos } from '@nats-io/transport-node'

const TYPE = 'callpop.v1', VERSION = 1, WINDOW = 10_000, NAME = 'node'

// decode returns the event's id and body. What it throws will be so at the message's
// next delivery, and tells nothing personal.
function decode(message) {
  const event = message.headers?.get('ce-id'), kind = message.headers?.get('ce-type')
  if (!event || kind !== TYPE) throw new Error(`ce-id is "${event}", ce-type "${kind}": expected an id and "${TYPE}"`)
  const name = `event ${JSON.stringify(event)}`
  let body
  try {
    body = message.json()
  } catch {
    throw new Error(`${name} is no JSON`)
  }
  if (body?.version !== VERSION) throw new Error(`${name} is of version ${String(JSON.stringify(body?.version)).slice(0, 40)}: expected ${VERSION}`)
  if (body.id !== event) throw new Error(`${name} has another id in its body`)
  return { event, body }
}

// handle is the effect: here goes what you do with a call.
function handle(body) {
  // The customer's number is in body.customer: it is personal, and not printed.
  const line = { id: body.id, key: body.key, agent: body.agent?.id ?? 'unknown', mode: body.pop?.mode ?? 'unknown' }
  writeSync(1, JSON.stringify(line) + '\n')
}

const connection = await connect({ servers: process.argv[2] ?? 'nats://127.0.0.1:4222', name: NAME, maxReconnectAttempts: -1 })
const manager = await jetstreamManager(connection)
const stream = await manager.streams.find(`${TYPE}.>`)
await manager.consumers.add(stream, {
  durable_name: NAME, filter_subject: `${TYPE}.>`, deliver_policy: DeliverPolicy.All, ack_policy: AckPolicy.Explicit, ack_wait: nanos(30_000),
})
const consumer = await jetstream(connection).consumers.get(stream, NAME)

let stopping = false
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => { stopping = true })
const seen = new Set() // ids, the oldest first
while (!stopping) {
  for await (const message of await consumer.fetch({ max_messages: 100, expires: 1000 })) {
    let event, body
    try {
      ({ event, body } = decode(message))
    } catch (error) {
      console.error(`passed over: ${error.message}`)
      message.term()
      continue
    }
    if (!seen.has(event)) {
      handle(body)
      seen.add(event)
      if (seen.size > WINDOW) seen.delete(seen.values().next().value)
    }
    message.ack()
  }
}
await connection.drain() // and with it the last acknowledgements
