// SPDX-License-Identifier: Apache-2.0
// The provider simulator: TLS on :443 for every host of the lab, answers from
// exchange files.
//
//   EXCHANGES=DIR     exchange files        SIM_PKI=DIR      certificates (sim/pki)
//   SIM_CONTROL=PATH  control, Unix socket  SIM_CONTROL_PORT control on loopback
//   SIM_PORT          default 443           SIM_RECORD=DIR   octets per connection
//   SIM_LATENCY_MS    default latency       REPLAY_HEADER    default x-replay-id
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { controlServer } from './control.mjs';
import { Library, loadExchanges } from './exchanges.mjs';
import { Front } from './front.mjs';

const env = process.env;
const CONNECTIONS_MAX = 5000; // facts kept for GET /connections

class State {
  constructor() {
    this.library = new Library(loadExchanges(env.EXCHANGES));
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

const server = net.createServer({ noDelay: true }, (socket) => front.accept(socket));
server.listen({ port, host: '::', backlog: 1024 }, () => {
  const control = controlServer(state);
  if (env.SIM_CONTROL) {
    fs.rmSync(env.SIM_CONTROL, { force: true });
    control.listen(env.SIM_CONTROL);
  }
  if (env.SIM_CONTROL_PORT) controlServer(state).listen(Number(env.SIM_CONTROL_PORT), '127.0.0.1');
  console.log(`simulator: port ${port}, ${state.library.size} exchanges`);
});
