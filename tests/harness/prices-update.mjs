#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Writes the price table (prices.json) from the npm package @pydantic/genai-prices.
//
//   prices-update.mjs [--out FILE] [--module DIR] [--version X]
//
// --module: an installed package; without it the package (the newest, or --version)
// is fetched by npm into a temporary folder.
import { execFileSync } from 'node:child_process'
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const PACKAGE = '@pydantic/genai-prices'

// What provider profiles call a provider that the table knows under another id.
const NAMES = {
  'google': ['gemini', 'vertex'],
  'aws': ['bedrock'],
  'x-ai': ['xai'],
  'voyageai': ['voyage'],
  'moonshotai': ['moonshot'],
}

// Keys of the package that the agent does not count; told at the end.
const KNOWN = new RegExp('^(' + [
  '(input|output)(_(text|audio|image|video))?_mtok',
  'input(_(text|audio|image|video))?_tool_mtok',
  'output(_(text|audio|image|video))?_reasoning_mtok',
  'cache(_(text|audio|image|video))?_(read|write|write_5m|write_1h)_mtok',
  '(input_|output_)?audio_hours', 'input_document_kpages', 'web_searches_kcount',
  'rerank_searches_kcount', 'requests_kcount',
].join('|') + ')$')

// Recordings shorter than this are billed as this long. [s]
const MIN_SECONDS = { 'groq/whisper-large-v3': 10, 'groq/whisper-large-v3-turbo': 10 }

const { values: args } = parseArgs({
  options: {
    out: { type: 'string', default: 'agent/prices.json' },
    module: { type: 'string' },
    version: { type: 'string', default: 'latest' },
  },
})
const ignored = new Map()

function fetchPackage() {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'lectr-prices-'))
  process.on('exit', () => fs.rmSync(dir, { recursive: true, force: true }))
  fs.writeFileSync(path.join(dir, 'package.json'), '{"private":true}')
  execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund', '--silent',
    `${PACKAGE}@${args.version}`], { cwd: dir, stdio: ['ignore', 'ignore', 'inherit'] })
  return path.join(dir, 'node_modules', PACKAGE)
}

// A float of the package as the decimal that was meant: 0.18000000000000002 is 0.18.
function decimal(number) {
  const text = Number(number.toPrecision(12)).toFixed(12)
  return text.replace(/\.?0+$/, '') || '0'
}

// Where the group that opens at `at` closes.
function closing(pattern, at) {
  let depth = 0, inSet = false
  for (let i = at; i < pattern.length; i++) {
    const c = pattern[i]
    if (c === '\\') i++
    else if (inSet) inSet = c !== ']'
    else if (c === '[') inSet = true
    else if (c === '(') depth++
    else if (c === ')' && --depth === 0) return i
  }
  throw new Error(`unbalanced: ${pattern}`)
}

function posix(pattern) {
  const out = pattern.replaceAll('(?:', '(').replaceAll('\\d', '[0-9]').replaceAll('\\/', '/')
  if (/\(\?|\\[A-Za-z0-9]|[*+?}]\?/.test(out))
    throw new Error(`no POSIX form for the regular expression ${pattern}`)
  return out
}

// JavaScript's "^(?!A)B" is "not ^A, and ^B".
function regexRule(pattern) {
  if (!pattern.startsWith('^(?!')) return { regex: posix(pattern) }
  const end = closing(pattern, 1)
  const not = { not: { regex: posix('^' + pattern.slice(4, end)) } }
  const rest = pattern.slice(end + 1)
  return rest ? { and: [not, regexRule('^' + rest)] } : not
}

function rule(match) {
  const [[kind, value], ...more] = Object.entries(match)
  if (more.length) throw new Error(`more than one rule: ${JSON.stringify(match)}`)
  if (kind === 'or' || kind === 'and') return { [kind]: value.map(rule) }
  if (kind === 'regex') return regexRule(value)
  if (!['equals', 'starts_with', 'ends_with', 'contains'].includes(kind))
    throw new Error(`unknown rule: ${kind}`)
  return { [kind]: value.toLowerCase() }
}

function usd(prices) {
  const out = {}
  for (const [key, value] of Object.entries(prices)) {
    if (value === undefined) continue
    if (!KNOWN.test(key)) {
      ignored.set(key, (ignored.get(key) ?? 0) + 1)
      continue
    }
    out[key] = typeof value === 'number' ? decimal(value) : {
      base: decimal(value.base),
      tiers: [...value.tiers].sort((a, b) => a.start - b.start)
        .map((t) => ({ above: t.start, price: decimal(t.price) })),
    }
  }
  return out
}

function secondOfDay(text) {
  const t = new Date(`1970-01-01T${text}`)
  if (Number.isNaN(t.getTime())) throw new Error(`unknown time of day: ${text}`)
  return ((t.getTime() / 1000) % 86400 + 86400) % 86400
}

function period({ constraint, prices }) {
  const out = {}
  if (constraint?.type === 'start_date') {
    out.from_unix_s = Date.parse(`${constraint.start_date}T00:00:00Z`) / 1000
    if (!Number.isInteger(out.from_unix_s)) throw new Error(`date: ${constraint.start_date}`)
  } else if (constraint?.type === 'time_of_date') {
    out.daily = [secondOfDay(constraint.start_time), secondOfDay(constraint.end_time)]
  } else if (constraint) {
    throw new Error(`unknown constraint: ${JSON.stringify(constraint)}`)
  }
  return { ...out, usd: usd(prices) }
}

function model(provider, m) {
  const periods = Array.isArray(m.prices) ? m.prices : [{ prices: m.prices }]
  const min = MIN_SECONDS[`${provider.id}/${m.id}`]
  return {
    id: m.id, match: rule(m.match), ...(min ? { min_seconds: min } : {}),
    prices: periods.map(period),
  }
}

// A pattern for a URL; the agent knows the host alone.
function hostRegex(pattern) {
  const text = posix(pattern)
  return text.startsWith('^') ? text : `^(${text})`
}

function provider(p) {
  return {
    id: p.id, names: NAMES[p.id] ?? [], host: hostRegex(p.api_pattern),
    fallback: p.fallback_model_providers ?? [],
    models: p.models.map((m) => model(p, m)),
  }
}

// One model a line, so that an update shows as the lines that changed.
function print(table) {
  const lines = ['{']
  for (const key of ['format', 'version', 'source', 'licence', 'licence_text'])
    lines.push(`  ${JSON.stringify(key)}: ${JSON.stringify(table[key])},`)
  lines.push('  "providers": [')
  table.providers.forEach((p, i) => {
    const { models, ...rest } = p
    lines.push(`    {${JSON.stringify(rest).slice(1, -1)}, "models": [`)
    models.forEach((m, k) =>
      lines.push(`      ${JSON.stringify(m)}${k < models.length - 1 ? ',' : ''}`))
    lines.push(`    ]}${i < table.providers.length - 1 ? ',' : ''}`)
  })
  lines.push('  ]', '}')
  return lines.join('\n') + '\n'
}

const dir = args.module ?? fetchPackage()
const info = JSON.parse(fs.readFileSync(path.join(dir, 'package.json'), 'utf8'))
const entry = path.join(dir, info.module ?? info.main)
const { waitForUpdate } = await import(pathToFileURL(path.resolve(entry)))
const table = {
  format: 1,
  version: `genai-prices ${info.version}`,
  source: `npm ${PACKAGE} ${info.version}, ${info.homepage}`,
  licence: 'MIT',
  licence_text: fs.readFileSync(path.join(dir, 'LICENSE'), 'utf8').trim(),
  providers: (await waitForUpdate()).map(provider),
}
const temporary = `${args.out}.new`
fs.writeFileSync(temporary, print(table))
fs.renameSync(temporary, args.out)
const models = table.providers.reduce((n, p) => n + p.models.length, 0)
console.log(`${args.out}: ${table.version}, ${table.providers.length} providers, ${models} models`)
if (ignored.size)
  console.log('not counted by the agent, left out: ' +
    [...ignored].map(([key, n]) => `${key} (${n})`).join(', '))
