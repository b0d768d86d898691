# SPDX-License-Identifier: Apache-2.0
"""An API that lies: terminal sequences in every name, absurd numbers, endless answers.

hostile_api.py PORT_FILE: the port is written once it listens; the path's first part names the lie.
"""
import http.server
import json
import sys

# Clears the screen, sets the title, the same by C1 controls, and goes up a line.
EVIL = "\x1b[2J\x1b]0;owned\x07\u009b2J\r\nfake line\x1b[1A"


def row(name, number):
    return {
        "org": name, "feature": name, "provider": name, "model": name, "time": number,
        "calls": number, "errors": number, "cost_unknown": number, "input_unknown": number,
        "cost_usd": {"low": 1e308, "expected": 1e308, "high": -1e308},
        "latency_us": {"p50": 1e308}, "ttft_us": {"p50": -1e308},
    }


def answer(name, number):
    return {
        "rows": [row(name, number)],
        "alerts": [{k: name for k in ("status", "severity", "rule", "reason")}
                   | {"detected_at_unix_nano": str(number)}],
        "workloads": [{"workload": name, "provider": name, "org": name, "seen": number,
                       "metered": -number, "ratio": 1e308}],
        "gaps": [{"workload": name, "provider": name, "org": name, "reason": name,
                  "connections": number, "events_lost": number}] * 2,
        "unpriced": [{"provider": name, "model": name, "basis": name, "calls": number}] * 2,
        "events": {"holes": [{"agent_instance": name}]},
        "names": {name: {"folded": 1, "limit": 1}},
    }


class Api(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        lie = self.path.split("/")[1]
        status, body = 200, json.dumps(answer(EVIL, 2**63 - 1), ensure_ascii=False)
        if lie == "error":
            status, body = 400, json.dumps({"error": EVIL, "parameter": EVIL})
        elif lie == "text":
            status, body = 500, EVIL
        elif lie == "raw":
            body = '{"rows":[{"feature":"' + EVIL + '"}]}'
        elif lie == "wide":
            body = json.dumps(answer("w" * 1000000, 0))
        elif lie == "kinds":
            body = json.dumps({k: 7 for k in ("rows", "alerts", "workloads", "gaps", "events")})
        elif lie == "list":
            body = "[1]"
        self.send_response(status)
        self.end_headers()
        self.wfile.write(body.encode())
        while lie == "endless":
            self.wfile.write(b" " * 65536)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Api)
server.daemon_threads = True
with open(sys.argv[1] + ".new", "w", encoding="ascii") as f:
    f.write(str(server.server_port))
import os  # noqa: E402

os.rename(sys.argv[1] + ".new", sys.argv[1])
server.serve_forever()
