# SPDX-License-Identifier: Apache-2.0
"""A plain TLS client that says exactly what it saw: one JSON line per call with the peer it was
told, the issuer of the certificate it was shown (Lectr's, or the lab's own: a direct connection),
the trace id it sent and how the call ended. Several workers, each a connection per call or one
kept alive. Nothing is retried.

  client.py HOST [--workers N] [--calls N | --seconds S | --stop-file F] [--keep-alive] [--stream]
            [--first-stream] [--interval S] [--first-interval S] [--header 'Name: value']... [--path P] [--prompt TEXT]
            [--first-header 'Name: value'] [--family 4|6] [--timeout S] [--hold-file F]
            [--stall-file F]

--first-stream, --first-header: only a worker's first call streams or carries that header.
--first-interval: the pause after the first call, when it is another than after the others.
--stall-file: nothing of an answer is read until F exists.
--hold-file: after its calls a worker keeps its connection open, idle, until F exists.
"""
import argparse
import json
import os
import secrets
import socket
import ssl
import sys
import threading
import time

PATHS = {"api.openai.com": "/v1/chat/completions", "api.anthropic.com": "/v1/messages",
         "api.groq.com": "/openai/v1/chat/completions"}
MODELS = {"api.openai.com": "gpt-4o-mini", "api.anthropic.com": "claude-haiku-4-5",
          "api.groq.com": "llama-3.3-70b-versatile"}
GEMINI = "generativelanguage.googleapis.com"
print_lock = threading.Lock()


class Broken(Exception):
    """The answer ended before it was complete."""


def say(line):
    with print_lock:
        print(json.dumps(line), flush=True)


def request_for(o, stream, trace_id, first):
    if o.host == GEMINI:
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        path = o.path or f"/v1beta/models/gemini-2.5-flash:{verb}"
        body = {"contents": [{"role": "user", "parts": [{"text": o.prompt}]}]}
    else:
        path = o.path or PATHS.get(o.host, "/")
        body = {"model": MODELS.get(o.host, "m"), "max_tokens": 64,
                "messages": [{"role": "user", "content": o.prompt}]}
        if stream:
            body["stream"] = True
            if o.host == "api.openai.com":
                body["stream_options"] = {"include_usage": True}
    data = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/1.1", f"Host: {o.host}", "Content-Type: application/json",
             f"Content-Length: {len(data)}", f"traceparent: 00-{trace_id}-00f067aa0ba902b7-01"]
    if first:
        lines += o.first_header
    return "\r\n".join(lines + o.header).encode() + b"\r\n\r\n" + data


def connect(o):
    family = {"4": socket.AF_INET, "6": socket.AF_INET6}.get(o.family, 0)
    address = socket.getaddrinfo(o.host, 443, family, socket.SOCK_STREAM)[0]
    raw = socket.socket(address[0], socket.SOCK_STREAM)
    raw.settimeout(o.timeout)
    if o.stall_file:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    facts = {"asked": address[4][0]}
    try:
        raw.connect(address[4])
        facts["connected_ns"] = time.monotonic_ns()
        tls = o.context.wrap_socket(raw, server_hostname=o.host)
    except BaseException:
        raw.close()
        raise
    facts["peer"] = list(tls.getpeername()[:2])
    issuer = dict(pair for rdn in tls.getpeercert()["issuer"] for pair in rdn)
    facts["issuer"] = issuer.get("commonName", "")
    facts["captured"] = facts["issuer"] != "Lab Root"
    return tls, facts


class Answer:
    """Reads exactly one answer; knows when it is complete."""

    def __init__(self, tls):
        self.tls, self.buffer, self.bytes = tls, b"", 0

    def more(self):
        piece = self.tls.recv(65536)
        if not piece:
            raise Broken("end of connection")
        self.buffer += piece
        self.bytes += len(piece)

    def line(self):
        while b"\r\n" not in self.buffer:
            self.more()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def take(self, count):
        while len(self.buffer) < count:
            self.more()
        out, self.buffer = self.buffer[:count], self.buffer[count:]
        return out

    def read(self, on_body=None):
        status = int(self.line().split()[1])
        headers = {}
        while line := self.line():
            name, value = line.split(b":", 1)
            headers[name.strip().lower()] = value.strip()
        if headers.get(b"transfer-encoding", b"").lower() == b"chunked":
            while size := int(self.line().split(b";")[0], 16):
                self.take(size)
                if on_body:
                    on_body()
                self.take(2)
            while self.line():
                pass
        else:
            self.take(int(headers.get(b"content-length", b"0")))
        return status


class Worker(threading.Thread):
    def __init__(self, o, number):
        super().__init__(daemon=True)
        self.o, self.number, self.tls, self.facts = o, number, None, {}

    def close(self):
        if self.tls:
            try:
                self.tls.close()
            except OSError:
                pass
        self.tls = None

    def call(self, n):
        o = self.o
        line = {"worker": self.number, "n": n, "ok": False, "trace_id": secrets.token_hex(16),
                "t0_ns": time.monotonic_ns()}
        stream = o.stream or (o.first_stream and n == 1)
        try:
            if not self.tls:
                self.tls, self.facts = connect(o)
            line.update(self.facts)
            self.tls.sendall(request_for(o, stream, line["trace_id"], n == 1))
            while o.stall_file and not os.path.exists(o.stall_file):
                time.sleep(0.05)
            answer = Answer(self.tls)
            line["status"] = answer.read()
            line["bytes"] = answer.bytes
            line["ok"] = line["status"] == 200
        except (OSError, ssl.SSLError, Broken, ValueError) as error:
            line.update(self.facts if self.tls else {}, error=type(error).__name__, text=str(error)[:160])
            self.close()
        line["t1_ns"] = time.monotonic_ns()
        say(line)
        if not o.keep_alive and not o.hold_file:
            self.close()

    def run(self):
        o, n = self.o, 0
        while n < o.calls if o.calls else not stopped(o):
            n += 1
            self.call(n)
            time.sleep(o.first_interval if n == 1 and o.first_interval is not None else o.interval)
        while o.hold_file and not os.path.exists(o.hold_file):
            time.sleep(0.05)
        self.close()


def stopped(o):
    return time.monotonic() > o.end if o.seconds else os.path.exists(o.stop_file)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("host")
    p.add_argument("--workers", type=int, default=1)
    p.add_argument("--calls", type=int, default=0)
    p.add_argument("--seconds", type=float, default=0)
    p.add_argument("--stop-file", default="")
    p.add_argument("--hold-file", default="")
    p.add_argument("--stall-file", default="")
    p.add_argument("--keep-alive", action="store_true")
    p.add_argument("--stream", action="store_true")
    p.add_argument("--first-stream", action="store_true")
    p.add_argument("--interval", type=float, default=0)
    p.add_argument("--header", action="append", default=[])
    p.add_argument("--first-interval", type=float)
    p.add_argument("--first-header", action="append", default=[])
    p.add_argument("--path", default="")
    p.add_argument("--prompt", default="Say in one sentence why the sky is blue.")
    p.add_argument("--family", default="")
    p.add_argument("--timeout", type=float, default=60)
    o = p.parse_args()
    if not o.calls and not o.seconds and not o.stop_file:
        o.calls = 1
    o.end = time.monotonic() + o.seconds
    o.context = ssl.create_default_context(cafile=os.environ.get("SSL_CERT_FILE"))
    workers = [Worker(o, i) for i in range(o.workers)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()


if __name__ == "__main__":
    sys.exit(main())
