// SPDX-License-Identifier: Apache-2.0
// True token counts within recorded streams, by the models' public tokenizers, for estimate_eval.
//
//   node token-truth.mjs FOLDER >truth.json
//
// Only streams of text alone, of models whose tokenizer is public, and only where the tokenizer's
// count of the whole text is the number that the provider reported (less reasoning) within two
// tokens: {"id": [[bytes of text so far, tokens so far], …]}, after every event.
import fs from 'node:fs';
import path from 'node:path';
import { getEncoding } from 'js-tiktoken';

const WITHIN = 2;
const encodings = new Map();

function encodingFor(model) {
  if (/(^|\/)(gpt-4o|gpt-4\.1|gpt-5|o[134])/.test(model)) return 'o200k_base';
  if (/(^|\/)(gpt-3\.5-turbo|gpt-4)(-|$)/.test(model)) return 'cl100k_base';
  return null;
}

const count = (name, text) => {
  if (!encodings.has(name)) encodings.set(name, getEncoding(name));
  return encodings.get(name).encode(text, 'all').length;
};

function* events(body) {
  for (const block of body.split(/\r?\n\r?\n/)) {
    const data = block.split(/\r?\n/).filter((l) => l.startsWith('data:')).map((l) => l.slice(5).trim()).join('\n');
    if (!data || data === '[DONE]') continue;
    try { yield JSON.parse(data); } catch { return; }
  }
}

/** The event's text; null when there is output of another kind. */
function textOf(event) {
  if (Array.isArray(event.choices)) {
    let text = '';
    for (const c of event.choices) {
      const d = c.delta ?? {};
      if (d.tool_calls || d.reasoning || d.reasoning_content || d.refusal || c.index) return null;
      text += typeof d.content === 'string' ? d.content : '';
    }
    return text;
  }
  if (!String(event.type).endsWith('.delta')) return '';
  return event.type === 'response.output_text.delta' ? event.delta : null;
}

function truthOf(exchange) {
  const t = exchange.truth;
  const name = encodingFor(t.model_responded ?? t.model_requested ?? '');
  if (!name || !t.streaming || !t.usage_reported || !t.output_tokens_total || !exchange.response.body) return null;
  const hidden = t.reasoning_tokens ?? 0;
  const steps = [];
  let text = '';
  for (const event of events(exchange.response.body)) {
    const piece = textOf(event);
    if (piece === null) return null;
    if (!piece) continue;
    text += piece;
    steps.push([Buffer.byteLength(text), hidden + count(name, text)]);
  }
  if (!steps.length || Math.abs(steps.at(-1)[1] - t.output_tokens_total) > WITHIN) return null;
  return steps;
}

const out = {};
for (const file of fs.readdirSync(process.argv[2], { recursive: true })) {
  if (!file.endsWith('.json') || path.basename(file) === 'index.json') continue;
  const exchange = JSON.parse(fs.readFileSync(path.join(process.argv[2], file), 'utf8'));
  const steps = exchange.truth ? truthOf(exchange) : null;
  if (steps) out[exchange.id] = steps;
}
console.log(JSON.stringify(out));
