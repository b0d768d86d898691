// SPDX-License-Identifier: Apache-2.0
// The plaintext side of one TLS connection, between the TLS socket and the HTTP
// server: records the octets of both directions and shapes what is written.
import fs from 'node:fs';
import { Duplex } from 'node:stream';

/** Deterministic numbers in [0, 2^32): the same seed splits the same way. */
export function prng(seed) {
  let s = (seed >>> 0) || 1;
  return () => {
    s ^= s << 13; s >>>= 0;
    s ^= s >>> 17;
    s ^= s << 5; s >>>= 0;
    return s;
  };
}

/** "7" -> always 7 bytes; "random[:seed]" -> 1…97 bytes; "" -> no splitting. */
export function splitter(spec) {
  if (!spec) return null;
  if (/^\d+$/.test(spec)) {
    const n = Math.max(1, Number(spec));
    return () => n;
  }
  const next = prng(Number(spec.split(':')[1] ?? 1));
  return () => 1 + (next() % 97);
}

export class Wire extends Duplex {
  /** recordPath: prefix of the two files, or '' for none. */
  constructor(tls, raw, recordPath) {
    super({ allowHalfOpen: true });
    this.tls = tls;
    this.raw = raw;
    this.nextSize = null; // splitter of the answer being written
    this.cutAfter = Infinity; // wire bytes of the answer being written
    this.cutHow = 'fin';
    this.sent = 0;
    this.files = recordPath
      ? [fs.openSync(`${recordPath}.req`, 'w'), fs.openSync(`${recordPath}.res`, 'w')] : null;
    for (const name of ['remoteAddress', 'remotePort', 'localAddress', 'encrypted', 'alpnProtocol'])
      this[name] = tls[name];
    this.encrypted = true;
    tls.on('data', (d) => {
      this.#record(0, d);
      if (!this.push(d)) tls.pause();
    });
    tls.on('end', () => this.push(null));
    tls.on('error', (e) => this.destroy(e));
    tls.on('close', () => this.destroy());
  }

  setTimeout() { return this; }
  setNoDelay() { return this; }
  setKeepAlive() { return this; }

  #record(which, data) {
    if (this.files) fs.writeSync(this.files[which], data);
  }

  _read() { this.tls.resume(); }

  _write(data, _enc, done) { this.#send(data).then(() => done(), done); }

  _final(done) { this.tls.end(); done(); }

  _destroy(err, done) {
    for (const fd of this.files ?? []) fs.closeSync(fd);
    this.files = null;
    this.tls.destroy();
    done(err);
  }

  /** Ends the connection as a broken one: no close_notify; 'reset' sends RST. */
  cut(how) {
    if (how === 'reset') this.raw.resetAndDestroy();
    else this.raw.destroy();
    this.destroy();
  }

  async #send(data) {
    for (let at = 0; at < data.length && !this.destroyed;) {
      const size = Math.min(this.nextSize?.() ?? data.length, data.length - at,
        this.cutAfter - this.sent);
      const piece = data.subarray(at, at + size);
      this.#record(1, piece);
      // Awaited: pieces written in one go would share a TLS record.
      await new Promise((ok, no) => this.tls.write(piece, (e) => (e ? no(e) : ok())));
      at += size;
      this.sent += size;
      if (this.sent >= this.cutAfter) return this.cut(this.cutHow);
    }
    return undefined;
  }
}
