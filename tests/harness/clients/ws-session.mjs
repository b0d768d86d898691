// SPDX-License-Identifier: Apache-2.0
// An ordinary application of the npm package `ws` that plays golden sessions (sim/sessions.mjs).
//
//   ws-session.mjs [--deflate off|on|reset] [--record DIR] [--feature PREFIX] ID...
//
// --deflate reset: neither side may refer back to an earlier message, and a small window. The
// feature of each session is PREFIX + ID. --record: the octets of the plaintext, ID.sent and
// ID.received. One JSON line per session; exit code 1 when one was not as it should be.
import fs from 'node:fs';
import path from 'node:path';
import tls from 'node:tls';
import { parseArgs } from 'node:util';
import WebSocket from 'ws';
import { loadSessions, play } from '../sim/sessions.mjs';

const { values: o, positionals: ids } = parseArgs({ allowPositionals: true, options: {
  deflate: { type: 'string', default: 'off' },
  record: { type: 'string', default: '' },
  feature: { type: 'string', default: '' },
} });
const DEFLATE = {
  off: false,
  on: { threshold: 0 },
  reset: { threshold: 0, clientNoContextTakeover: true, serverNoContextTakeover: true,
    serverMaxWindowBits: 9, clientMaxWindowBits: 10 },
};

/** A TLS connection whose plaintext is written down on its way. */
function connect(host, id) {
  const socket = tls.connect({ host, port: 443, servername: host, ALPNProtocols: ['http/1.1'] });
  if (!o.record) return socket;
  fs.mkdirSync(o.record, { recursive: true });
  const [sent, received] = ['sent', 'received'].map((n) => fs.openSync(path.join(o.record, `${id}.${n}`), 'w'));
  const { write, push } = socket;
  socket.write = function recorded(chunk, encoding, done) {
    fs.writeSync(sent, typeof chunk === 'string'
      ? Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8') : chunk);
    return write.call(this, chunk, encoding, done);
  };
  socket.push = function recorded(chunk, encoding) {
    if (chunk) fs.writeSync(received, chunk);
    return push.call(this, chunk, encoding);
  };
  return socket;
}

async function one(session) {
  const ws = new WebSocket(`wss://${session.host}${session.path}`, {
    perMessageDeflate: DEFLATE[o.deflate],
    headers: { authorization: 'Bearer sk-lab-0000', 'x-replay-id': session.id,
      'x-lectr-feature': `${o.feature}${session.id}` },
    createConnection: () => connect(session.host, session.id),
  });
  const seen = await play(session, 'client', ws);
  const expected = session.steps.filter((s) => 'server' in s).length;
  return { ok: !seen.error && seen.wrong === 0 && seen.received === expected, id: session.id,
    extensions: ws.extensions, ...seen };
}

for (const session of loadSessions().filter((s) => !ids.length || ids.includes(s.id))) {
  const line = await one(session);
  console.log(JSON.stringify(line));
  if (!line.ok) process.exitCode = 1;
}
