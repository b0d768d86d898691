// SPDX-License-Identifier: Apache-2.0
// From a TCP connection to requests: ClientHello, TLS by host, HTTP/1.1 or HTTP/2.
import fs from 'node:fs';
import http from 'node:http';
import http2 from 'node:http2';
import path from 'node:path';
import tls from 'node:tls';
import crypto from 'node:crypto';
import { answer } from './answer.mjs';
import { behaviourFor } from './behaviour.mjs';
import { parseHello } from './hello.mjs';
import { SessionServer } from './sessions.mjs';
import { Wire } from './wire.mjs';

const FALLBACK_HOST = 'www.example.com';
const HELLO_MAX = 65536;

const plainAddress = (a) => (a ?? '').replace(/^::ffff:/, '');

export class Front {
  constructor(state) {
    this.state = state;
    this.contexts = new Map();
    this.http1 = http.createServer({ keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0,
      connectionsCheckingInterval: 1 << 30 }, (req, res) => this.#request(req, res));
    this.http1.timeout = 0;
    this.sessions = new SessionServer(state);
    this.http1.on('upgrade', (req, socket, head) => this.sessions.accept(req, socket, head));
    this.http1.on('clientError', (_e, socket) => socket.destroy());
    this.http2 = http2.createServer({}, (req, res) => this.#request(req, res));
    this.http2.on('sessionError', () => {});
    this.tls = {
      both: this.#tlsServer({ ALPNProtocols: ['h2', 'http/1.1'] }),
      http1: this.#tlsServer({ ALPNProtocols: ['http/1.1'] }),
      mtls: this.#tlsServer({ ALPNProtocols: ['h2', 'http/1.1'], requestCert: true,
        rejectUnauthorized: true }),
    };
    state.onCertsChanged = () => this.#newTicketKeys();
  }

  /** Reads the ClientHello, then hands the connection (bytes put back) to TLS. */
  accept(socket) {
    let seen = Buffer.alloc(0);
    socket.on('error', () => {});
    const onData = (d) => {
      seen = Buffer.concat([seen, d]);
      const hello = parseHello(seen);
      if (!hello && seen.length < HELLO_MAX) return;
      socket.off('data', onData);
      socket.pause();
      this.#route(socket, seen, hello ?? { tls: false });
    };
    socket.on('data', onData);
  }

  /** HTTP without TLS; a mode for ":PORT" holds for all that comes in there. */
  acceptClear(socket) {
    const { state } = this;
    const mode = state.modes[`:${socket.localPort}`] ?? 'http';
    socket.on('error', () => {});
    const facts = state.connection({ sni: '', port: socket.localPort,
      client: plainAddress(socket.remoteAddress), client_port: socket.remotePort,
      address: plainAddress(socket.localAddress) });
    if (mode === 'refuse') socket.resetAndDestroy();
    else if (mode === 'echo') socket.pipe(socket);
    else if (mode === 'http') this.#serve(socket, socket, facts);
  }

  #route(socket, seen, hello) {
    const { state } = this;
    if (!hello.tls) {
      state.stats.not_tls += 1;
      socket.destroy();
      return;
    }
    const mode = state.modes[hello.sni] ?? 'http';
    socket.lab = state.connection({ sni: hello.sni, alpn_offered: hello.alpn, ech: hello.ech,
      offers_resumption: hello.offersResumption, client: plainAddress(socket.remoteAddress),
      client_port: socket.remotePort, address: plainAddress(socket.localAddress) });
    if (mode === 'refuse') {
      socket.resetAndDestroy();
      return;
    }
    if (mode === 'silent') return; // accepts and never says a word
    socket.labMode = mode;
    socket.unshift(seen);
    this.tls[mode === 'http1' || mode === 'mtls' ? mode : 'both'].emit('connection', socket);
  }

  #tlsServer(options) {
    const server = tls.createServer({ ...options, ...this.#pair(FALLBACK_HOST, 'good'),
      SNICallback: (name, done) => {
        try {
          done(null, this.#context(name.toLowerCase()));
        } catch (e) {
          done(e);
        }
      } });
    server.on('tlsClientError', () => { this.state.stats.tls_failed += 1; });
    server.on('secureConnection', (s) => this.#secure(s));
    return server;
  }

  #pair(host, kind) {
    const { pki } = this.state;
    const file = { good: `leaf/${host}.crt`, expired: `bad/expired/${host}.crt`,
      selfsigned: `bad/selfsigned/${host}.crt`, wrongname: `leaf/${FALLBACK_HOST}.crt` }[kind];
    const at = path.join(pki, file);
    const cert = fs.readFileSync(fs.existsSync(at) ? at : path.join(pki, `leaf/${FALLBACK_HOST}.crt`));
    const ca = fs.readFileSync(path.join(pki, 'root.crt')); // of client certificates
    return { cert, ca, key: fs.readFileSync(path.join(pki, 'leaf.key')) };
  }

  #context(host) {
    const always = { 'expired.example.com': 'expired', 'self-signed.example.com': 'selfsigned',
      'wrong-name.example.com': 'wrongname' };
    const kind = this.state.certs[host] ?? always[host] ?? 'good';
    const key = `${kind} ${host}`;
    if (!this.contexts.has(key))
      this.contexts.set(key, tls.createSecureContext(this.#pair(host, kind)));
    return this.contexts.get(key);
  }

  // A resumed session would not show the new certificate.
  #newTicketKeys() {
    for (const server of Object.values(this.tls)) server.setTicketKeys(crypto.randomBytes(48));
    this.contexts.clear();
  }

  #secure(s) {
    const raw = s._parent ?? s;
    const facts = raw.lab ?? {};
    Object.assign(facts, { alpn: s.alpnProtocol || '', version: s.getProtocol(),
      resumed: s.isSessionReused() });
    s.on('error', () => {});
    if (raw.labMode === 'echo') {
      s.pipe(s);
      return;
    }
    s.lab = facts;
    if (s.alpnProtocol === 'h2' && !this.state.record) {
      this.http2.emit('connection', s);
      return;
    }
    this.#serve(s, raw, facts);
  }

  #serve(s, raw, facts) {
    const { record } = this.state;
    if (record) fs.mkdirSync(record, { recursive: true });
    const name = `${String(facts.n).padStart(6, '0')}-${facts.sni || 'none'}`;
    const wire = new Wire(s, raw, record ? path.join(record, name) : '');
    wire.lab = facts;
    wire.on('error', () => {});
    (s.alpnProtocol === 'h2' ? this.http2 : this.http1).emit('connection', wire);
  }

  async #request(req, res) {
    const { state } = this;
    const socket = req.httpVersionMajor === 2 ? req.stream?.session?.socket : req.socket;
    const facts = socket?.lab ?? socket?.stream?.lab; // the latter: HTTP/2 on a recorded wire
    if (!facts) return; // gone before it was looked at
    facts.requests += 1;
    state.stats.requests_begun += 1;
    const log = { connection: facts.n, replay_id: req.headers[state.replayHeader] ?? '',
      method: req.method, host: this.#host(req), path: req.url.replace(/([?&]key=)[^&]*/, '$1-'),
      client: facts.client, http: req.httpVersion };
    req.on('error', () => {});
    res.on('error', () => {});
    try {
      const completed = await this.#respond(req, res, log);
      if (completed) {
        state.stats.requests_completed += 1;
        state.stats.completed_by_host[log.host] = (state.stats.completed_by_host[log.host] ?? 0) + 1;
      } else state.stats.requests_broken += 1;
      state.logRequest({ ...log, completed });
    } catch (e) {
      state.stats.requests_broken += 1;
      if (!req.destroyed) console.error(`${log.method} ${log.host}${log.path}: ${e.stack}`);
      res.destroy?.();
    }
  }

  #host(req) {
    return (req.headers[':authority'] ?? req.headers.host ?? '').replace(/:\d+$/, '').toLowerCase();
  }

  async #respond(req, res, log) {
    const { state } = this;
    const parts = [];
    for await (const p of req) parts.push(p);
    const body = Buffer.concat(parts);
    log.request_body_bytes = body.length;
    let model = /\/models\/([^/:]+):/.exec(req.url)?.[1];
    if (!model) {
      try { model = JSON.parse(body.toString('utf8')).model; } catch { model = ''; }
    }
    const found = state.library.pick(log.replay_id, req.method, log.host, req.url, body);
    log.exchange = found?.id ?? '';
    const b = behaviourFor(state.defaults, state.rules,
      { host: log.host, path: req.url, client: log.client, model, headers: req.headers });
    if (!found && !b.status) {
      state.stats.not_found += 1;
      return this.#notFound(req, res, log);
    }
    return answer(req, res, found, b, Boolean(log.replay_id));
  }

  #notFound(req, res, log) {
    const text = JSON.stringify({ error: { type: 'no_exchange', code: null, param: null,
      message: `the simulator has no exchange for ${log.replay_id || `${log.method} ${log.host}${log.path}`}` } });
    res.writeHead(404, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
    res.end(text);
    return true;
  }
}
