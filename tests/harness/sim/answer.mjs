// SPDX-License-Identifier: Apache-2.0
// One exchange and one behaviour -> head, body pieces and their timing, on the wire.
import zlib from 'node:zlib';
import { once } from 'node:events';
import { bodyOf, isCut } from './exchanges.mjs';
import { splitter } from './wire.mjs';

const sleep = (ms) => new Promise((ok) => setTimeout(ok, ms));

const DECODE = { gzip: zlib.gunzipSync, br: zlib.brotliDecompressSync, deflate: zlib.inflateSync };
const ENCODE = {
  gzip: () => [zlib.createGzip(), zlib.constants.Z_SYNC_FLUSH],
  deflate: () => [zlib.createDeflate(), zlib.constants.Z_SYNC_FLUSH],
  br: () => [zlib.createBrotliCompress(), zlib.constants.BROTLI_OPERATION_FLUSH],
  zstd: () => [zlib.createZstdCompress(), zlib.constants.ZSTD_e_flush],
};

// Numbers below the usage objects of all families; leaves settings (max_tokens) alone.
const USAGE_NUMBER = new RegExp('("(?:prompt|completion|input|output|total|cached|reasoning|thinking|' +
  'cache_creation_input|cache_read_input|ephemeral_5m_input|ephemeral_1h_input)_tokens"|' +
  '"(?:prompt|candidates|thoughts|total|cachedContent|toolUsePrompt)TokenCount"|"tokenCount")' +
  '(\\s*:\\s*)(\\d+)', 'g');

function headerValue(headers, name) {
  return headers.find(([k]) => k.toLowerCase() === name)?.[1];
}

function accepts(req, encoding) {
  return new RegExp(`\\b${encoding}\\b`).test(req.headers['accept-encoding'] ?? '');
}

function isStream(exchange) {
  return /event-stream|ndjson/.test(headerValue(exchange.response.headers, 'content-type') ?? '') ||
    exchange.truth?.framing === 'json-array';
}

/** Stream bodies at event (or line) boundaries, others whole; `chunk` overrides. */
function cutPieces(body, exchange, chunk) {
  if (chunk > 0) {
    const out = [];
    for (let at = 0; at < body.length; at += chunk) out.push(body.subarray(at, at + chunk));
    return out;
  }
  if (!isStream(exchange)) return body.length ? [body] : [];
  const text = body.toString('latin1');
  const out = [];
  const boundary = /event-stream/.test(headerValue(exchange.response.headers, 'content-type') ?? '')
    ? /\r?\n\r?\n|$/g : /\n|$/g;
  for (let at = 0; at < text.length;) {
    boundary.lastIndex = at;
    const m = boundary.exec(text);
    const end = Math.max(at + 1, m.index + m[0].length);
    out.push(body.subarray(at, end));
    at = end;
  }
  return out;
}

/** Each piece compressed and flushed, so that a stream stays a stream. */
async function encodePieces(pieces, encoding) {
  const [z, flushMode] = ENCODE[encoding]();
  const out = [];
  let have = [];
  z.on('data', (d) => have.push(d));
  for (const p of pieces) {
    z.write(p);
    await new Promise((ok) => { z.flush(flushMode, ok); });
    out.push(Buffer.concat(have));
    have = [];
  }
  z.end();
  await once(z, 'end');
  if (have.length) out.push(Buffer.concat(have));
  return out.filter((p) => p.length);
}

function alterBody(body, b) {
  let out = body;
  if (b.scale_tokens && b.scale_tokens !== 1)
    out = Buffer.from(out.toString('latin1').replace(USAGE_NUMBER,
      (_m, key, sep, n) => `${key}${sep}${Math.round(Number(n) * b.scale_tokens)}`), 'latin1');
  if (b.pad_bytes > 0 && out[0] === 0x7b)
    out = Buffer.concat([Buffer.from(`{"padding":"${'x'.repeat(b.pad_bytes)}",`), out.subarray(1)]);
  return out;
}

/** The body as it goes out and the content-encoding that names it. */
async function prepareBody(exchange, req, b, byId) {
  const r = exchange.response;
  const recorded = (r.content_encoding ?? '').toLowerCase();
  const stored = bodyOf(r);
  const altered = b.scale_tokens || b.pad_bytes || b.encoding;
  if (r.body_is_encoded && !altered && (byId || accepts(req, recorded)))
    return { pieces: cutPieces(stored, exchange, b.chunk), encoding: recorded };
  const plain = alterBody(r.body_is_encoded ? DECODE[recorded](stored) : stored, b);
  const wanted = b.encoding ?? (r.body_is_encoded && accepts(req, recorded) ? recorded : '');
  const pieces = cutPieces(plain, exchange, b.chunk);
  if (!ENCODE[wanted] || !pieces.length) return { pieces, encoding: '' };
  return { pieces: await encodePieces(pieces, wanted), encoding: wanted };
}

function framingOf(exchange, b, cutting) {
  if (b.framing) return b.framing;
  if (exchange.response.status === 204 || exchange.response.status === 304) return 'none';
  const te = headerValue(exchange.response.headers, 'transfer-encoding');
  return isStream(exchange) || cutting || /chunked/i.test(te ?? '') ? 'chunked' : 'length';
}

/** Recorded headers in their order; framing and encoding recomputed where they stood. */
function headersFor(exchange, encoding, framing, length) {
  const out = [];
  let framed = false, encoded = false;
  const frame = () => {
    if (framed) return;
    framed = true;
    if (framing === 'length') out.push(['content-length', String(length)]);
    if (framing === 'chunked') out.push(['transfer-encoding', 'chunked']);
    if (framing === 'close') out.push(['connection', 'close']);
  };
  for (const [k, v] of exchange.response.headers) {
    const name = k.toLowerCase();
    if (name === 'content-length' || name === 'transfer-encoding') frame();
    else if (name === 'content-encoding') {
      if (encoding && !encoded) out.push([k, encoding]);
      encoded = true;
    } else if (name === 'connection' && framing === 'close') continue;
    else out.push([k, v]);
  }
  if (encoding && !encoded) out.push(['content-encoding', encoding]);
  frame();
  return out;
}

const HOP = ['connection', 'keep-alive', 'transfer-encoding', 'proxy-connection', 'upgrade', 'te'];

function writeHead(req, res, exchange, headers) {
  const { status } = exchange.response;
  if (req.httpVersionMajor === 2) {
    const h = {};
    for (const [k, v] of headers) {
      const name = k.toLowerCase();
      if (HOP.includes(name)) continue;
      h[name] = name in h ? [].concat(h[name], v) : v;
    }
    res.stream.respond({ ':status': status, ...h }, { sendDate: false });
    return;
  }
  res.sendDate = false;
  for (const name of ['connection', 'content-length', 'transfer-encoding']) res.removeHeader(name);
  res.writeHead(status, exchange.response.reason || undefined, headers.flat());
  res.flushHeaders();
}

function breakOff(req, res, how) {
  if (req.httpVersionMajor === 2) {
    if (how === 'reset') res.stream.session.destroy();
    else res.stream.close(2); // INTERNAL_ERROR
    return;
  }
  req.socket.cut(how);
}

/** The answer of `status` in the words of the exchange's own family. */
function errorExchange(status, host) {
  const text = `the simulator was told to answer ${status}`;
  const google = host.endsWith('googleapis.com');
  const body = google ? { error: { code: status, message: text, status: 'UNAVAILABLE' } }
    : host.includes('anthropic') ? { type: 'error', error: { type: 'api_error', message: text } }
      : { error: { message: text, type: 'server_error', param: null, code: null } };
  return {
    id: `status-${status}`,
    request: {},
    response: { status, reason: '', headers: [['content-type', 'application/json']],
      content_encoding: null, body_is_encoded: false, body: JSON.stringify(body) },
    truth: {},
  };
}

/** Head and pieces in their time; false when the connection went away meanwhile. */
async function writeAll(req, res, { exchange, headers, pieces, gone, out, b }) {
  const wire = req.httpVersionMajor === 2 ? null : req.socket;
  writeHead(req, res, exchange, headers);
  let left = b.cut_body ?? Infinity;
  for (const [i, piece] of pieces.entries()) {
    if (b.hold_ms && i === pieces.length - 1) await sleep(b.hold_ms);
    if (out.destroyed || wire?.destroyed) return false;
    const part = piece.subarray(0, Math.min(piece.length, left));
    left -= part.length;
    if (part.length) await Promise.race([gone, new Promise((ok) => { out.write(part, ok); })]);
    if (left <= 0) break;
    if (b.event_ms && i < pieces.length - 1) await sleep(b.event_ms);
  }
  return !out.destroyed && !wire?.destroyed; // destroyed also by cut_wire
}

/**
 * Sends the answer. Resolves to true when all of it was written, false when it
 * broke off (told to, or because the client left).
 */
export async function answer(req, res, found, b, byId) {
  const exchange = b.status ? errorExchange(b.status, req.headers.host ?? '') : found;
  const cutEnd = isCut(exchange);
  const { pieces, encoding } = await prepareBody(exchange, req, b, byId);
  const total = pieces.reduce((n, p) => n + p.length, 0);
  const framing = framingOf(exchange, b, cutEnd);
  const headers = headersFor(exchange, encoding, framing, total);
  const wire = req.httpVersionMajor === 2 ? null : req.socket;
  const out = req.httpVersionMajor === 2 ? res.stream : res;
  const how = b.end ?? 'fin';
  // A write on a connection that went away may never call back.
  let onClose;
  const gone = new Promise((ok) => { onClose = ok; });
  (wire ?? out).once('close', onClose);
  if (b.latency_ms) await sleep(b.latency_ms);
  if (out.destroyed) return false;
  if (wire) {
    wire.nextSize = splitter(b.split);
    wire.sent = 0;
    wire.cutAfter = b.cut_wire ?? Infinity;
    wire.cutHow = how;
  }
  try {
    if (!await writeAll(req, res, { exchange, headers, pieces, gone, out, b })) return false;
  } finally {
    (wire ?? out).off('close', onClose);
  }
  if (cutEnd || b.cut_body <= total) {
    breakOff(req, res, how);
    return false;
  }
  out.end();
  return true;
}
