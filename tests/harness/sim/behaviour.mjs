// SPDX-License-Identifier: Apache-2.0
// How an exchange is answered. Later wins: defaults, the rules that match, x-sim-* headers.
//
//   latency_ms   wait before the head              x-sim-latency-ms
//   event_ms     pause after each stream event     x-sim-event-ms
//   hold_ms      pause before the last piece       x-sim-hold-ms
//   chunk        body bytes per HTTP chunk         x-sim-chunk
//   split        plaintext bytes per TLS record:   x-sim-split
//                N, random or random:SEED
//   encoding     gzip br deflate zstd identity     x-sim-encoding
//   framing      length chunked close              x-sim-framing
//   cut_body     break off after N body bytes      x-sim-cut-body
//   cut_wire     break off after N plaintext bytes x-sim-cut-wire
//   end          fin reset (how it breaks off)     x-sim-end
//   status       answer with this error            x-sim-status
//   scale_tokens multiply every usage number       x-sim-scale-tokens
//   pad_bytes    grow a JSON object answer         x-sim-pad-bytes
//
// A rule is {"when": {"host", "path", "client": [address…], "model", "header": [name, value]},
// "every": N, …behaviour}; with `every` it holds for each Nth request that matches.

const NUMBERS = ['latency_ms', 'event_ms', 'hold_ms', 'chunk', 'cut_body', 'cut_wire', 'status',
  'scale_tokens', 'pad_bytes'];
const WORDS = ['split', 'encoding', 'framing', 'end'];
const NAMES = [...NUMBERS, ...WORDS];

function fromHeaders(headers) {
  const out = {};
  for (const name of NAMES) {
    const v = headers[`x-sim-${name.replace(/_/g, '-')}`];
    if (v !== undefined) out[name] = NUMBERS.includes(name) ? Number(v) : v;
  }
  return out;
}

function ruleMatches(when, req) {
  return Object.entries(when ?? {}).every(([k, v]) => {
    switch (k) {
    case 'host': return req.host === v;
    case 'path': return req.path.includes(v);
    case 'client': return v.includes(req.client);
    case 'model': return req.model === v;
    case 'header': return req.headers[v[0].toLowerCase()] === v[1];
    default: return false;
    }
  });
}

/** req: {host, path, client, model, headers} */
export function behaviourFor(defaults, rules, req) {
  const out = { ...defaults };
  for (const rule of rules) {
    if (!ruleMatches(rule.when, req)) continue;
    rule.matched = (rule.matched ?? 0) + 1;
    if (rule.matched % (rule.every ?? 1)) continue;
    for (const name of NAMES) if (rule[name] !== undefined) out[name] = rule[name];
  }
  return Object.assign(out, fromHeaders(req.headers));
}

/** Names the first unknown key, or '' when all are known. */
export function unknownKey(behaviour) {
  return Object.keys(behaviour).find((k) => !['when', 'every', ...NAMES].includes(k)) ?? '';
}
