// SPDX-License-Identifier: Apache-2.0
// An ordinary application of the npm package `groq-sdk`.
import Groq from 'groq-sdk';
import { options, run } from './common.mjs';

const o = options({ model: 'llama-3.3-70b-versatile' });
process.env.GROQ_API_KEY ??= 'gsk_lab0000';
const client = new Groq({ maxRetries: o.retries, defaultHeaders: o.headers });

async function chat(stream) {
  const body = { model: o.model, max_completion_tokens: o.maxTokens,
    messages: [{ role: 'user', content: o.prompt }] };
  if (!stream) {
    const r = await client.chat.completions.create(body);
    return { model: r.model, usage: r.usage ?? null, id: r.id, request_id: r.x_groq?.id,
      finish: r.choices[0]?.finish_reason, text: r.choices[0]?.message.content };
  }
  const out = { model: null, usage: null, finish: null, text: '' };
  for await (const c of await client.chat.completions.create({ ...body, stream: true })) {
    out.model = c.model ?? out.model;
    out.id = c.id ?? out.id;
    out.usage = c.x_groq?.usage ?? c.usage ?? out.usage;
    out.finish = c.choices?.[0]?.finish_reason ?? out.finish;
    out.text += c.choices?.[0]?.delta?.content ?? '';
  }
  return out;
}

await run('groq', o, chat);
