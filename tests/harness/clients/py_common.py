# SPDX-License-Identifier: Apache-2.0
"""Options and output of the Python clients: one JSON line per call."""
import argparse
import hashlib
import json
import sys
import time

BODIES = {
    "api.openai.com": ("/v1/chat/completions", {
        "model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}),
    "api.anthropic.com": ("/v1/messages", {
        "model": "claude-haiku-4-5", "max_tokens": 64,
        "messages": [{"role": "user", "content": "hello"}]}),
    "api.groq.com": ("/openai/v1/chat/completions", {
        "model": "llama-3.3-70b-versatile", "messages": [{"role": "user", "content": "hello"}]}),
    "generativelanguage.googleapis.com": ("/v1beta/models/gemini-2.5-flash:generateContent", {
        "contents": [{"role": "user", "parts": [{"text": "hello"}]}]}),
}


def options():
    p = argparse.ArgumentParser()
    p.add_argument("--host", default="api.openai.com")
    p.add_argument("--path", default="")
    p.add_argument("--data", default="", help="request body; default: a small chat request")
    p.add_argument("--stream", action="store_true")
    p.add_argument("--mix", action="store_true", help="every other call asks for a stream")
    p.add_argument("--http2", action="store_true", help="offer HTTP/2, where the library can")
    p.add_argument("--header", action="append", default=[], metavar="NAME=VALUE")
    p.add_argument("--repeat", type=int, default=1)
    p.add_argument("--interval", type=float, default=0, help="seconds between calls")
    o = p.parse_args()
    o.headers = {"content-type": "application/json", "authorization": "Bearer sk-lab-0000"}
    o.headers.update(h.split("=", 1) for h in o.header)
    shape(o)
    return o


def shape(o):
    """The URL and the body of the next call."""
    path, body = BODIES.get(o.host, ("/", {}))
    if o.stream:
        if "contents" in body:
            path = path.replace(":generateContent", ":streamGenerateContent?alt=sse")
        else:
            body = {**body, "stream": True}
            if o.host == "api.openai.com":
                body["stream_options"] = {"include_usage": True}
    o.url = f"https://{o.host}{o.path or path}"
    o.body = (o.data or json.dumps(body)).encode()


def issuer_of(tls):
    """Who signed the certificate that an ssl.SSLSocket or ssl.SSLObject was shown."""
    parts = tls.getpeercert().get("issuer", ()) if tls else ()
    return dict(p[0] for p in parts).get("commonName")


def usage_of(content):
    """The last usage object of a JSON or SSE body."""
    found = None
    text = content.decode("utf-8", "replace")
    parts = [text] if text.lstrip()[:1] in "{[" else [
        line[5:] for line in text.splitlines() if line.startswith("data:")]
    for part in parts:
        try:
            value = json.loads(part)
        except ValueError:
            continue
        for v in value if isinstance(value, list) else [value]:
            if isinstance(v, dict):
                found = v.get("usage") or v.get("usageMetadata") or \
                    (v.get("x_groq") or {}).get("usage") or found
    return found


def run(client, o, call):
    """call() -> (status, HTTP version, decoded body, peer address or None, issuer or None)."""
    failed = 0
    for n in range(o.repeat):
        if n and o.interval:
            time.sleep(o.interval)
        if o.mix:
            o.stream = n % 2 == 1
            shape(o)
        line = {"client": client, "host": o.host, "stream": o.stream, "ok": True}
        begun = time.monotonic()
        try:
            status, version, content, peer, issuer = call()
            line.update(status=status, http_version=version, issuer=issuer, bytes=len(content), peer=peer,
                        sha256=hashlib.sha256(content).hexdigest(), usage=usage_of(content))
            line["ok"] = status < 400
        except Exception as e:  # noqa: BLE001 - whatever the library raises is the result
            line.update(ok=False, error=type(e).__name__, message=str(e)[:200])
        failed += not line["ok"]
        line["ms"] = round((time.monotonic() - begun) * 1000)
        print(json.dumps(line), flush=True)
    sys.exit(1 if failed else 0)
