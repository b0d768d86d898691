# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 for replay-client: exchanges of one host as streams of one connection, many at a time."""
import base64
import hashlib
import socket

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2 import events

WINDOW_BYTES = 1 << 24


class Stream:
    def __init__(self, exchange, line):
        r = exchange["request"]
        self.body = base64.b64decode(r["body_base64"]) if "body_base64" in r else (r.get("body") or "").encode()
        self.sent = 0
        self.line, self.digest, self.count = line, hashlib.sha256(), 0

    def finish(self, error=""):
        self.line.update(error=error, complete=not error, body_bytes=self.count,
                         body_sha256=self.digest.hexdigest())
        return self.line


class Connection:
    """`concurrent` streams at a time; `fields_of(exchange)` gives a request's header fields."""

    def __init__(self, host, context, concurrent, pieces, record=""):
        raw = socket.create_connection((host, 443), 60)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = context.wrap_socket(raw, server_hostname=host)
        if self.socket.selected_alpn_protocol() != "h2":
            raise OSError("the server does not speak HTTP/2")
        issuer = dict(p[0] for p in self.socket.getpeercert().get("issuer", ()))
        self.issuer = issuer.get("commonName", "")
        self.concurrent, self.pieces = concurrent, pieces
        # The octets of both directions, when they are wanted.
        self.said = [open(f"{record}/{host}.{w}", "wb") for w in ("sent", "received")] if record else None
        self.h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8",
                                               validate_outbound_headers=False,
                                               normalize_outbound_headers=False,
                                               validate_inbound_headers=False))
        self.h2.initiate_connection()
        self.h2.increment_flow_control_window(WINDOW_BYTES)
        self.open = {}

    def flush(self):
        data = self.h2.data_to_send()
        while data:
            n = len(data) if self.pieces is None else self.pieces.randint(1, 97)
            self.socket.sendall(data[:n])
            if self.said:
                self.said[0].write(data[:n])
            data = data[n:]

    def push_bodies(self):
        for id_, s in self.open.items():
            while s.sent < len(s.body):
                n = min(self.h2.local_flow_control_window(id_), self.h2.max_outbound_frame_size,
                        len(s.body) - s.sent)
                if n <= 0:
                    break
                if self.pieces is not None:
                    n = min(n, self.pieces.randint(1, 4000))
                s.sent += n
                self.h2.send_data(id_, s.body[s.sent - n:s.sent], end_stream=s.sent == len(s.body))

    def begin(self, fields, stream):
        id_ = self.h2.get_next_available_stream_id()
        self.h2.send_headers(id_, fields, end_stream=not stream.body)
        self.h2.increment_flow_control_window(WINDOW_BYTES, id_)
        self.open[id_] = stream

    def take(self, event):
        """The line of the exchange that ended, or None."""
        s = self.open.get(getattr(event, "stream_id", None))
        if isinstance(event, events.ConnectionTerminated):
            raise OSError(f"GOAWAY {event.error_code}")
        if s is None:
            return None
        if isinstance(event, events.ResponseReceived):
            s.line["status"] = int(dict(event.headers)[":status"])
        elif isinstance(event, events.DataReceived):
            s.digest.update(event.data)
            s.count += len(event.data)
            if event.flow_controlled_length:
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, (events.StreamEnded, events.StreamReset)):
            del self.open[event.stream_id]
            return s.finish(f"reset {event.error_code}" if isinstance(event, events.StreamReset) else "")
        return None

    def run(self, requests):
        """Sends [(fields, stream)], yields each one's line as it ends."""
        waiting = list(reversed(requests))
        try:
            while waiting or self.open:
                while waiting and len(self.open) < self.concurrent:
                    fields, stream = waiting.pop()
                    stream.line["certificate_issuer"] = self.issuer
                    self.begin(fields, stream)
                self.push_bodies()
                self.flush()
                data = self.socket.recv(65536)
                if not data:
                    raise OSError("closed")
                if self.said:
                    self.said[1].write(data)
                for event in self.h2.receive_data(data):
                    line = self.take(event)
                    if line:
                        yield line
            self.h2.close_connection()
            self.flush()
        except OSError as e:
            for stream in [*self.open.values(), *(s for _, s in waiting)]:
                yield stream.finish(str(e) or type(e).__name__)
        finally:
            self.socket.close()
            for f in self.said or ():
                f.close()
