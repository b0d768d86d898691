// SPDX-License-Identifier: Apache-2.0
// An ordinary application of the npm packages `ai` and `@ai-sdk/*`.
//
//   --api openai|openai-chat|anthropic|google|groq   which provider package (default openai)
import { generateText, streamText } from 'ai';
import { anthropic } from '@ai-sdk/anthropic';
import { google } from '@ai-sdk/google';
import { groq } from '@ai-sdk/groq';
import { openai } from '@ai-sdk/openai';
import { options, run } from './common.mjs';

const o = options({ api: 'openai' });
process.env.OPENAI_API_KEY ??= 'sk-lab-0000';
process.env.ANTHROPIC_API_KEY ??= 'sk-ant-lab-0000';
process.env.GOOGLE_GENERATIVE_AI_API_KEY ??= 'lab-0000';
process.env.GROQ_API_KEY ??= 'gsk_lab0000';

const model = {
  openai: () => openai(o.model ?? 'gpt-4o-mini'),
  'openai-chat': () => openai.chat(o.model ?? 'gpt-4o-mini'),
  anthropic: () => anthropic(o.model ?? 'claude-haiku-4-5'),
  google: () => google(o.model ?? 'gemini-2.5-flash'),
  groq: () => groq(o.model ?? 'llama-3.3-70b-versatile'),
}[o.api]();

async function generate(stream) {
  const ask = { model, prompt: o.prompt, maxOutputTokens: o.maxTokens, maxRetries: o.retries,
    headers: o.headers };
  let broken;
  const r = stream ? streamText({ ...ask, onError: ({ error }) => { broken = error; } })
    : await generateText(ask);
  const text = await r.text;
  if (broken) throw broken;
  const [usage, response] = [await r.usage, await r.response];
  return { model: response.modelId, id: response.id, usage: usage.raw ?? usage,
    finish: await r.rawFinishReason, text };
}

await run('ai', o, generate);
