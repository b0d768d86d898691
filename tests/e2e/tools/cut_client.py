# SPDX-License-Identifier: Apache-2.0
"""Streams that the client cuts. Each is a connection of its own: a streamed call is made, events are
counted as they come, and after a random number of them the connection is closed or reset. One JSON
line a stream: the trace id, how many events were read, and whether the end was among them. A cut is
never within the last MARGIN events, which may be on their way when the client goes.

  cut_client.py HOST --exchange ID [--streams N] [--workers N] [--seed N] [--event-ms N]
"""
import argparse
import json
import random
import socket
import ssl
import struct
import threading

MARGIN = 6
REQUESTS = {
    "api.openai.com": ("/v1/chat/completions", {"model": "gpt-4o-mini", "stream": True}),
    "api.groq.com": ("/openai/v1/chat/completions", {"model": "llama-3.3-70b-versatile", "stream": True}),
    "api.anthropic.com": ("/v1/messages", {"model": "claude-haiku-4-5", "max_tokens": 256, "stream": True}),
}
END = {"api.anthropic.com": b'"message_stop"'}
lock = threading.Lock()


def request(o, trace_id):
    path, body = REQUESTS[o.host]
    body = dict(body, messages=[{"role": "user", "content": "Count to twenty, please, slowly."}])
    data = json.dumps(body).encode()
    head = (f"POST {path} HTTP/1.1\r\nHost: {o.host}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(data)}\r\nx-sim-event-ms: {o.event_ms}\r\n"
            f"x-replay-id: {o.exchange}\r\n"
            f"traceparent: 00-{trace_id}-00f067aa0ba902b7-01\r\n\r\n")
    return head.encode() + data


def stream(o, trace_id, stop_after, reset):
    """Events read, and whether the end mark was. stop_after None: to the end."""
    end = END.get(o.host, b"data: [DONE]")
    seen, buffer = 0, b""
    raw = socket.create_connection((o.host, 443), timeout=60)
    tls = o.context.wrap_socket(raw, server_hostname=o.host)
    tls.sendall(request(o, trace_id))
    while True:
        while b"\ndata:" in buffer:
            at = buffer.index(b"\ndata:") + 6
            if b"\n" not in buffer[at:]:
                break
            line = buffer[at - 5:buffer.index(b"\n", at)]
            buffer = buffer[buffer.index(b"\n", at):]
            seen += 1
            if end in line:
                tls.close()
                return seen, True
            if stop_after is not None and seen >= stop_after:
                if reset:
                    tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                tls.close()
                return seen, False
        piece = tls.recv(65536)
        if not piece:
            raise OSError("the stream ended early")
        buffer += piece


def worker(o, jobs):
    while True:
        with lock:
            if not jobs:
                return
            trace_id, stop_after, reset = jobs.pop()
        line = {"trace_id": trace_id, "cut": stop_after is not None}
        try:
            line["events"], line["done"] = stream(o, trace_id, stop_after, reset)
        except OSError as e:
            line["error"] = str(e)
        with lock:
            print(json.dumps(line), flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("host")
    p.add_argument("--streams", type=int, default=100)
    p.add_argument("--workers", type=int, default=8)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--exchange", required=True, help="of the simulator's, what is streamed")
    p.add_argument("--event-ms", type=int, default=15)
    o = p.parse_args()
    o.context = ssl.create_default_context()
    rng = random.Random(o.seed)
    first = f"{rng.getrandbits(128):032x}"
    total, _ = stream(o, first, None, False)
    print(json.dumps({"trace_id": first, "cut": False, "events": total, "done": True}), flush=True)
    jobs = []
    for _ in range(o.streams - 1):
        whole = rng.random() < 0.1 or total <= MARGIN + 1
        jobs.append((f"{rng.getrandbits(128):032x}",
                     None if whole else rng.randint(1, total - MARGIN), rng.random() < 0.5))
    threads = [threading.Thread(target=worker, args=(o, jobs)) for _ in range(o.workers)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()


if __name__ == "__main__":
    main()
