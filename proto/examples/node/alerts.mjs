#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Who is alarmed, and why: every transition as it comes, and the episodes that are not over.
//
//   alerts.mjs [--once] [ORG [KIND]]        e.g. acme cost
//
// Transitions come at least once, in order for each episode: an id that was seen is dropped.
import { connectTo, decode, print, read } from './lectr.mjs'

const words = process.argv.slice(2)
const once = words.includes('--once')
const [org = '*', kind = '*'] = words.filter((w) => !w.startsWith('-'))

const seen = new Set() // a program that keeps running forgets the ids of episodes that are over
const active = new Map() // fingerprint -> alert
const transitions = { firing: 0, updated: 0, resolved: 0 }

const scopeOf = (alert) => Object.fromEntries(alert.labels.map(({ name, value }) => [name, value]))

function note(alert) {
  if (seen.has(alert.id)) return
  seen.add(alert.id)
  const status = alert.status.replace('STATUS_', '').toLowerCase()
  transitions[status]++
  if (status === 'resolved') active.delete(alert.fingerprint)
  else active.set(alert.fingerprint, alert)
  if (!once) console.log(`${status} ${alert.severity} ${alert.rule}: ${alert.reason}`)
}

const nc = await connectTo()
for await (const message of read(nc, `lectr.v1.alert.${org}.${kind}`, { once })) note(decode('Alert', message.data))
print({
  active: new Map([...active].map(([fingerprint, a]) => [fingerprint, {
    rule: a.rule, scope: scopeOf(a), observed: a.observed, baseline: a.baseline, reason: a.reason,
  }])),
  transitions,
})
await nc.close()
