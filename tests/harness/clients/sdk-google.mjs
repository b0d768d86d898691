// SPDX-License-Identifier: Apache-2.0
// An ordinary application of the npm package `@google/genai`.
import { GoogleGenAI } from '@google/genai';
import { options, run } from './common.mjs';

const o = options({ api: 'generateContent', model: 'gemini-2.5-flash' });
const client = new GoogleGenAI({ apiKey: process.env.GEMINI_API_KEY ?? 'lab-0000',
  httpOptions: { headers: o.headers } });

async function generate(stream) {
  const body = { model: o.model, contents: o.prompt, config: { maxOutputTokens: o.maxTokens } };
  const out = { model: null, usage: null, finish: null, text: '' };
  const take = (r) => {
    out.model = r.modelVersion ?? out.model;
    out.id = r.responseId ?? out.id;
    out.usage = r.usageMetadata ?? out.usage;
    out.finish = r.candidates?.[0]?.finishReason ?? out.finish;
    for (const p of r.candidates?.[0]?.content?.parts ?? []) out.text += p.text ?? '';
  };
  if (stream) for await (const r of await client.models.generateContentStream(body)) take(r);
  else take(await client.models.generateContent(body));
  return out;
}

await run('google', o, generate);
