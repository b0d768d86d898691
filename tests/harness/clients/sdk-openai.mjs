// SPDX-License-Identifier: Apache-2.0
// An ordinary application of the npm package `openai`.
import OpenAI from 'openai';
import { options, run } from './common.mjs';

const o = options({ model: 'gpt-4o-mini' });
process.env.OPENAI_API_KEY ??= 'sk-lab-0000';
const client = new OpenAI({ maxRetries: o.retries, defaultHeaders: o.headers });

async function chat(stream) {
  const body = { model: o.model, max_completion_tokens: o.maxTokens,
    messages: [{ role: 'user', content: o.prompt }] };
  if (!stream) {
    const r = await client.chat.completions.create(body);
    return { model: r.model, usage: r.usage ?? null, id: r.id, request_id: r._request_id,
      finish: r.choices[0]?.finish_reason, text: r.choices[0]?.message.content };
  }
  const out = { model: null, usage: null, finish: null, text: '' };
  const chunks = await client.chat.completions.create(
    { ...body, stream: true, stream_options: { include_usage: true } });
  for await (const c of chunks) {
    out.model = c.model;
    out.id = c.id;
    out.usage = c.usage ?? out.usage;
    out.finish = c.choices[0]?.finish_reason ?? out.finish;
    out.text += c.choices[0]?.delta?.content ?? '';
  }
  return out;
}

async function responses(stream) {
  const body = { model: o.model, max_output_tokens: o.maxTokens, input: o.prompt };
  if (!stream) {
    const r = await client.responses.create(body);
    return { model: r.model, usage: r.usage ?? null, id: r.id, request_id: r._request_id,
      finish: r.incomplete_details?.reason ?? r.status, text: r.output_text };
  }
  const out = { model: null, usage: null, finish: null, text: '' };
  for await (const e of await client.responses.create({ ...body, stream: true })) {
    if (e.type === 'response.output_text.delta') out.text += e.delta;
    if (!/^response\.(completed|incomplete|failed)$/.test(e.type)) continue;
    const r = e.response;
    Object.assign(out, { model: r.model, usage: r.usage, id: r.id,
      finish: r.incomplete_details?.reason ?? r.status });
  }
  return out;
}

await run('openai', o, { chat, responses }[o.api]);
