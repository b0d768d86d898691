// SPDX-License-Identifier: Apache-2.0
// ClientHello: what the client said before anything was agreed.

/** Cursor over a Buffer; every read past the end throws RangeError. */
class Cursor {
  constructor(buf) { this.buf = buf; this.at = 0; }
  get left() { return this.buf.length - this.at; }
  u8() { const v = this.buf.readUInt8(this.at); this.at += 1; return v; }
  u16() { const v = this.buf.readUInt16BE(this.at); this.at += 2; return v; }
  u24() { return (this.u8() << 16) | this.u16(); }
  take(n) {
    if (n > this.left) throw new RangeError('short');
    this.at += n;
    return this.buf.subarray(this.at - n, this.at);
  }
  sub(n) { return new Cursor(this.take(n)); }
}

const EXT = { sni: 0, alpn: 16, preSharedKey: 41, versions: 43, ticket: 35, ech: 0xfe0d };

function extension(type, c, out) {
  switch (type) {
  case EXT.sni: {
    const list = c.sub(c.u16());
    if (list.u8() === 0) out.sni = list.take(list.u16()).toString('latin1').toLowerCase();
    break;
  }
  case EXT.alpn: {
    const list = c.sub(c.u16());
    while (list.left) out.alpn.push(list.take(list.u8()).toString('latin1'));
    break;
  }
  case EXT.preSharedKey: out.offersResumption = true; break;
  case EXT.ticket: if (c.left) out.offersResumption = true; break;
  case EXT.ech: out.ech = true; break;
  default:
  }
}

/** The handshake bytes of the first records, or null while more is needed. */
function handshakeBytes(buf) {
  const parts = [];
  let want = Infinity, have = 0, at = 0;
  while (have < want) {
    if (buf.length < at + 5) return null;
    if (buf[at] !== 0x16) throw new RangeError('not a handshake record');
    const len = buf.readUInt16BE(at + 3);
    if (buf.length < at + 5 + len) return null;
    parts.push(buf.subarray(at + 5, at + 5 + len));
    have += len;
    at += 5 + len;
    if (want === Infinity && have >= 4) want = 4 + Buffer.concat(parts).readUIntBE(1, 3);
  }
  return Buffer.concat(parts).subarray(0, want);
}

/** null: more bytes needed; {tls:false}: no ClientHello; else its facts. */
export function parseHello(buf) {
  if (buf.length && buf[0] !== 0x16) return { tls: false };
  try {
    const bytes = handshakeBytes(buf);
    if (!bytes) return null;
    const out = { tls: true, sni: '', alpn: [], ech: false, offersResumption: false };
    const c = new Cursor(bytes);
    if (c.u8() !== 1) return { tls: false };
    c.u24();
    c.take(2 + 32);
    c.take(c.u8());
    c.take(c.u16());
    c.take(c.u8());
    if (!c.left) return out;
    const exts = c.sub(c.u16());
    while (exts.left) {
      const type = exts.u16();
      extension(type, exts.sub(exts.u16()), out);
    }
    return out;
  } catch (e) {
    if (e instanceof RangeError) return { tls: false };
    throw e;
  }
}
