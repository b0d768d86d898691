// SPDX-License-Identifier: Apache-2.0
// Realtime sessions (tests/golden/sessions, schema "session-1"): both ends walk the same steps, each
// sends its own and awaits the other's.
//
// A step is {"client": MESSAGE} or {"server": MESSAGE}, sent as JSON; "@audio:N" in it stands for N
// characters of base64. Or {"client_close": CODE}, {"client_cut": true}, and the same of the server.
// "truth" lists the calls that are to be told, in the order of their ends.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';
import { prng } from './wire.mjs';

const FRAGMENTS_FROM = 80000; // longer messages come in pieces, with a ping between them
const BASE64 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

function audio(length) {
  const next = prng(length);
  let out = '';
  while (out.length < length) out += BASE64[next() % 64];
  return out;
}

const textOf = (message) => JSON.stringify(message)
  .replace(/@audio:(\d+)/g, (_m, n) => audio(Number(n)));

export function loadSessions(dir = fileURLToPath(new URL('../../golden/sessions', import.meta.url))) {
  const files = fs.readdirSync(dir).filter((f) => f.endsWith('.json')).sort();
  return files.map((f) => JSON.parse(fs.readFileSync(path.join(dir, f), 'utf8')));
}

function send(ws, text, binary) {
  const data = binary ? Buffer.from(text) : text;
  if (text.length < FRAGMENTS_FROM) {
    ws.send(data, { binary });
    return;
  }
  ws.send(data.slice(0, 20000), { binary, fin: false });
  ws.ping('between');
  ws.send(data.slice(20000), { binary, fin: true });
}

/** Plays `me` ("client" or "server"); resolves to what was seen once the connection is over. */
export function play(session, me, ws) {
  const other = me === 'client' ? 'server' : 'client';
  const seen = { received: 0, wrong: 0, code: null };
  let at = 0;
  return new Promise((over) => {
    const step = () => {
      for (; at < session.steps.length; at += 1) {
        const s = session.steps[at];
        if (other in s) return;
        if (me in s) send(ws, textOf(s[me]), Boolean(session.binary));
        else if (`${me}_close` in s) ws.close(s[`${me}_close`]);
        else if (`${me}_cut` in s) ws.terminate();
        else return; // the other side ends it
      }
    };
    ws.on('message', (data) => {
      const s = session.steps[at] ?? {};
      seen.received += 1;
      if (!(other in s) || textOf(s[other]) !== data.toString('utf8')) seen.wrong += 1;
      at += 1;
      step();
    });
    ws.on('close', (code) => over({ ...seen, code, steps: at }));
    ws.on('error', (e) => { seen.error = e.code ?? e.message; });
    if (ws.readyState === ws.CONNECTING) ws.on('open', step);
    else step();
  });
}

/** The simulator's side of an upgrade; what a session is told by is the replay header. */
export class SessionServer {
  constructor(state) {
    this.state = state;
    this.byId = new Map(loadSessions().map((s) => [s.id, s]));
    this.server = new WebSocketServer({ noServer: true, perMessageDeflate: { threshold: 0 } });
  }

  accept(req, socket, head) {
    const session = this.byId.get(req.headers[this.state.replayHeader] ?? '');
    if (!session) {
      socket.end('HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}');
      return;
    }
    this.server.handleUpgrade(req, socket, head, async (ws) => {
      const seen = await play(session, 'server', ws);
      this.state.logRequest({ session: session.id, ...seen });
    });
  }
}
