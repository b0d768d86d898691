# SPDX-License-Identifier: Apache-2.0
"""Canaries: strings that must not be anywhere.

  canaries.py exchanges DIR COMPLETION LONG   chat exchanges of the four providers, plain and
      streamed, whose completions carry the string COMPLETION (schema of exchanges/); the last one,
      canary-9, is long and full of LONG
  canaries.py scan WORDS FILE...   looks for every word of the file WORDS ("name value" lines) in
      the files: as it is, and in base64 and hexadecimal; prints what it found, exit 1 if anything
"""
import base64
import json
import mmap
import os
import sys

CHUNKS = ("The answer ", "is {} ", "and {} ", "again.")


def openai_usage(n):
    return {"prompt_tokens": 11, "completion_tokens": n, "total_tokens": 11 + n}


def openai(word, host, path, model):
    head = {"id": "chatcmpl-canary", "created": 1700000000, "model": model}
    text = "".join(CHUNKS).format(word, word)
    plain = dict(head, object="chat.completion", usage=openai_usage(7), choices=[
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}])
    events = [dict(head, object="chat.completion.chunk", choices=[
        {"index": 0, "delta": {"content": c.format(word)}, "finish_reason": None}]) for c in CHUNKS]
    events.append(dict(head, object="chat.completion.chunk", usage=openai_usage(7), choices=[]))
    body = {"model": model, "messages": []}
    yield host, path, body, plain
    asked = {"stream_options": {"include_usage": True}} if host == "api.openai.com" else {}
    yield host, path, dict(body, stream=True, **asked), [(None, e) for e in events] + [(None, "[DONE]")]


def anthropic(word):
    text = "".join(CHUNKS).format(word, word)
    head = {"id": "msg_canary", "type": "message", "role": "assistant", "model": "claude-haiku-4-5"}
    usage = {"input_tokens": 11, "output_tokens": 7}
    body = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": []}
    yield "api.anthropic.com", "/v1/messages", body, dict(
        head, content=[{"type": "text", "text": text}], stop_reason="end_turn", usage=usage)
    events = [{"type": "message_start", "message": dict(head, content=[], usage=usage)},
              {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}]
    events += [{"type": "content_block_delta", "index": 0,
                "delta": {"type": "text_delta", "text": c.format(word)}} for c in CHUNKS]
    events += [{"type": "content_block_stop", "index": 0},
               {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": usage},
               {"type": "message_stop"}]
    yield "api.anthropic.com", "/v1/messages", dict(body, stream=True), [(e["type"], e) for e in events]


def gemini(word):
    host, path = "generativelanguage.googleapis.com", "/v1beta/models/gemini-2.5-flash:"
    usage = {"promptTokenCount": 11, "candidatesTokenCount": 7, "totalTokenCount": 18}

    def answer(text, **rest):
        return dict({"candidates": [{"content": {"parts": [{"text": text}], "role": "model"},
                                     "index": 0, **rest}], "modelVersion": "gemini-2.5-flash",
                     "usageMetadata": usage, "responseId": "canary"})
    text = "".join(CHUNKS).format(word, word)
    yield host, path + "generateContent", {"contents": []}, answer(text, finishReason="STOP")
    yield host, path + "streamGenerateContent?alt=sse", {"contents": []}, [
        (None, answer(c.format(word))) for c in CHUNKS[:-1]] + [
        (None, answer(CHUNKS[-1], finishReason="STOP"))]


def error(word):
    """An error whose message repeats the prompt, as some do."""
    return "api.openai.com", "/v1/embeddings", {"model": "gpt-4o-mini", "input": ""}, {
        "error": {"type": "invalid_request_error", "code": None, "message": f"cannot embed {word}"}}


def sse(events):
    return "".join((f"event: {name}\n" if name else "") +
                   f"data: {e if isinstance(e, str) else json.dumps(e)}\n\n" for name, e in events)


def long_answer(word):
    *_, (host, path, body, answer) = list(openai(word, "api.openai.com", "/v1/completions", "gpt-4o-mini"))[:1]
    answer["choices"][0]["message"]["content"] = f"{word} " * 400000  # more than socket buffers take
    return host, path, body, answer


def exchanges(folder, word, long_word):
    os.makedirs(folder, exist_ok=True)
    cases = [*openai(word, "api.openai.com", "/v1/chat/completions", "gpt-4o-mini"),
             *openai(word, "api.groq.com", "/openai/v1/chat/completions", "llama-3.3-70b-versatile"),
             *anthropic(word), *gemini(word), error(word), long_answer(long_word)]
    for n, (host, path, body, answer) in enumerate(cases):
        stream = isinstance(answer, list)
        x = {"schema": 1, "id": f"canary-{n}", "provider": host.split(".")[1], "source": {},
             "request": {"method": "POST", "scheme": "https", "host": host, "path": path,
                         "headers": [], "body": json.dumps(body)},
             "response": {"status": 400 if "error" in answer else 200, "reason": "", "headers": [
                 ["content-type", "text/event-stream" if stream else "application/json"]],
                 "body": sse(answer) if stream else json.dumps(answer), "content_encoding": None,
                 "body_is_encoded": False}, "truth": {}}
        with open(f"{folder}/canary-{n}.json", "w", encoding="utf-8") as f:
            json.dump(x, f)


def forms(value):
    raw = value.encode()
    yield "plain", raw
    yield "hexadecimal", raw.hex().encode()
    for shift in range(3):  # the part of its base64 that does not depend on its neighbours
        yield "base64", base64.b64encode(b"\0" * shift + raw)[4 if shift else 0:-4]


def scan(words, files):
    found = 0
    with open(words, encoding="utf-8") as f:
        wanted = [(line.split()[0], form, data) for line in f for form, data in forms(line.split()[1])]
    for file in files:
        if not os.path.isfile(file) or not os.path.getsize(file):
            continue
        with open(file, "rb") as f, mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ) as data:
            for name, form, word in wanted:
                at, count = data.find(word), 0
                first = at
                while at >= 0:
                    count += 1
                    at = data.find(word, at + 1)
                if count:
                    found += count
                    print(f"{os.path.basename(file)}: {name} ({form}) {count} times, first at {first}: "
                          f"{bytes(data[max(0, first - 40):first + len(word) + 20])!r}")
    return 1 if found else 0


if __name__ == "__main__":
    if sys.argv[1] == "exchanges":
        exchanges(*sys.argv[2:5])
    else:
        sys.exit(scan(sys.argv[2], sys.argv[3:]))
