#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// What each feature costs, from the single calls, to the nano-dollar.
//
//   cost.mjs [--once] [SUBJECT]        default lectr.v1.>; of one organisation lectr.v1.*.acme.>
//
// An event may come twice: it is counted once. One that did not come is told as missing. What the
// agents could not meter comes as gaps.
import { connectTo, decode, Numbers, print, read, typeOf } from './lectr.mjs'

const types = { call: 'Call', gap: 'Gap', coverage: 'Coverage' }
const words = process.argv.slice(2)
const once = words.includes('--once')
const subject = words.find((w) => !w.startsWith('-')) ?? 'lectr.v1.>'

const numbers = new Numbers()
const features = new Map()
const unmetered = { connections: 0n, calls_in_flight: 0n, events_lost: 0n }

function addCall(call) {
  const name = call.feature?.value ?? ''
  const f = features.get(name) ?? { calls: 0, cost_nanousd: 0n, cost_unknown: 0 }
  features.set(name, f)
  f.calls++
  // Absent is unknown, never zero.
  if (call.cost?.expected_nanousd === undefined) f.cost_unknown++
  else f.cost_nanousd += call.cost.expected_nanousd
}

function addGap(gap) {
  for (const key of Object.keys(unmetered)) unmetered[key] += gap[key] ?? 0n
}

const tell = () =>
  print({
    features,
    events: { received: numbers.received, duplicates: numbers.duplicates, missing: numbers.missing },
    unmetered,
  })

const nc = await connectTo()
if (!once) setInterval(tell, 10_000).unref()
for await (const message of read(nc, subject, { once })) {
  const type = types[typeOf(message.subject)]
  if (!type) continue // roll-ups and alerts, and what a later version may add
  const event = decode(type, message.data)
  if (!numbers.claim(event)) continue
  if (type === 'Call') addCall(event)
  if (type === 'Gap') addGap(event)
}
tell()
await nc.close()
