#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Calls, tokens, cost, errors, latency and coverage from the roll-ups: little to read, nothing to
// add up twice.
//
//   rollups.mjs [--once] [WINDOW [ORG]]        1m (default), 1h, 1d
//
// A bucket that changed is told again, whole, with a higher revision: the highest one counts alone.
import { connectTo, decode, print, read } from './lectr.mjs'

const words = process.argv.slice(2)
const once = words.includes('--once')
const [window = '1m', org = '*'] = words.filter((w) => !w.startsWith('-'))

const latest = new Map() // id -> roll-up
let revised = 0

function note(rollup) {
  const known = latest.get(rollup.id)
  if (known && known.revision >= rollup.revision) return
  if (known) revised++
  latest.set(rollup.id, rollup)
}

// Counts of the same bucket are added: that is all there is to merging.
function addSketch(into, sketch) {
  if (!sketch) return
  into.count += sketch.count
  into.relative_error = sketch.relative_error
  sketch.bucket.forEach((bucket, i) =>
    into.buckets.set(bucket, (into.buckets.get(bucket) ?? 0n) + sketch.bucket_count[i]))
}

function quantile({ count, relative_error, buckets }, q) {
  if (count === 0n) return null
  const growth = (1 + relative_error) / (1 - relative_error)
  const rank = BigInt(Math.floor(q * Number(count - 1n)))
  let seen = 0n
  for (const bucket of [...buckets.keys()].sort((a, b) => a - b)) {
    seen += buckets.get(bucket)
    if (seen > rank) return bucket === 0 ? 1 : (2 * growth ** bucket) / (growth + 1)
  }
}

const bump = (map, key, by) => map.set(key, (map.get(key) ?? 0n) + by)

function summary() {
  const features = new Map()
  const coverage = { seen: 0n, metered: 0n, gaps: new Map() }
  for (const r of latest.values()) {
    if (r.coverage) {
      coverage.seen += r.coverage.seen_connections ?? 0n
      coverage.metered += r.coverage.metered_connections ?? 0n
      for (const gap of r.coverage.gaps) bump(coverage.gaps, gap.reason, gap.connections ?? 0n)
      continue
    }
    const f = features.get(r.feature) ?? {
      calls: 0n, cost_nanousd: 0n, cost_unknown: 0n, errors: new Map(), usage: new Map(),
      latency: { count: 0n, buckets: new Map() },
    }
    features.set(r.feature, f)
    f.calls += r.calls
    f.cost_nanousd += r.cost_expected_nanousd ?? 0n
    f.cost_unknown += r.calls_cost_unknown
    for (const e of r.error_types) bump(f.errors, e.type, e.calls)
    for (const u of r.usage)
      bump(f.usage, [u.kind + (u.modality ? '.' + u.modality : ''), u.unit || 'token',
        String(u.source).replace('SOURCE_', '').toLowerCase()].join('/'), u.count)
    addSketch(f.latency, r.latency_us)
  }
  for (const f of features.values()) {
    f.latency_p95_us = quantile(f.latency, 0.95)
    delete f.latency
  }
  return { features, coverage, rollups: latest.size, revised }
}

const nc = await connectTo()
if (!once) setInterval(() => print(summary()), 10_000).unref()
for await (const message of read(nc, `lectr.v1.rollup.${org}.${window}`, { once }))
  note(decode('Rollup', message.data))
print(summary())
await nc.close()
