# SPDX-License-Identifier: Apache-2.0
"""receivers.py PORT SECRET_FILE OUT: what alerts are sent to, on 127.0.0.1. The path chooses how it
answers; every request becomes one JSON line of OUT: path, the status that it got, its headers, body.

/hook    checks Lectr-Signature; 401 when it is wrong; refuses the first three with 500
/busy    429 with Retry-After the first time
/slack, /pagerduty, /alertmanager   take everything
/refuse  400        /moved  302 to /hook        /hang  never answers"""
import hashlib
import hmac
import http.server
import json
import sys
import threading
import time

PORT, SECRET_FILE, OUT = int(sys.argv[1]), sys.argv[2], sys.argv[3]
SECRET = open(SECRET_FILE, "rb").read().strip()
TOLERANCE_S = 300
lock = threading.Lock()
seen = {}


def is_signed(header, body):
    """As a receiver of one's own would do it."""
    try:
        fields = dict(part.split("=", 1) for part in header.split(","))
        signed = fields["t"].encode() + b"." + body
        expected = hmac.new(SECRET, signed, hashlib.sha256).hexdigest()
        fresh = abs(time.time() - int(fields["t"])) < TOLERANCE_S
        return fresh and hmac.compare_digest(expected, fields["v1"])
    except (KeyError, ValueError):
        return False


def answer(path, nth, headers, body):
    """(status, headers)"""
    if path == "/hook":
        if not is_signed(headers.get("Lectr-Signature", ""), body):
            return 401, {}
        return (500 if nth <= 3 else 204), {}
    if path == "/busy":
        return (429, {"Retry-After": "1"}) if nth == 1 else (200, {})
    return {"/refuse": 400, "/moved": 302}.get(path, 202), {"Location": "/hook"}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/hang":
            time.sleep(3600)
        with lock:
            seen[self.path] = seen.get(self.path, 0) + 1
            status, headers = answer(self.path, seen[self.path], self.headers, body)
            with open(OUT, "a") as out:
                out.write(json.dumps({"path": self.path, "status": status,
                                      "headers": dict(self.headers), "body": json.loads(body)}) + "\n")
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


Server(("127.0.0.1", PORT), Handler).serve_forever()
