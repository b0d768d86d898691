# SPDX-License-Identifier: Apache-2.0
"""events.py PREFIX [--raw]: every message of the stream LECTR whose subject begins with PREFIX,
one JSON object a line, read with nothing but the NATS protocol, the JetStream API and
proto/lectr.proto (compiled into lectr_pb2 on PYTHONPATH). --raw writes the bare
payloads instead. NATS_PORT, and where the server asks for them NATS_CA (TLS), NATS_USER and
NATS_PASSWORD say where it is."""
import base64
import json
import os
import socket
import ssl
import sys

import lectr_pb2

KINDS = {"call": lectr_pb2.Call, "gap": lectr_pb2.Gap, "coverage": lectr_pb2.Coverage,
         "alert": lectr_pb2.Alert, "rollup": lectr_pb2.Rollup}
WINDOW = 200  # requests in flight


class Nats:
    def __init__(self, host, port):
        self.socket = socket.create_connection((host, port), 10)
        connect = {"verbose": False, "pedantic": False}
        if "NATS_USER" in os.environ:
            connect |= {"user": os.environ["NATS_USER"], "pass": os.environ["NATS_PASSWORD"]}
        if "NATS_CA" in os.environ:
            while not self.socket.recv(1).endswith(b"\n"):  # INFO, and not a byte more
                pass
            context = ssl.create_default_context(cafile=os.environ["NATS_CA"])
            self.socket = context.wrap_socket(self.socket, server_hostname=host)
            self.file = self.socket.makefile("rb")
        else:
            self.file = self.socket.makefile("rb")
            self.file.readline()  # INFO
        self.socket.sendall(f"CONNECT {json.dumps(connect)}\r\nSUB _R.* 1\r\n".encode())

    def ask(self, subject, number, payload):
        body = json.dumps(payload).encode() if payload else b""
        self.socket.sendall(f"PUB {subject} _R.{number} {len(body)}\r\n".encode() + body + b"\r\n")

    def answer(self):
        """(number, parsed JSON) of the next answer."""
        while True:
            line = self.file.readline()
            if not line:
                raise SystemExit("events.py: NATS closed the connection")
            if line.startswith(b"PING"):
                self.socket.sendall(b"PONG\r\n")
            elif line.startswith(b"MSG"):
                parts = line.split()
                body = self.file.read(int(parts[-1]))
                self.file.read(2)
                return int(parts[1].rsplit(b".", 1)[1]), json.loads(body)
            elif line.startswith(b"-ERR"):
                raise SystemExit(f"events.py: {line}")


def messages(nats):
    nats.ask("$JS.API.STREAM.INFO.LECTR", 0, None)
    info = nats.answer()[1]
    if "state" not in info:
        return
    first, last = info["state"]["first_seq"], info["state"]["last_seq"]
    for start in range(first, last + 1, WINDOW):
        wanted = range(start, min(start + WINDOW, last + 1))
        for seq in wanted:
            nats.ask("$JS.API.STREAM.MSG.GET.LECTR", seq, {"seq": seq})
        got = dict(nats.answer() for _ in wanted)
        for seq in wanted:
            if "message" in got[seq]:
                yield got[seq]["message"]


def plain(message):
    """The fields that are present, by their names; enums by the names of their values."""
    out = {}
    for field, value in message.ListFields():
        many = list(value) if field.label == field.LABEL_REPEATED else [value]
        if field.message_type:
            many = [plain(v) for v in many]
        elif field.enum_type:
            names = field.enum_type.values_by_number
            many = [names[v].name if v in names else v for v in many]
        out[field.name] = many if field.label == field.LABEL_REPEATED else many[0]
    return out


def main():
    prefix = sys.argv[1] if len(sys.argv) > 1 else "lectr.v1"
    raw = "--raw" in sys.argv
    for message in messages(Nats("127.0.0.1", int(os.environ.get("NATS_PORT", "4222")))):
        if not message["subject"].startswith(prefix):
            continue
        payload = base64.b64decode(message.get("data", ""))
        if raw:
            sys.stdout.buffer.write(payload)
            continue
        kind = KINDS.get(message["subject"].split(".")[2])
        out = {"subject": message["subject"], "stream_seq": message["seq"]}
        if message["subject"].startswith("lectr.v1.cloudevent."):
            out.update(json.loads(payload))
        elif kind:
            out.update(plain(kind.FromString(payload)))
        print(json.dumps(out))


if __name__ == "__main__":
    try:
        main()
    except (ConnectionRefusedError, BrokenPipeError) as error:
        raise SystemExit(f"events.py: {error}") from None
