// SPDX-License-Identifier: Apache-2.0
// What the three programs share: the server, the messages, the numbers of the events.
//
// Environment: NATS_URL (nats://127.0.0.1:4222; a password may stand in it), NATS_CREDS (a file),
// NATS_CA (trust this authority), LECTR_STREAM (LECTR), LECTR_CONSUMER (a name, where the server's
// permissions are given by it).
import { readFileSync } from 'node:fs'
import { connect, credsAuthenticator } from '@nats-io/transport-node'
import { jetstream, jetstreamManager } from '@nats-io/jetstream'
import protobuf from 'protobufjs'

const schema = new URL('../../lectr.proto', import.meta.url).pathname
const lectr = new protobuf.Root().loadSync(schema, { keepCase: true }).lookup('lectr.v1')

// Whole numbers as BigInt, enums by name, what is absent stays absent.
export function decode(type, bytes) {
  const Type = lectr.lookupType(type)
  return Type.toObject(Type.decode(bytes), { longs: BigInt, enums: String, arrays: true })
}

// "call", "gap", …: the third token of a subject.
export const typeOf = (subject) => subject.split('.')[2]

export function connectTo() {
  const url = new URL(process.env.NATS_URL ?? 'nats://127.0.0.1:4222')
  return connect({
    servers: url.host,
    ...(url.username && { user: decodeURIComponent(url.username), pass: decodeURIComponent(url.password) }),
    ...(process.env.NATS_CREDS && { authenticator: credsAuthenticator(readFileSync(process.env.NATS_CREDS)) }),
    ...((process.env.NATS_CA || url.protocol === 'tls:') && { tls: { caFile: process.env.NATS_CA } }),
    name: 'lectr-subscriber',
  })
}

// Every message of the stream under `subject`, from the first one that is kept, in order, for ever;
// with `once` until the last one that is there now. The consumer keeps nothing at the server: what
// was read is forgotten with this process, and read anew by the next.
export async function* read(nc, subject, { once = false } = {}) {
  const stream = process.env.LECTR_STREAM ?? 'LECTR'
  const manager = await jetstreamManager(nc, { checkAPI: false })
  const name = process.env.LECTR_CONSUMER ?? `lectr_${process.pid}_${Date.now()}`
  // One of this name remembers what it gave to the program before.
  if (process.env.LECTR_CONSUMER) await manager.consumers.delete(stream, name).catch(() => {})
  const made = await manager.consumers.add(stream, {
    name,
    filter_subject: subject,
    ack_policy: 'none',
    deliver_policy: 'all',
    inactive_threshold: 30e9,
    mem_storage: true,
  })
  if (once && made.num_pending === 0) return
  const consumer = await jetstream(nc, { manager }).consumers.get(stream, name)
  for await (const m of await consumer.consume()) {
    yield m
    if (once && m.info.pending === 0) return
  }
}

// Numbers that were seen, as intervals: small for ever, since there are few holes. One for each
// (agent_instance, part); Call, Gap and Coverage are numbered together.
export class Numbers {
  #streams = new Map()
  received = 0
  duplicates = 0

  // True when the event is new.
  claim(event) {
    const key = `${event.agent_instance} ${event.part}`
    const seen = this.#streams.get(key) ?? []
    this.#streams.set(key, seen)
    let at = seen.length
    while (at > 0 && seen[at - 1].first > event.seq) at--
    const before = seen[at - 1]
    if (before && event.seq <= before.last) {
      this.duplicates++
      return false
    }
    this.received++
    const joinsBefore = before && before.last + 1n === event.seq
    const joinsAfter = seen[at] && seen[at].first === event.seq + 1n
    if (joinsBefore && joinsAfter) {
      before.last = seen[at].last
      seen.splice(at, 1)
    } else if (joinsBefore) before.last = event.seq
    else if (joinsAfter) seen[at].first = event.seq
    else seen.splice(at, 0, { first: event.seq, last: event.seq })
    return true
  }

  // Numbers below the highest of their stream that did not come (yet).
  get missing() {
    let missing = 0n
    for (const seen of this.#streams.values()) {
      let next = 1n
      for (const { first, last } of seen) {
        missing += first - next
        next = last + 1n
      }
    }
    return missing
  }
}

// JSON with the keys in order; whole numbers as they are, however long.
export function print(value) {
  const text = (v) =>
    typeof v === 'bigint' ? String(v)
    : v instanceof Map ? text(Object.fromEntries(v))
    : Array.isArray(v) ? `[${v.map(text).join(',')}]`
    : v && typeof v === 'object' ?
      `{${Object.keys(v).sort().map((k) => `${JSON.stringify(k)}:${text(v[k])}`).join(',')}}`
    : JSON.stringify(v)
  console.log(text(value))
}
