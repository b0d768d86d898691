#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Compares price.c with the calculator of @pydantic/genai-prices, whose table it uses:
//
//   prices-compare.mjs --probe build/tests/harness/price_probe --module DIR [--exchanges DIR]
//
// 1. Every model of every provider, with made-up usage, at several dates.
// 2. With --exchanges: every recorded answer that reports usage, from its truth.
// A difference of more than a nano-dollar (and 1e-9 of the sum, for the calculator's
// floating point) is a mismatch. Ends with "N passed, N failed, N skipped".
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const { values: args } = parseArgs({
  options: {
    probe: { type: 'string', default: 'build/tests/harness/price_probe' },
    module: { type: 'string', default: 'tests/harness/node_modules/@pydantic/genai-prices' },
    prices: { type: 'string', default: 'agent/prices.json' },
    exchanges: { type: 'string' },
    seed: { type: 'string', default: '1' },
    verbose: { type: 'boolean', default: false },
  },
})
const info = JSON.parse(fs.readFileSync(path.join(args.module, 'package.json'), 'utf8'))
const { calcPrice, waitForUpdate } =
  await import(pathToFileURL(path.resolve(args.module, info.module ?? info.main)))
const providers = await waitForUpdate()
console.warn = () => {}

let state = BigInt(args.seed)
function random(below) {
  state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn
  return Number((state >> 33n) % BigInt(below))
}

// Usage as disjoint rows, and the same as the calculator wants it: totals and parts.
function usageOf(rows) {
  const u = {}
  const add = (key, n) => { u[key] = (u[key] ?? 0) + n }
  for (const [kind, modality, unit, n] of rows) {
    if (unit === 'second') { add('audio_seconds', n); add('input_audio_seconds', n); continue }
    if (unit === 'page') { add('input_document_pages', n); continue }
    if (unit === 'search') { add('web_searches', n); continue }
    const side = kind === 'output' || kind === 'reasoning' ? 'output' : 'input'
    const part = { reasoning: 'reasoning', tool_use_input: 'tool' }[kind]
    add(`${side}_tokens`, n)
    add(`${side}_${modality}_tokens`, n)
    if (part) { add(`${side}_${part}_tokens`, n); add(`${side}_${modality}_${part}_tokens`, n) }
    const cache = { cached_input: ['read'], cache_write: ['write'],
      cache_write_5m: ['write', 'write_5m'], cache_write_1h: ['write', 'write_1h'] }[kind] ?? []
    for (const c of cache) { add(`cache_${c}_tokens`, n); add(`cache_${modality}_${c}_tokens`, n) }
  }
  return u
}

const cases = []

// The name that a rule of the table takes, so that the right model is found.
function nameFor(match) {
  const [[kind, value]] = Object.entries(match)
  if (kind === 'or') return value.map(nameFor).find(Boolean)
  if (kind === 'and') {
    const positive = value.find((v) => !v.regex)
    return positive && nameFor(positive)
  }
  if (kind === 'regex') return undefined
  return value
}

const KINDS = ['input', 'cached_input', 'cache_write', 'cache_write_5m', 'cache_write_1h',
  'output', 'reasoning', 'tool_use_input']

function madeUp(provider, model, name, unix_s) {
  const prices = Object.assign({}, ...(Array.isArray(model.prices)
    ? model.prices.map((p) => p.prices) : [model.prices]))
  const rows = []
  const scale = 10 ** (1 + random(6))
  if (prices.input_mtok !== undefined && prices.output_mtok !== undefined)
    for (const kind of KINDS)
      if (random(3)) rows.push([kind, 'text', 'token', random(scale)])
  if (prices.input_audio_mtok !== undefined && prices.input_mtok !== undefined)
    rows.push(['input', 'audio', 'token', random(scale)])
  if (prices.cache_audio_read_mtok !== undefined)
    rows.push(['cached_input', 'audio', 'token', random(scale)])
  if (prices.output_audio_mtok !== undefined && prices.output_mtok !== undefined)
    rows.push(['output', 'audio', 'token', random(scale)])
  if (prices.input_image_mtok !== undefined && prices.input_mtok !== undefined)
    rows.push(['input', 'image', 'token', random(scale)])
  if (prices.output_image_mtok !== undefined && prices.output_mtok !== undefined)
    rows.push(['output', 'image', 'token', random(scale)])
  if (prices.audio_hours !== undefined) rows.push(['input', 'audio', 'second', random(5000)])
  if (prices.input_document_kpages !== undefined && prices.input_annotated_document_kpages === undefined)
    rows.push(['input', 'document', 'page', random(500)])
  if (prices.web_searches_kcount !== undefined) rows.push(['input', '', 'search', random(20)])
  if (!rows.length && prices.input_mtok !== undefined) rows.push(['input', 'text', 'token', random(scale)])
  if (!rows.length) return
  cases.push({ id: `${provider.id}/${name}@${unix_s}`, provider: provider.id, host: '', operation: 'chat',
    requested: '', responded: name, tier: '', unix_s, rows, genai: provider.id })
}

function allModels() {
  const dates = [Date.UTC(2024, 0, 1), Date.UTC(2026, 2, 20, 2, 30), Date.UTC(2026, 8, 30, 17)]
  for (const provider of providers)
    for (const model of provider.models) {
      const name = nameFor(model.match)
      if (!name) { skipped.push([`${provider.id}/${model.id}`, 'its rule is a regular expression alone']); continue }
      for (const ms of dates) madeUp(provider, model, name, ms / 1000)
    }
}

// The exchanges say nothing of disjoint rows; they follow from provider and truth.
const NAMES = { gemini: 'google', vertex: 'google', bedrock: 'aws', xai: 'x-ai', voyage: 'voyageai' }
const OUTSIDE = { anthropic: true, bedrock: true } // input_tokens without cache

function recorded(file) {
  const { id, provider, request, truth } = JSON.parse(fs.readFileSync(file, 'utf8'))
  const t = truth
  if (!t.usage_reported || t.input_tokens == null || t.is_error) return
  if (t.audio_input_tokens || t.audio_output_tokens || t.image_input_tokens || t.image_output_tokens)
    return skipped.push([id, 'more than text'])
  if (t.reported_cost_usd != null) return skipped.push([id, 'the provider says what it cost'])
  if (['moderation', 'count_tokens', 'retrieve', 'files', 'models'].includes(t.operation))
    return skipped.push([id, `${t.operation} is free`])
  const cached = t.cached_input_tokens ?? 0
  const w5 = t.cache_creation_tokens_5m ?? 0, w1 = t.cache_creation_tokens_1h ?? 0
  const write = Math.max(0, (t.cache_creation_tokens ?? 0) - w5 - w1)
  const input = OUTSIDE[provider] ? t.input_tokens
    : Math.max(0, t.input_tokens - cached - write - w5 - w1)
  const reasoning = t.reasoning_tokens ?? 0
  const output = Math.max(0, (t.output_tokens_total ?? t.output_tokens ?? 0) - reasoning)
  const rows = [['input', 'text', 'token', input], ['cached_input', 'text', 'token', cached],
    ['cache_write', 'text', 'token', write], ['cache_write_5m', 'text', 'token', w5],
    ['cache_write_1h', 'text', 'token', w1], ['output', 'text', 'token', output],
    ['reasoning', 'text', 'token', Math.min(reasoning, t.output_tokens_total ?? reasoning)],
    ['tool_use_input', 'text', 'token', t.tool_use_input_tokens ?? 0]].filter((r) => r[3] > 0)
  if (!rows.length) return
  cases.push({ id, provider, host: request.host, operation: t.operation, requested: t.model_requested ?? '',
    responded: t.model_responded ?? '', tier: '', unix_s: Date.UTC(2026, 8, 1) / 1000, rows,
    genai: NAMES[provider] ?? provider })
}

function allExchanges(dir) {
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    if (!entry.isDirectory() || entry.name === 'LICENCES') continue
    for (const file of fs.readdirSync(path.join(dir, entry.name)))
      if (file.endsWith('.json')) recorded(path.join(dir, entry.name, file))
  }
}

function theirs(c) {
  const known = providers.find((p) => p.id === c.genai) ||
    providers.find((p) => new RegExp(`^(?:${p.api_pattern})`).test(`https://${c.host}/`))
  if (!known) return null
  try {
    const name = c.responded || c.requested
    const options = { providerId: known.id, timestamp: new Date(c.unix_s * 1000) }
    return calcPrice(usageOf(c.rows), name, options) ??
      calcPrice(usageOf(c.rows), name.replace(/^.*models\//, ''), options)
  } catch (e) {
    return { error: e.message }
  }
}

const skipped = []
let passed = 0, failed = 0
allModels()
if (args.exchanges) allExchanges(args.exchanges)
const input = cases.map((c) => [c.provider, c.host, c.operation, c.requested, c.responded, c.tier, c.unix_s,
  c.rows.map((r) => r.join(':')).join(',')].join('\t')).join('\n') + '\n'
const probe = spawnSync(args.probe, [args.prices], { input, encoding: 'utf8', maxBuffer: 1 << 28 })
if (probe.status !== 0) throw new Error(`price_probe: ${probe.stderr}`)
const answers = probe.stdout.split('\n')

cases.forEach((c, i) => {
  const [basis, , expected] = answers[i].split('\t')
  const result = theirs(c)
  let wrong
  if (result?.error) { skipped.push([c.id, `the calculator refuses: ${result.error}`]); return }
  if (!result) wrong = basis === 'unknown_model' ? null : `they know no such model, we say ${answers[i]}`
  else if (basis === 'unknown_unit') {
    skipped.push([c.id, 'no price for something used; the calculator leaves it out'])
    return
  } else if (basis !== 'table') wrong = `they say ${result.total_price * 1e9}, we ${basis}`
  else if (Math.abs(Number(expected) - result.total_price * 1e9) > 1 + result.total_price)
    wrong = `they say ${result.total_price * 1e9}, we ${expected}`
  if (wrong) { failed++; console.log(`not ok - ${c.id}: ${wrong} ${JSON.stringify(c.rows)}`) } else passed++
})
const reasons = new Map()
for (const [id, why] of skipped) {
  if (args.verbose) console.log(`SKIP - ${id}: ${why}`)
  const key = why.replace(/\d+/g, 'N')
  reasons.set(key, (reasons.get(key) ?? 0) + 1)
}
for (const [why, n] of reasons) console.log(`SKIP - ${n}: ${why}`)
console.log(`${passed} passed, ${failed} failed, ${skipped.length} skipped`)
process.exitCode = failed || !passed ? 1 : 0
