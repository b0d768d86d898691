// SPDX-License-Identifier: Apache-2.0
// The control side: what tests may ask of the running simulator (JSON over HTTP).
//
//   GET  /healthz                          GET /stats   GET /connections
//   POST /reset                            counters to zero; defaults, rules, certs, modes forgotten
//   POST /defaults {behaviour}             POST /rules [rule…]   (behaviour.mjs)
//   POST /certs {HOST: good|expired|selfsigned|wrongname}
//   POST /modes {HOST: http|http1|echo|silent|mtls|refuse}   (in clear: ":PORT")
//   POST /record {"dir": DIR or ""}        octets of new connections
import http from 'node:http';
import { unknownKey } from './behaviour.mjs';

async function readJson(req) {
  const parts = [];
  for await (const p of req) parts.push(p);
  const text = Buffer.concat(parts).toString('utf8');
  return text ? JSON.parse(text) : {};
}

const known = (list) => (o) => {
  for (const v of Object.values(o)) if (!list.includes(v)) throw new Error(`unknown word ${v}`);
  return o;
};
const checkCerts = known(['good', 'expired', 'selfsigned', 'wrongname']);
const checkModes = known(['http', 'http1', 'echo', 'silent', 'mtls', 'refuse']);

function checkBehaviour(b) {
  const bad = unknownKey(b);
  if (bad) throw new Error(`unknown behaviour ${bad}`);
  return b;
}

const ROUTES = {
  'GET /healthz': () => ({ ok: true }),
  'GET /stats': (s) => ({ ...s.stats, exchanges: s.library.size }),
  'GET /connections': (s) => s.connections,
  'POST /reset': (s) => s.reset(),
  'POST /defaults': (s, b) => { s.defaults = checkBehaviour(b); },
  'POST /rules': (s, b) => { b.forEach(checkBehaviour); s.rules = b; },
  'POST /certs': (s, b) => s.setCerts(checkCerts(b)),
  'POST /modes': (s, b) => { s.modes = checkModes(b); },
  'POST /record': (s, b) => { s.record = b.dir ?? ''; },
};

export function controlServer(state) {
  return http.createServer(async (req, res) => {
    const route = ROUTES[`${req.method} ${req.url}`];
    let status = 200, body;
    try {
      if (!route) [status, body] = [404, { error: 'no such route' }];
      else body = route(state, req.method === 'POST' ? await readJson(req) : null) ?? { ok: true };
    } catch (e) {
      [status, body] = [400, { error: e.message }];
    }
    res.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
    res.end(`${JSON.stringify(body)}\n`);
  });
}
