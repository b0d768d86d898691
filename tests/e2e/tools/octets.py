# SPDX-License-Identifier: Apache-2.0
"""Exact octets, with and without Lectr.

  octets.py send EXCHANGES OUT [--split SEED]   sends every exchange of the four providers, each on
      a connection of its own, and keeps what was sent and what came back: OUT/ID.sent, OUT/ID.got,
      OUT/ID.end (how the connection ended and whose certificate was shown). With --split, requests
      go out in random pieces and the simulator is asked to answer in random pieces.
  octets.py compare A SIM_A B SIM_B             compares two such runs and the simulator's records
"""
import base64
import glob
import json
import os
import random
import re
import socket
import ssl
import sys

from client import Answer, Broken

HOSTS = {"api.openai.com", "api.anthropic.com", "api.groq.com", "generativelanguage.googleapis.com"}
DROPPED = {"content-length", "transfer-encoding", "host", "connection"}


def load(folder):
    out = []
    for file in sorted(glob.glob(f"{folder}/**/*.json", recursive=True)):
        with open(file, encoding="utf-8") as f:
            x = json.load(f)
        if isinstance(x, dict) and x.get("schema") == 1 and x["request"]["host"] in HOSTS:
            out.append(x)
    return out


def body_of(part):
    if "body_base64" in part:
        return base64.b64decode(part["body_base64"])
    return (part.get("body") or "").encode()


def request_bytes(x, number, split):
    """As the client library wrote it, as far as it was recorded. Every third body goes chunked, so
    that both framings pass in both directions."""
    r = x["request"]
    body = body_of(r)
    lines = [f"{r['method']} {r['path']} HTTP/1.1", f"Host: {r['host']}"]
    lines += [f"{name}: {value}" for name, value in r["headers"] if name.lower() not in DROPPED]
    lines.append(f"X-Replay-Id: {x['id']}")
    if split:
        lines.append(f"x-sim-split: random:{split + number}")
    if body and number % 3 == 2:
        lines.append("Transfer-Encoding: chunked")
        pieces = [body[at:at + 700] for at in range(0, len(body), 700)]
        body = b"".join(b"%x;part=%d\r\n%b\r\n" % (len(p), i, p) for i, p in enumerate(pieces))
        body += b"0\r\n\r\n"
    elif body or r["method"] in ("POST", "PUT", "PATCH"):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + body


class Recorder(Answer):
    """An Answer that keeps every octet, and stops where the answer does."""

    def __init__(self, tls, method):
        super().__init__(tls)
        self.got, self.method = b"", method

    def more(self):
        piece = self.tls.recv(65536)
        self.got += piece
        if not piece:
            raise Broken("close_notify")
        self.buffer += piece

    def read(self, on_body=None):
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head = self.buffer.split(b"\r\n\r\n", 1)[0].lower()
        status = int(head.split()[1])
        if self.method == "HEAD" or status in (204, 304):
            return status
        if b"\r\ncontent-length:" not in head and b"\r\ntransfer-encoding:" not in head:
            while True:
                self.more()
        return super().read(on_body)


def exchange(context, x, data, pieces):
    facts = {}
    with socket.create_connection((x["request"]["host"], 443), 30) as raw:
        with context.wrap_socket(raw, server_hostname=x["request"]["host"]) as tls:
            issuer = dict(p for rdn in tls.getpeercert()["issuer"] for p in rdn)
            facts["captured"] = issuer.get("commonName") != "Lab Root"
            facts["peer"] = list(tls.getpeername()[:2])
            at = 0
            while at < len(data):
                size = pieces.randint(1, 4000) if pieces else len(data)
                tls.sendall(data[at:at + size])
                at += size
            recorder = Recorder(tls, x["request"]["method"])
            try:
                recorder.read()
                facts["end"] = "complete"
            except Broken:
                facts["end"] = "closed"
            except ssl.SSLError as error:
                facts["end"] = f"broken off: {error.reason}"
            except OSError as error:
                facts["end"] = f"broken off: {type(error).__name__}"
            return recorder.got, facts


def send(folder, out, split):
    context = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
    os.makedirs(out, exist_ok=True)
    failed = 0
    for number, x in enumerate(load(folder)):
        data = request_bytes(x, number, split)
        try:
            got, facts = exchange(context, x, data, random.Random(split + number) if split else None)
        except OSError as error:
            got, facts = b"", {"end": f"not connected: {error}", "captured": None}
            failed += 1
        for ending, value in (("sent", data), ("got", got)):
            with open(f"{out}/{x['id']}.{ending}", "wb") as f:
                f.write(value)
        with open(f"{out}/{x['id']}.end", "w", encoding="ascii") as f:
            json.dump(facts, f)
    print(json.dumps({"sent": number + 1, "not_connected": failed}))


def read(path):
    with open(path, "rb") as f:
        return f.read()


def simulator_octets(record):
    """id -> what the simulator read and wrote on the connections that carried it."""
    on = {}
    with open(f"{record}/requests.jsonl", encoding="utf-8") as f:
        for line in f:
            row = json.loads(line)
            on.setdefault(row["connection"], []).append(row["replay_id"])
    return {int(re.match(r"\d+", os.path.basename(file))[0]):
            (on.get(int(re.match(r"\d+", os.path.basename(file))[0]), []), read(file),
             read(file[:-3] + "res")) for file in glob.glob(f"{record}/*.req")}


def differ(what, a, b):
    if a == b:
        return 0
    at = next((i for i, (x, y) in enumerate(zip(a, b)) if x != y), min(len(a), len(b)))
    print(f"  {what}: {len(a)} and {len(b)} octets, first difference at {at}: "
          f"{a[at:at + 24]!r} / {b[at:at + 24]!r}")
    return 1


def compare_record(label, run, record):
    """What the client sent is what the simulator read, and the other way round."""
    bad = seen = 0
    for ids, req, res in simulator_octets(record).values():
        bad += differ(f"{label} {ids} request", b"".join(read(f"{run}/{i}.sent") for i in ids), req)
        bad += differ(f"{label} {ids} answer", res, b"".join(read(f"{run}/{i}.got") for i in ids))
        seen += len(ids)
    return bad, seen


def compare(a, record_a, b, record_b):
    bad = 0
    ids = sorted(os.path.basename(f)[:-5] for f in glob.glob(f"{a}/*.sent"))
    for i in ids:
        bad += differ(f"{i} answer, without and with", read(f"{a}/{i}.got"), read(f"{b}/{i}.got"))
        end_a, end_b = (json.loads(read(f"{d}/{i}.end")) for d in (a, b))
        if end_a["end"] != end_b["end"]:
            print(f"  {i} ended without: {end_a['end']}; with: {end_b['end']}")
            bad += 1
        if end_a["captured"] is not False or end_b["captured"] is not True:
            print(f"  {i} captured without: {end_a['captured']}; with: {end_b['captured']}")
            bad += 1
    for label, run, record in (("without", a, record_a), ("with", b, record_b)):
        differences, seen = compare_record(label, run, record)
        bad += differences
        if seen != len(ids):
            print(f"  {label}: the simulator saw {seen} requests of {len(ids)}")
            bad += 1
    octets = sum(os.path.getsize(f) for f in glob.glob(f"{a}/*.got") + glob.glob(f"{a}/*.sent"))
    print(f"  {len(ids)} exchanges, {octets} octets compared, {bad} differences")
    return 1 if bad or not ids else 0


if __name__ == "__main__":
    if sys.argv[1] == "send":
        send(sys.argv[2], sys.argv[3], int(sys.argv[5]) if "--split" in sys.argv else 0)
    else:
        sys.exit(compare(*sys.argv[2:6]))
