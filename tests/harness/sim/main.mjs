// SPDX-License-Identifier: Apache-2.0
// The provider simulator: TLS on :443 for every host of the lab, HTTP in clear on
// the ports that recordings name, answers from exchange files.
//
//   EXCHANGES=DIR     exchange files        SIM_PKI=DIR      certificates (sim/pki)
//   SIM_CONTROL=PATH  control, Unix socket  SIM_CONTROL_PORT control on loopback
//   SIM_PORT          default 443, 0: none  SIM_RECORD=DIR   octets per connection
//   SIM_CLEAR_PORTS   "80 11434"; default: those of the recordings
//   SIM_LATENCY_MS    default latency       REPLAY_HEADER    default x-replay-id
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { controlServer } from './control.mjs';
import { Library, clearPortsOf, loadExchanges } from './exchanges.mjs';
import { Front } from './front.mjs';

const env = process.env;
const CONNECTIONS_MAX = 5000; // facts kept for GET /connections

class State {
  constructor() {
    const exchanges = loadExchanges(env.EXCHANGES);
    this.library = new Library(exchanges);
    this.clearPorts = env.SIM_CLEAR_PORTS?.split(' ').map(Number) ?? clearPortsOf(exchanges);
    this.pki = env.SIM_PKI;
    this.replayHeader = (env.REPLAY_HEADER ?? 'x-replay-id').toLowerCase();
    this.record = env.SIM_RECORD ?? '';
    this.requestLog = null;
    this.reset();
  }

  reset() {
    this.defaults = env.SIM_LATENCY_MS ? { latency_ms: Number(env.SIM_LATENCY_MS) } : {};
    this.rules = [];
    this.modes = {};
    this.certs = {};
    this.connections = [];
    this.stats = { connections: 0, tls_failed: 0, not_tls: 0, requests_begun: 0,
      requests_completed: 0, requests_broken: 0, not_found: 0, completed_by_host: {} };
    this.onCertsChanged?.();
  }

  setCerts(certs) {
    this.certs = { ...this.certs, ...certs };
    this.onCertsChanged?.();
  }

  /** Facts of a new connection; the oldest are forgotten. */
  connection(facts) {
    this.stats.connections += 1;
    const c = { n: this.stats.connections, ...facts, requests: 0 };
    this.connections.push(c);
    if (this.connections.length > CONNECTIONS_MAX) this.connections.shift();
    return c;
  }

  /** One line per request, beside the recorded octets. */
  logRequest(facts) {
    if (!this.record) return;
    fs.mkdirSync(this.record, { recursive: true });
    fs.appendFileSync(path.join(this.record, 'requests.jsonl'), `${JSON.stringify(facts)}\n`);
  }
}

const state = new State();
const front = new Front(state);
const port = Number(env.SIM_PORT ?? 443);

process.on('uncaughtException', (e) => {
  console.error(e);
  process.exit(1);
});

const listen = (at, options, accept) => new Promise((ok) => {
  net.createServer({ noDelay: true, ...options }, accept)
    .listen({ port: at, host: '::', backlog: 1024 }, ok);
});
const servers = state.clearPorts.map((p) =>
  listen(p, { allowHalfOpen: true }, (socket) => front.acceptClear(socket)));
if (port) servers.push(listen(port, {}, (socket) => front.accept(socket)));
Promise.all(servers).then(() => {
  const control = controlServer(state);
  if (env.SIM_CONTROL) {
    fs.rmSync(env.SIM_CONTROL, { force: true });
    control.listen(env.SIM_CONTROL);
  }
  if (env.SIM_CONTROL_PORT) controlServer(state).listen(Number(env.SIM_CONTROL_PORT), '127.0.0.1');
  console.log(`simulator: ports ${[port, ...state.clearPorts].filter(Boolean).join(' ')}, ` +
    `${state.library.size} exchanges`);
});
