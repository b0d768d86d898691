// SPDX-License-Identifier: Apache-2.0
// What the demo applications share: their options, and one JSON line per call.
//
//   --stream             ask for a stream; --mix: every other call does
//   --api NAME           where an SDK has several (chat, responses)
//   --model NAME         --prompt TEXT   --max-tokens N
//   --repeat N           calls, one after another (default 1; 0: until killed)
//   --parallel N         of these at a time
//   --interval MS        pause between calls
//   --every MS           begin a call so often, whether or not the last one ended
//   --retries N          the SDK's own retries (default 0)
//   --header NAME=VALUE  a further request header (repeatable)
// A line says what was negotiated: http_version, and the issuer of the provider's certificate.
import diagnostics from 'node:diagnostics_channel';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';

// Node's own fetch tells of its connections here; the last one is the one in use.
const negotiated = {};
diagnostics.subscribe('undici:client:connected', ({ socket }) => {
  if (!socket.getPeerCertificate) return;
  negotiated.http_version = { h2: '2', 'http/1.1': '1.1' }[socket.alpnProtocol] ?? '1.1';
  negotiated.issuer = socket.getPeerCertificate().issuer?.CN ?? negotiated.issuer;
});

export function options(defaults) {
  const { values: v } = parseArgs({ options: {
    stream: { type: 'boolean', default: false },
    mix: { type: 'boolean', default: false },
    api: { type: 'string', default: defaults.api ?? 'chat' },
    model: { type: 'string', default: defaults.model },
    prompt: { type: 'string', default: 'Say in one sentence why the sky is blue.' },
    'max-tokens': { type: 'string', default: '256' },
    repeat: { type: 'string', default: '1' },
    parallel: { type: 'string', default: '1' },
    interval: { type: 'string', default: '0' },
    every: { type: 'string', default: '0' },
    retries: { type: 'string', default: '0' },
    header: { type: 'string', multiple: true, default: [] },
  } });
  return { ...v, maxTokens: Number(v['max-tokens']), repeat: Number(v.repeat),
    parallel: Number(v.parallel), interval: Number(v.interval), every: Number(v.every), retries: Number(v.retries),
    headers: Object.fromEntries(v.header.map((h) => h.split(/=(.*)/s).slice(0, 2))) };
}

/**
 * Runs call(stream) as the options say. It returns {model, usage, finish, text, id};
 * text is reported by its length only. Exit code 1 if any call failed.
 */
export async function run(sdk, o, call) {
  let next = 0, failed = 0;
  async function one() {
    next += 1;
    const stream = o.mix ? next % 2 === 0 : o.stream;
    const line = { sdk, api: o.api, stream, ok: true };
    const begun = performance.now();
    try {
      const { text, ...rest } = await call(stream);
      Object.assign(line, rest, { text_chars: text?.length ?? 0 }, negotiated);
    } catch (e) {
      failed += 1;
      Object.assign(line, { ok: false, error: e.name, status: e.status ?? null,
        code: e.code ?? e.cause?.code ?? null, message: String(e.message).slice(0, 200) });
    }
    line.ms = Math.round(performance.now() - begun);
    console.log(JSON.stringify(line));
  }
  const more = () => o.repeat === 0 || next < o.repeat;
  async function worker() {
    while (more()) {
      await one();
      if (o.interval) await sleep(o.interval);
    }
  }
  async function clock() {
    const running = [];
    for (let at = performance.now(); more(); at += o.every) {
      await sleep(Math.max(0, at - performance.now()));
      running.push(one());
      if (running.length > 1000) running.splice(0, 500);
    }
    await Promise.all(running);
  }
  await (o.every ? clock() : Promise.all(Array.from({ length: o.parallel }, worker)));
  process.exitCode = failed ? 1 : 0;
}
