// SPDX-License-Identifier: Apache-2.0
// An ordinary application of the npm package `@anthropic-ai/sdk`.
import Anthropic from '@anthropic-ai/sdk';
import { options, run } from './common.mjs';

const o = options({ api: 'messages', model: 'claude-haiku-4-5' });
process.env.ANTHROPIC_API_KEY ??= 'sk-ant-lab-0000';
const client = new Anthropic({ maxRetries: o.retries, defaultHeaders: o.headers });

async function messages(stream) {
  const body = { model: o.model, max_tokens: o.maxTokens,
    messages: [{ role: 'user', content: o.prompt }] };
  const m = stream ? await client.messages.stream(body).finalMessage()
    : await client.messages.create(body);
  return { model: m.model, usage: m.usage, id: m.id, request_id: m._request_id,
    finish: m.stop_reason,
    text: m.content.filter((b) => b.type === 'text').map((b) => b.text).join('') };
}

await run('anthropic', o, messages);
