# SPDX-License-Identifier: Apache-2.0
"""Publishes events as an agent would, each line of the standard input one: an object with

  type      Call (default), Gap, Coverage
  subject   default: as the contract says for the message
  times     how often it is published (default 1); no message id is sent, so all of them arrive
  and       the fields of the message, in snake_case, enums by name; id and part, start and end time
            have defaults; `at` is the end time in seconds

  tell.py PORT [USER PASSWORD]
"""
import json
import socket
import sys
import uuid

import lectr_pb2
from google.protobuf import json_format

INSTANCE = "0190b5a0-0000-7000-8000-0000000000e2"


def token(name):
    plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
    return "".join(c if c in plain else "".join(f"={b:02X}" for b in c.encode()) for c in name) or "="


def subject_of(kind, m):
    words = ["lectr", "v1", kind.lower(), token(m.org), token(m.provider), str(m.part)]
    return ".".join(words)


def message_of(kind, fields):
    at = fields.pop("at", None)
    if at is not None:
        fields["end_time_unix_nano"] = str(int(at * 1e9))
    fields.setdefault("start_time_unix_nano", fields["end_time_unix_nano"])
    fields.setdefault("id", str(uuid.uuid4()))
    fields.setdefault("agent_instance", INSTANCE)
    fields.setdefault("part", 0)
    m = getattr(lectr_pb2, kind)()
    return json_format.ParseDict(fields, m)


def main(port, user=None, password=None):
    s = socket.create_connection(("127.0.0.1", int(port)))
    reader = s.makefile("rb")
    reader.readline()
    options = {"verbose": False} | ({"user": user, "pass": password} if user else {})
    s.sendall(f"CONNECT {json.dumps(options)}\r\n".encode())
    out = []
    for line in sys.stdin:
        if not line.strip():
            continue
        fields = json.loads(line)
        kind = fields.pop("type", "Call")
        subject = fields.pop("subject", None)
        times = fields.pop("times", 1)
        m = message_of(kind, fields)
        payload = m.SerializeToString()
        out += [b"PUB %s %d\r\n%s\r\n" % ((subject or subject_of(kind, m)).encode(), len(payload), payload)] * times
    s.sendall(b"".join(out) + b"PING\r\n")
    while True:
        line = reader.readline()
        if line.startswith(b"PONG"):
            break
        if not line or line.startswith(b"-ERR"):
            sys.exit(f"tell.py: {line.decode().strip() or 'the server closed the connection'}")
    print(len(out))


main(*sys.argv[1:])
