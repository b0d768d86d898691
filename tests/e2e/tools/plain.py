# SPDX-License-Identifier: Apache-2.0
"""One connection in clear, said exactly: one JSON line with the peer it was told, its own port, how
the answer ended, and the octets of both directions in files.

  plain.py ADDRESS PORT OUT --exchange FILE [--split SEED] [--calls N]   sends a recorded exchange
  plain.py ADDRESS PORT OUT --text TEXT [--half-close]                   sends TEXT and reads to the end
                                             of what came within a second (or, half-closed, to the end)

OUT.sent and OUT.got hold what was written and read.
"""
import argparse
import json
import random
import socket
import sys

from client import Broken
from octets import Recorder, request_bytes


def talk_http(o, raw, x):
    pieces = random.Random(o.split) if o.split else None
    sent = got = b""
    status = 0
    for n in range(o.calls):
        data = request_bytes(x, 3 * n, o.split)
        at = 0
        while at < len(data):
            size = pieces.randint(1, 40) if pieces else len(data)
            raw.sendall(data[at:at + size])
            at += size
        sent += data
        recorder = Recorder(raw, x["request"]["method"])
        status = recorder.read()
        got += recorder.got
    return sent, got, status


def talk_text(o, raw):
    data = o.text.encode().decode("unicode_escape").encode("latin-1")
    raw.sendall(data)
    if o.half_close:
        raw.shutdown(socket.SHUT_WR)
    else:
        raw.settimeout(1)
    got = b""
    try:
        while piece := raw.recv(65536):
            got += piece
    except TimeoutError:
        pass
    return data, got, 0


def main():
    p = argparse.ArgumentParser()
    p.add_argument("address")
    p.add_argument("port", type=int)
    p.add_argument("out")
    p.add_argument("--exchange", default="")
    p.add_argument("--text", default="")
    p.add_argument("--half-close", action="store_true")
    p.add_argument("--split", type=int, default=0)
    p.add_argument("--calls", type=int, default=1)
    o = p.parse_args()
    line, sent, got = {"status": 0, "error": ""}, b"", b""
    try:
        with socket.create_connection((o.address, o.port), 20) as raw:
            line.update(peer=list(raw.getpeername()[:2]), local_port=raw.getsockname()[1])
            if o.exchange:
                with open(o.exchange, encoding="utf-8") as f:
                    sent, got, line["status"] = talk_http(o, raw, json.load(f))
            else:
                sent, got, line["status"] = talk_text(o, raw)
    except (OSError, Broken, ValueError) as error:
        line["error"] = f"{type(error).__name__}: {error}"
    for ending, value in (("sent", sent), ("got", got)):
        with open(f"{o.out}.{ending}", "wb") as f:
            f.write(value)
    line["bytes"] = len(got)
    print(json.dumps(line))


if __name__ == "__main__":
    sys.exit(main())
