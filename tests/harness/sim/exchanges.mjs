// SPDX-License-Identifier: Apache-2.0
// A folder of recorded exchanges (schema 1), and which of them answers a request.
import fs from 'node:fs';
import path from 'node:path';

/** Every exchange file below `dir`, sorted by path. Files without `schema` are left out. */
export function loadExchanges(dir) {
  const files = fs.readdirSync(dir, { recursive: true })
    .filter((f) => f.endsWith('.json') && path.basename(f) !== 'index.json').sort();
  const out = [];
  for (const f of files) {
    const x = JSON.parse(fs.readFileSync(path.join(dir, f), 'utf8'));
    if (x.schema !== 1) continue;
    x.file = f;
    out.push(x);
  }
  return out;
}

export function bodyOf(part) {
  return part.body_base64 !== undefined ? Buffer.from(part.body_base64, 'base64')
    : Buffer.from(part.body ?? '', 'utf8');
}

/** Host names that DNS and certificates are needed for: real names, without port. */
export function hostsOf(exchanges) {
  const hosts = exchanges.map((x) => x.request.host.replace(/:\d+$/, ''));
  return [...new Set(hosts)]
    .filter((h) => /[a-z]/i.test(h) && !h.includes(':') && h !== 'localhost').sort();
}

/** Ports on which recordings went in clear, and Ollama's. */
export function clearPortsOf(exchanges) {
  const ports = exchanges.filter((x) => x.request.scheme === 'http')
    .map((x) => Number(/:(\d+)$/.exec(x.request.host)?.[1] ?? 80));
  return [...new Set([11434, ...ports])].sort((a, b) => a - b);
}

/** "cut off after …": the recording broke off, so the answer to it must break off too. */
export function isCut(x) {
  return /^cut off/.test(x.source?.derivation ?? '');
}

const GEMINI_MODEL = /\/models\/([^/:]+):/;

function requestKey(method, host, pathname, body) {
  const inPath = GEMINI_MODEL.exec(pathname);
  let json = null;
  try { json = JSON.parse(body.toString('utf8')); } catch { /* multipart, empty */ }
  const shape = pathname.replace(/\?.*/, '').replace(GEMINI_MODEL, '/models/*:') +
    (/[?&]alt=sse\b/.test(pathname) ? '?alt=sse' : '');
  return {
    place: `${method} ${host} ${shape}`,
    model: inPath?.[1] ?? (typeof json?.model === 'string' ? json.model : ''),
    // A stream that was asked for its usage, and one that was not, end differently.
    stream: `${/:stream/.test(pathname) || json?.stream === true}` +
      `${json?.stream_options?.include_usage === true ? '+usage' : ''}`,
  };
}

/** Answers by id, else by place + model + stream, else by place + stream; variants take turns. */
export class Library {
  constructor(exchanges) {
    this.byId = new Map(exchanges.map((x) => [x.id, x]));
    this.byKey = new Map();
    this.turns = new Map();
    for (const x of exchanges) {
      if (x.response.status >= 400 || x.response.fidelity === 'derived' || x.truth?.is_error) continue;
      const r = x.request;
      const k = requestKey(r.method, r.host.replace(/:\d+$/, ''), r.path, bodyOf(r));
      for (const key of [`${k.place} ${k.stream} ${k.model}`, `${k.place} ${k.stream}`]) {
        if (!this.byKey.has(key)) this.byKey.set(key, []);
        this.byKey.get(key).push(x);
      }
    }
  }

  get size() { return this.byId.size; }

  pick(id, method, host, pathname, body) {
    if (id) return this.byId.get(id) ?? null;
    const k = requestKey(method, host, pathname, body);
    for (const key of [`${k.place} ${k.stream} ${k.model}`, `${k.place} ${k.stream}`]) {
      const list = this.byKey.get(key);
      if (!list) continue;
      const turn = this.turns.get(key) ?? 0;
      this.turns.set(key, turn + 1);
      return list[turn % list.length];
    }
    return null;
  }
}
