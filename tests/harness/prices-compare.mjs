#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Compares price.c with the calculator of @pydantic/genai-prices, whose table it uses:
//
//   prices-compare.mjs [--probe FILE] [--replay FILE] [--module DIR] [--exchanges DIR] [--verbose]
//
// 1. Every model of every provider, with made-up usage, at several dates.
// 2. With --exchanges: every recorded answer, as the meter counts it (meter_replay --calls). The
//    calculator is asked twice: with the meter's rows, and with what its own extractors find in
//    the usage as it stood in the answer. Where those read it otherwise a table says why.
// 3. What providers say an answer cost, against the table: equal, or the difference explained.
// Equal is to the nano-dollar (the calculator's floating point rounded). Prints "ok - ",
// "not ok - ", "SKIP - ", and "# " for what is told.
import { spawnSync } from 'node:child_process'
import fs from 'node:fs'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const { values: args } = parseArgs({
  options: {
    replay: { type: 'string', default: 'build/tests/harness/meter_replay' },
    probe: { type: 'string', default: 'build/tests/harness/price_probe' },
    module: { type: 'string', default: 'tests/harness/node_modules/@pydantic/genai-prices' },
    prices: { type: 'string', default: 'agent/prices.json' },
    exchanges: { type: 'string' },
    seed: { type: 'string', default: '1' },
    verbose: { type: 'boolean', default: false },
  },
})
const info = JSON.parse(fs.readFileSync(path.join(args.module, 'package.json'), 'utf8'))
const { calcPrice, extractUsage, waitForUpdate } =
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
    if (unit !== 'token' || kind.startsWith('unbilled_')) continue
    const side = kind === 'output' || kind === 'reasoning' ? 'output' : 'input'
    const part = { reasoning: 'reasoning', tool_use_input: 'tool' }[kind]
    add(`${side}_tokens`, n)
    add(`${side}_${modality}_tokens`, n)
    if (part) { add(`${side}_${part}_tokens`, n); add(`${side}_${modality}_${part}_tokens`, n) }
    const cache = { cached_input: ['read'], cache_write: ['write'],
      cache_write_5m: ['write', 'write_5m'], cache_write_1h: ['write', 'write_1h'] }[kind] ?? []
    for (const c of cache) { add(`cache_${c}_tokens`, n); add(`cache_${modality}_${c}_tokens`, n) }
  }
  // The calculator wants to hear that none of the other input was cached.
  for (const m of ['audio', 'image', 'video'])
    for (const c of ['read', 'write', 'write_5m', 'write_1h'])
      if (u[`input_${m}_tokens`] !== undefined && u[`cache_${c}_tokens`] !== undefined)
        u[`cache_${m}_${c}_tokens`] ??= 0
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

// What provider profiles call a provider that the calculator knows under another id.
const NAMES = { gemini: 'google', vertex: 'google', bedrock: 'aws', xai: 'x-ai', voyage: 'voyageai',
  moonshot: 'moonshotai' }
const WHEN = Date.UTC(2026, 8, 1) / 1000

// Which of a provider's extractors is for a wire family, the first that it has.
const FLAVORS = {
  'openai.chat': ['chat', 'default'], 'openai.completions': ['chat', 'default'],
  'openai.responses': ['responses'], 'openai.responses.compact': ['responses'],
  'openai.embeddings': ['embeddings'], 'openai.images': ['images'], 'openai.images.edits': ['images'],
  'anthropic.messages': ['anthropic', 'default'], 'gemini.generate_content': ['default'],
  'cohere.embed': ['embeddings'], 'cohere.chat_v1': ['default'], 'cohere.chat_v2': ['default'],
  'bedrock.converse': ['default'],
}

// Where the calculator's extractors read an answer's usage otherwise than it is meant.
const parts = (u) => u.prompt_tokens_details ?? u.prompt_token_details ?? u.input_tokens_details ?? {}
const EXCEPTIONS = [
  ['openai endpoint of Gemini: thinking is in the total alone, their extractor leaves it out',
    (x) => x.provider === 'gemini' && x.truth.api.startsWith('openai.')],
  ['Mistral: audio tokens are outside prompt_tokens, their extractor leaves them out',
    (x) => x.provider === 'mistral' && (parts(x.usage).audio_tokens ?? 0) > 0],
  ['Mistral: cached tokens stand in num_cached_tokens, which their extractor does not read',
    (x) => x.provider === 'mistral' && (x.usage.num_cached_tokens ?? 0) > 0],
  ['DeepSeek: cached tokens in prompt_cache_hit_tokens alone, which their extractor does not read',
    (x) => x.provider === 'deepseek' && x.usage.prompt_cache_hit_tokens > 0 && !x.usage.prompt_tokens_details],
  ['a completion of no tokens says none, their extractor refuses it',
    (x) => x.truth.api === 'openai.completions' && x.usage.completion_tokens === undefined],
  ['an advisor or a compaction beside the numbers at the top, their extractor leaves it out',
    (x) => (x.usage.iterations ?? []).some((i) => i.type !== 'message')],
  ['more cached tokens than tokens: both are clamped, each in its way',
    (x) => (parts(x.usage).cached_tokens ?? 0) > (x.usage.prompt_tokens ?? x.usage.input_tokens ?? Infinity)],
]

function exchangesOf(dir) {
  const all = new Map()
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) {
    if (!entry.isDirectory() || entry.name === 'LICENCES') continue
    for (const file of fs.readdirSync(path.join(dir, entry.name))) {
      if (!file.endsWith('.json')) continue
      const x = JSON.parse(fs.readFileSync(path.join(dir, entry.name, file), 'utf8'))
      if (x.truth) all.set(x.id, x)
    }
  }
  return all
}

// What the meter made of every exchange.
function recorded(dir) {
  const replay = spawnSync(args.replay, ['--quiet', '--calls', dir], { encoding: 'utf8', maxBuffer: 1 << 28 })
  const lines = replay.stdout.split('\n').filter((l) => l.startsWith('CALL\t'))
  if (!lines.length) throw new Error(`meter_replay: no calls: ${replay.stderr}`)
  for (const line of lines) {
    const [, id, ...fields] = line.split('\t')
    const [provider, host, operation, requested, responded, tier, , rows, , , , reported, raw] = fields
    fields[6] = WHEN
    cases.push({
      id, provider, host, operation, requested, responded, tier, raw, unix_s: WHEN, line: fields.join('\t'),
      genai: NAMES[provider] ?? provider, exchange: exchanges.get(id),
      reported: reported === '' ? undefined : Number(reported),
      rows: rows === '' ? [] : rows.split(',').map((r) => r.split(':')).map(
        ([kind, modality, unit, n, model]) => [kind, modality, unit, n === '' ? null : Number(n), model]),
    })
  }
}

const known = (c) => providers.find((p) => p.id === c.genai) ||
  providers.find((p) => new RegExp(`^(?:${p.api_pattern})`).test(`https://${c.host}/`))

function price(c, usage) {
  const provider = known(c)
  if (!provider) return null
  const name = c.responded || c.requested
  const options = { providerId: provider.id, timestamp: new Date(c.unix_s * 1000) }
  try {
    return calcPrice(usage, name, options) ?? calcPrice(usage, name.replace(/^.*models\//, ''), options)
  } catch (e) {
    return { error: e.message }
  }
}

// The calculator's own reading of an answer, undefined where it has none.
function extracted(c) {
  const truth = c.exchange.truth, provider = known(c)
  const flavors = FLAVORS[truth.api] ?? []
  const extractor = flavors.map((f) => provider?.extractors?.find((e) => e.api_flavor === f)).find(Boolean)
  if (!extractor || !truth.usage_raw) return undefined
  // The recordings may keep more than the innermost object.
  const root = [extractor.root].flat().filter((key) => !(key in truth.usage_raw))
  const answer = root.reduceRight((inner, key) => ({ [key]: inner }), truth.usage_raw)
  try {
    const u = extractUsage(provider, { model: c.responded || c.requested, ...answer }, extractor.api_flavor).usage
    return price(c, u)
  } catch (e) {
    return { error: e.message }
  }
}

// A float of dollars as whole nano-dollars; what is half a one may go either way.
const equal = (nano, usd) => Math.abs(nano - usd * 1e9) <= 0.5 + 1e-6 + usd * 1e-6

const results = { passed: 0, failed: 0 }
const skipped = [], explained = []
function ok() { results.passed++ }
function notOk(c, why) { results.failed++; console.log(`not ok - ${c.id}: ${why} ${JSON.stringify(c.rows)}`) }

// The calculator prices one model: an advisor's rows are asked for apart.
function byRows(c) {
  let total = 0
  for (const model of new Set(c.rows.map((r) => r[4] ?? ''))) {
    const rows = c.rows.filter((r) => (r[4] ?? '') === model && r[3] !== null)
    const part = price(model ? { ...c, responded: model } : c, usageOf(rows))
    if (!part || part.error) return part
    total += part.total_price
  }
  return { total_price: total }
}

function withRows(c, ours) {
  const theirs = byRows(c)
  if (theirs?.error) return skipped.push([c.id, `the calculator refuses the rows: ${theirs.error}`])
  if (!theirs) {
    if (ours.basis === 'table') return notOk(c, `they know no such model, we say ${ours.expected}`)
    return skipped.push([c.id, `the calculator knows no such model; ${ours.basis}`])
  }
  if (ours.basis === 'unknown_unit')
    return skipped.push([c.id, 'no price for something used; the calculator leaves it out'])
  if (ours.basis === 'supplement' && !equal(ours.expected, theirs.total_price))
    return skipped.push([c.id, 'priced by the supplement'])
  if (ours.basis !== 'table' && ours.basis !== 'supplement') return notOk(c, `they say ${theirs.total_price * 1e9}, we ${ours.basis}`)
  if (!equal(ours.expected, theirs.total_price))
    return notOk(c, `they say ${theirs.total_price * 1e9}, we ${ours.expected}`)
  ok()
}

function withTheirReading(c, ours) {
  const theirs = extracted(c)
  if (theirs === undefined) return skipped.push([c.id, 'the calculator has no extractor for it'])
  if (!theirs) return
  if (!theirs.error && equal(ours.expected, theirs.total_price)) return ok()
  const seen = { provider: c.provider, model: c.responded || c.requested, truth: c.exchange.truth, usage: c.exchange.truth.usage_raw }
  const exception = EXCEPTIONS.find(([, holds]) => holds(seen))
  const said = theirs.error ?? theirs.total_price * 1e9
  if (!exception) return notOk(c, `their own reading gives ${said}, ours ${ours.expected}`)
  explained.push([c.id, `ours ${ours.expected}, their reading ${said}: ${exception[0]}`])
  ok()
}

// Why a provider's own cost is not the table's.
function explain(c, ours) {
  const raw = Object.fromEntries(c.raw.split(',').filter(Boolean).map((r) => r.split('=')))
  const get = (name) => Object.entries(raw).find(([key]) => key.endsWith(name))?.[1]
  const nano = (name) => get(name) === undefined ? undefined : Math.round(Number(get(name)) * 1e9)
  const prompt = nano('upstream_inference_prompt_cost') ?? nano('upstream_inference_input_cost')
  const rest = nano('upstream_inference_completions_cost') ?? nano('upstream_inference_output_cost')
  const close = (a, b) => Math.abs(a - b) <= 0.01 * Math.max(a, b)
  if (c.provider === 'perplexity' && Math.abs(c.reported - ours.list) <= 20000)
    return 'each part is rounded to 0.00001 USD'
  if (Number(get('num_server_side_tools_used') ?? 0) > 0)
    return `${get('num_server_side_tools_used')} paid tool calls beside the tokens`
  if (prompt === undefined) return undefined
  const tokens = prompt + rest
  if (c.reported === 0 && tokens > 0) return `paid by a key of the customer's own; upstream ${tokens}`
  if (close(c.reported, tokens)) return `served by an upstream with other prices: ${prompt} + ${rest}`
  if (c.reported > tokens) return `tokens ${tokens}, and ${c.reported - tokens} for what is beside them (search)`
}

function withTheProvider(c, ours) {
  const table = tally(c.provider)
  if (ours.expected !== c.reported) return notOk(c, `the provider says ${c.reported}, we ${ours.expected}`)
  // Golden exchanges are written by us, and so is what they say to cost.
  if (c.exchange.source?.repo === 'lectr') { table.made_up++; return ok() }
  if (ours.list === undefined) { table.unlisted++; return ok() }
  if (Math.abs(ours.list - c.reported) <= 0.01 * Math.max(ours.list, c.reported)) { table.agree++; return ok() }
  const why = explain(c, ours)
  if (!why) return notOk(c, `the provider says ${c.reported}, the table ${ours.list}, and nothing explains it`)
  table.explained++
  explained.push([c.id, `provider ${c.reported}, table ${ours.list}: ${why}`])
  ok()
}
const tallies = new Map()
function tally(name) {
  if (!tallies.has(name)) tallies.set(name, { agree: 0, explained: 0, unlisted: 0, made_up: 0 })
  return tallies.get(name)
}

function judge(c, ours) {
  if (ours.basis === 'provider') return withTheProvider(c, ours)
  if (ours.basis === 'free') return skipped.push([c.id, 'free'])
  if (c.exchange && c.rows.some((r) => r[3] === null)) {
    if (ours.expected !== undefined) return notOk(c, `a cost of ${ours.expected} with counts unknown`)
    return skipped.push([c.id, 'the answer says no usage'])
  }
  if (c.exchange && !c.rows.length) return skipped.push([c.id, 'the answer says no usage'])
  if (c.exchange && ours.basis === 'unknown_tier') return skipped.push([c.id, `tier ${c.tier} without a price`])
  withRows(c, ours)
  if (c.exchange && ours.basis === 'table') withTheirReading(c, ours)
}

const exchanges = args.exchanges ? exchangesOf(args.exchanges) : new Map()
allModels()
if (args.exchanges) recorded(args.exchanges)
const input = cases.map((c) => c.line ?? [c.provider, c.host, c.operation, c.requested, c.responded, c.tier,
  c.unix_s, c.rows.map((r) => r.slice(0, 4).join(':')).join(',')].join('\t')).join('\n') + '\n'
const probe = spawnSync(args.probe, [args.prices], { input, encoding: 'utf8', maxBuffer: 1 << 28 })
if (probe.status !== 0) throw new Error(`price_probe: ${probe.stderr}`)
const answers = probe.stdout.split('\n')

const number = (text) => text === '-' || text === undefined ? undefined : Number(text)
function pass(name, part) {
  const before = { ...results }
  part.forEach((c) => {
    const [basis, , expected, , list] = answers[cases.indexOf(c)].split('\t')
    judge(c, { basis, expected: number(expected), list: number(list) })
  })
  const n = results.passed - before.passed
  if (results.failed === before.failed && n) console.log(`ok - ${name}: ${n} equal to the nano-dollar`)
  else if (!n) { results.failed++; console.log(`not ok - ${name}: nothing was compared`) }
}

pass('models of the table', cases.filter((c) => !c.exchange))
if (args.exchanges) pass('recorded answers', cases.filter((c) => c.exchange))
for (const [name, t] of tallies)
  if (!t.made_up) console.log(`# ${name}: says its cost ${t.agree + t.explained + t.unlisted} times; ${t.agree} within 1% of the table, ` +
    `${t.explained} explained, ${t.unlisted} not in the table`)
for (const [id, why] of explained) console.log(`# ${id}: ${why}`)
const reasons = new Map()
for (const [id, why] of skipped) {
  if (args.verbose) console.log(`# not compared: ${id}: ${why}`)
  const key = why.replace(/\d+/g, 'N')
  reasons.set(key, (reasons.get(key) ?? 0) + 1)
}
for (const [why, n] of reasons) console.log(`# not compared: ${n}: ${why}`)
console.log(`${results.passed} passed, ${results.failed} failed`)
process.exitCode = results.failed || !results.passed ? 1 : 0
