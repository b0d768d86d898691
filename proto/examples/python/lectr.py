# SPDX-License-Identifier: Apache-2.0
"""What the programs share: the server, the numbers of the events.

Python's standard library and protobuf are enough: the protocol of NATS is lines of text. The
messages come from

    protoc -I ../.. --python_out=. lectr.proto

Environment: NATS_URL (nats://127.0.0.1:4222; tls:// for TLS; a password may stand in it), NATS_CA,
NATS_CERT and NATS_KEY (files), LECTR_STREAM (LECTR), LECTR_CONSUMER (a name, where the server's
permissions are given by it). Credentials files and nkeys are signatures: the package nats-py has them.
"""
import asyncio
import bisect
import contextlib
import json
import os
import ssl
import time
import urllib.parse


class Nats:
    """A connection. Not made again when it is lost: end, and let the supervisor begin anew."""

    async def __aenter__(self):
        url = urllib.parse.urlsplit(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
        self.reader, self.writer = await asyncio.open_connection(url.hostname, url.port or 4222)
        info = json.loads((await self.reader.readline()).split(b" ", 1)[1])
        if url.scheme == "tls" or info.get("tls_required"):
            await self.start_tls(url.hostname)
        options = {"verbose": False, "pedantic": False, "lang": "python", "version": "1", "headers": True,
                   "no_responders": True, "protocol": 1, "name": "lectr-subscriber"}
        if url.username:
            options |= {"user": urllib.parse.unquote(url.username), "pass": urllib.parse.unquote(url.password or "")}
        self.inbox = f"_INBOX.{os.urandom(11).hex()}"
        self.write(f"CONNECT {json.dumps(options)}")
        self.write(f"SUB {self.inbox}.* 1")
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    async def start_tls(self, host):
        """Begins after the server's first line, which is in clear."""
        context = ssl.create_default_context(cafile=os.environ.get("NATS_CA"))
        if os.environ.get("NATS_CERT"):
            context.load_cert_chain(os.environ["NATS_CERT"], os.environ.get("NATS_KEY"))
        await self.writer.start_tls(context, server_hostname=host)

    def write(self, line, payload=None):
        self.writer.write(line.encode() + b"\r\n" + (b"" if payload is None else payload + b"\r\n"))

    def ask(self, subject, request, reply="reply"):
        payload = json.dumps(request).encode()
        self.write(f"PUB {subject} {self.inbox}.{reply} {len(payload)}", payload)

    async def next(self):
        """(subject, reply subject, status, payload); the status is "" for a message proper."""
        while True:
            line = (await self.reader.readline()).decode()
            if not line:
                raise ConnectionError("the server closed the connection")
            verb, *words = line.split()
            if verb == "PING":
                self.write("PONG")
            elif verb == "-ERR":
                raise ConnectionError(line.strip())
            elif verb in ("MSG", "HMSG"):
                total = int(words[-1])
                head = int(words[-2]) if verb == "HMSG" else 0
                data = (await self.reader.readexactly(total + 2))[:total]
                sizes = 2 if verb == "HMSG" else 1
                reply = words[2] if len(words) - sizes > 2 else ""
                status = data[:head].split(b"\r\n", 1)[0][len("NATS/1.0"):].strip().decode()
                return words[0], reply, status, data[head:]

    async def call(self, subject, request):
        """Of JetStream's API: the answer, or its error."""
        self.ask(subject, request)
        while True:
            name, _, status, payload = await self.next()
            if name == f"{self.inbox}.reply":
                answer = json.loads(payload) if payload else {"error": {"description": status}}
                if "error" in answer:
                    raise RuntimeError(f"{subject}: {answer['error']['description']}")
                return answer


async def read(nats, subject, once=False, batch=500):
    """(subject, payload) of every message of the stream under `subject`, from the first one that is
    kept, in order, for ever; with `once` until the last one that is there now. The consumer keeps
    nothing at the server: what was read is forgotten with this process, and read anew by the next."""
    stream = os.environ.get("LECTR_STREAM", "LECTR")
    name = os.environ.get("LECTR_CONSUMER", f"lectr_{os.getpid()}_{time.time_ns()}")
    config = {"name": name, "filter_subject": subject, "ack_policy": "none", "deliver_policy": "all",
              "inactive_threshold": 30_000_000_000, "mem_storage": True}
    if "LECTR_CONSUMER" in os.environ:
        # One of this name remembers what it gave to the program before.
        with contextlib.suppress(RuntimeError):
            await nats.call(f"$JS.API.CONSUMER.DELETE.{stream}.{name}", {})
    made = await nats.call(f"$JS.API.CONSUMER.CREATE.{stream}.{name}.{subject}",
                           {"stream_name": stream, "config": config})
    if once and made["num_pending"] == 0:
        return
    wanted = 0
    while True:
        if wanted <= 0:
            nats.ask(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}",
                     {"batch": batch, "expires": 10_000_000_000}, "next")
            wanted = batch
        name_seen, reply, status, payload = await nats.next()
        if status.startswith("100"):
            continue  # a sign of life
        if status:
            wanted = 0  # 404 or 408: nothing for now; 409: the request was given up
            continue
        wanted -= 1
        yield name_seen, payload
        # $JS.ACK.<stream>.<consumer>.<delivered>.<seq>.<seq>.<time>.<pending>, with more tokens in
        # front where there are domains
        words = reply.split(".")
        if once and words[8 if len(words) == 9 else 10] == "0":
            return


class Numbers:
    """Numbers that were seen, as intervals: small for ever, since there are few holes. One for each
    (agent_instance, part); Call, Gap and Coverage are numbered together."""

    def __init__(self):
        self.streams = {}
        self.received = self.duplicates = 0

    def claim(self, event):
        """True when the event is new."""
        seen = self.streams.setdefault((event.agent_instance, event.part), [])
        at = bisect.bisect(seen, [event.seq, 1 << 64])
        before = seen[at - 1] if at else None
        if before and event.seq <= before[1]:
            self.duplicates += 1
            return False
        self.received += 1
        after = seen[at] if at < len(seen) else None
        joins_after = after and after[0] == event.seq + 1
        if before and before[1] + 1 == event.seq:
            before[1] = after[1] if joins_after else event.seq
            if joins_after:
                del seen[at]
        elif joins_after:
            after[0] = event.seq
        else:
            seen.insert(at, [event.seq, event.seq])
        return True

    @property
    def missing(self):
        """Numbers below the highest of their stream that did not come (yet)."""
        return sum(seen[-1][1] - sum(last - first + 1 for first, last in seen) for seen in self.streams.values())


def tell(value):
    print(json.dumps(value, sort_keys=True, separators=(",", ":")), flush=True)


def every(seconds, summary):
    """Tells the summary again and again, beside the reading."""
    async def turn():
        while True:
            await asyncio.sleep(seconds)
            tell(summary())
    return asyncio.create_task(turn())
