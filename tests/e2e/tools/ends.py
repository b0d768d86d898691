#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""How connections begin and end, seen from both sides.

    ends.py serve PKI     servers on 127.0.0.1, ports 8441…; what they see goes to stdout
    ends.py ask TRUST     makes one connection of each kind; one line "KIND: what came of it"

What is printed is the same on every run, so that a run through something in the middle can be
compared with a run without.
"""
import hashlib
import os
import socket
import ssl
import struct
import sys
import threading
import time

HOST = "api.openai.com"
REQUEST = b"GET /v1/models HTTP/1.1\r\nhost: api.openai.com\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
PORTS = {kind: 8441 + i for i, kind in enumerate([
    "clean", "truncated", "reset", "server-first", "seen-reset", "seen-close", "seen-notify", "sink",
    "half-hello", "answer", "h2", "no-alpn", "client-cert", "self-signed", "bulk", "urgent", "new-only",
    "old-only", "aborts"])}
BULK = b"".join(struct.pack(">I", i * 2654435761 % 2**32) for i in range(1500000))


def strict(context):
    """A FIN without close_notify is told apart from a clean end."""
    context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    return context


def abort(sock):
    raw = socket.socket(fileno=sock.detach())
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raw.close()


def read_all(sock):
    got = hashlib.sha256()
    try:
        while True:
            piece = sock.recv(65536)
            if not piece:
                return "clean end", got.hexdigest()[:16]
            got.update(piece)
    except OSError as error:
        return type(error).__name__ + " " + str(error).split(" (_ssl")[0], got.hexdigest()[:16]


# --- servers ---

def truncated(sock):
    sock.recv(1000)
    sock.send(ANSWER[:-1])
    os.close(sock.detach())


def reset(sock):
    sock.recv(1000)
    sock.send(ANSWER[:-1])
    time.sleep(0.3)
    abort(sock)


def clean(sock):
    sock.recv(1000)
    sock.send(ANSWER)
    sock.unwrap()


def answer(sock):
    sock.recv(1000)
    sock.send(ANSWER)
    sock.recv(1000)


def bulk(sock):
    sock.recv(1000)
    sock.sendall(BULK)
    sock.unwrap()


def server_first(sock):
    sock.send(b"220 here\r\n")
    sock.send(b"you said " + sock.recv(100))


def seen(kind):
    def serve(sock):
        got = sock.recv(1000)
        print(f"{kind}: got {len(got)}, then {read_all(sock)[0]}", flush=True)
    return serve


def sink(sock):
    got, count = hashlib.sha256(), 0
    while True:
        piece = sock.recv(65536)
        if not piece:
            break
        got.update(piece)
        count += len(piece)
        if count < 1000000:
            time.sleep(0.002)
    sock.send(got.hexdigest().encode())


def half_hello(sock):
    got = b""
    while True:
        piece = sock.recv(100)
        if not piece:
            break
        got += piece
    sock.send(got[::-1])


def urgent(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    half_hello(sock)


def aborts(sock):
    sock.recv(1000)
    abort(sock)


def serve(pki):
    good = strict(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))
    good.load_cert_chain(f"{pki}/good.crt", f"{pki}/good.key")
    http1, h2, asks, bad, new, old = (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for _ in range(6))
    new.minimum_version = ssl.TLSVersion.TLSv1_3
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    for context in (http1, h2, asks, new, old):
        context.load_cert_chain(f"{pki}/good.crt", f"{pki}/good.key")
    bad.load_cert_chain(f"{pki}/bad.crt", f"{pki}/bad.key")
    http1.set_alpn_protocols(["http/1.1"])
    h2.set_alpn_protocols(["h2"])
    asks.load_verify_locations(f"{pki}/root.crt")
    asks.verify_mode = ssl.CERT_OPTIONAL
    kinds = {
        "clean": (good, clean), "truncated": (good, truncated), "reset": (good, reset),
        "server-first": (None, server_first), "seen-reset": (good, seen("seen-reset")),
        "seen-close": (good, seen("seen-close")), "seen-notify": (good, seen("seen-notify")),
        "sink": (None, sink), "half-hello": (None, half_hello), "answer": (http1, answer),
        "h2": (h2, answer), "no-alpn": (good, answer), "client-cert": (asks, answer),
        "self-signed": (bad, answer), "bulk": (good, bulk), "urgent": (None, urgent),
        "new-only": (new, answer), "old-only": (old, answer), "aborts": (None, aborts)}

    def one(sock, context, handle):
        try:
            if context:
                sock = context.wrap_socket(sock, server_side=True, suppress_ragged_eofs=False)
            handle(sock)
        except OSError:
            pass
        sock.close()

    def listen(listener, context, handle):
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=one, args=(sock, context, handle), daemon=True).start()

    for kind, (context, handle) in kinds.items():
        listener = socket.create_server(("127.0.0.1", PORTS[kind]))
        threading.Thread(target=listen, args=(listener, context, handle), daemon=True).start()
    print("serving", flush=True)
    threading.Event().wait()


# --- clients ---

def connect(kind):
    return socket.create_connection(("127.0.0.1", PORTS[kind]), timeout=20)


def tls(kind, context, **more):
    return context.wrap_socket(connect(kind), server_hostname=HOST, suppress_ragged_eofs=False, **more)


def trickled_hello(context, piece_bytes, pause_s):
    """The ClientHello in pieces, a packet each."""
    sock, inward, outward = connect("answer"), ssl.MemoryBIO(), ssl.MemoryBIO()
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    machine = context.wrap_bio(inward, outward, server_hostname=HOST)

    def drive(step):
        while True:
            try:
                result = step()
                sock.sendall(outward.read())
                return result
            except ssl.SSLWantReadError:
                out = outward.read()
                for at in range(0, len(out), piece_bytes):
                    sock.sendall(out[at:at + piece_bytes])
                    time.sleep(pause_s)
                inward.write(sock.recv(65536))

    drive(machine.do_handshake)
    drive(lambda: machine.write(REQUEST))
    return drive(lambda: machine.read(1000))


def ask(trust):
    context = strict(ssl.create_default_context(cafile=trust))
    context.set_alpn_protocols(["http/1.1", "h2"])
    old = ssl.create_default_context(cafile=trust)
    old.maximum_version = ssl.TLSVersion.TLSv1_2

    for kind in ("clean", "truncated", "reset", "bulk"):
        sock = tls(kind, context)
        sock.send(REQUEST)
        if kind == "reset":
            time.sleep(0.6)
        print(f"{kind}:", *read_all(sock))
    for kind in ("answer", "h2", "no-alpn", "client-cert"):
        sock = tls(kind, context)
        sock.send(REQUEST)
        print(f"{kind}:", sock.selected_alpn_protocol(), sock.recv(1000))
        sock.close()
    try:
        tls("self-signed", context)
        print("self-signed: accepted")
    except OSError as error:
        print("self-signed:", str(error).split(" (_ssl")[0])
    print("trickled-hello:", trickled_hello(context, 37, 0.003))
    print("paused-hello:", trickled_hello(context, 200, 0.5))
    first = tls("no-alpn", old)
    first.send(REQUEST)
    print("tls-1.2:", first.version(), first.recv(1000))
    again = tls("no-alpn", old, session=first.session)
    again.send(REQUEST)
    print("tls-1.2 again: resumed", again.session_reused, again.recv(1000))

    new = ssl.create_default_context(cafile=trust)
    new.minimum_version = ssl.TLSVersion.TLSv1_3
    for kind, offer in (("new-only", old), ("old-only", new), ("aborts", context)):
        try:
            print(f"{kind}: accepted", tls(kind, offer).version())
        except OSError as error:
            print(f"{kind}:", str(error).split(" (_ssl")[0])

    for kind in ("seen-reset", "seen-close", "seen-notify"):
        sock = tls(kind, context)
        sock.send(REQUEST)
        time.sleep(0.2)
        if kind == "seen-reset":
            abort(sock)
        elif kind == "seen-close":
            os.close(sock.detach())
        else:
            sock.settimeout(0.5)
            try:
                sock.unwrap()
            except OSError:
                pass
            sock.close()
        time.sleep(0.2)

    sock = connect("server-first")
    said = sock.recv(100)
    sock.send(b"hello")
    print("server-first:", said, *read_all(sock))
    sock = connect("sink")
    sock.sendall(BULK)
    sock.shutdown(socket.SHUT_WR)
    print("sink:", sock.recv(100) == hashlib.sha256(BULK).hexdigest().encode(), *read_all(sock))
    sock = connect("half-hello")
    sock.send(b"\x16\x03\x01\x02\x00\x01\x00")
    time.sleep(0.1)
    sock.send(b"\x01\xfc")
    time.sleep(0.1)
    sock.shutdown(socket.SHUT_WR)
    print("half-hello:", sock.recv(100), *read_all(sock))
    sock = connect("urgent")
    sock.send(b"before")
    sock.send(b"!", socket.MSG_OOB)
    sock.send(b"after")
    time.sleep(0.2)
    sock.send(b" and more")
    sock.shutdown(socket.SHUT_WR)
    print("urgent:", sock.recv(100), *read_all(sock))


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        ask(sys.argv[2])
