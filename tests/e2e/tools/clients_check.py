# SPDX-License-Identifier: Apache-2.0
"""clients_check.py TABLE RUNS EVENTS EXCHANGES: what each client library got, captured and direct,
and what the events say, against the truth of the exchange that it was answered from.

TABLE has one client a line: NAME PROVIDER API HTTP_VERSION; RUNS holds NAME.direct and
NAME.captured, a plain and a streaming call each, one JSON line a call. Prints an ok or a not ok
line for each call; exit 1 when anything differs."""
import glob
import json
import os
import sys

ISSUERS = {"direct": "Lab Root", "captured": "Lectr intermediate"}
# What of a client's line may differ between two runs.
PASSING = {"ms", "peer", "issuer"}
# truth -> event
FIELDS = {
    "model_responded": "model_responded", "response_id": "response_id", "finish_reason": "finish_reason",
    "request_id": "request_id", "status": "status_code", "streaming": "streaming",
    "usage_reported": "usage_reported", "input_tokens": "reported.input_tokens",
    "output_tokens": "reported.output_tokens", "total_tokens": "reported.total_tokens",
    "cached_input_tokens": "reported.cached_input_tokens",
    "reasoning_tokens": "reported.reasoning_tokens",
    "input_tokens_total": "input_tokens_total", "output_tokens_total": "output_tokens_total",
}


def lines(path):
    with open(path, encoding="utf-8") as f:
        return [json.loads(line) for line in f if line.startswith("{")]


def truths(folder):
    """(provider, api, streaming) -> truth; the folder has one exchange of each."""
    found = {}
    for path in glob.glob(os.path.join(folder, "**", "*.json"), recursive=True):
        with open(path, encoding="utf-8") as f:
            exchange = json.load(f)
        truth = exchange["truth"]
        found[exchange["provider"], truth["api"], truth["streaming"]] = truth
    return found


def dig(value, path):
    for key in path.split("."):
        value = value.get(key) if isinstance(value, dict) else None
    return value


def differences(row, direct, captured, event, truth):
    for kind, line in (("direct", direct), ("captured", captured)):
        if not line or not line.get("ok"):
            yield f"the {kind} call failed: {line}"
            return
        if line.get("issuer") != ISSUERS[kind]:
            yield f"{kind}: the certificate is from {line.get('issuer')}"
        if line.get("http_version", "").removeprefix("HTTP/").removesuffix(".0") != row["http_version"]:
            yield f"{kind}: HTTP/{line.get('http_version')} instead of HTTP/{row['http_version']}"
    for name in (set(direct) | set(captured)) - PASSING:
        if direct.get(name) != captured.get(name):
            yield f"{name}: direct {direct.get(name)}, captured {captured.get(name)}"
    if not captured.get("usage"):
        yield "the client itself saw no usage"
    if event is None:
        return
    for name in ("provider", "api", "http_version"):
        if event.get(name) != row[name]:
            yield f"{name}: expected {row[name]}, the event says {event.get(name)}"
    for name, where in FIELDS.items():
        if dig(event, where) != truth.get(name):
            yield f"{where}: expected {truth.get(name)}, the event says {dig(event, where)}"
    if event.get("outcome") != "OUTCOME_OK":
        yield f"outcome: {event.get('outcome')}"
    if dig(event, "feature.source") != "FROM_ENVIRONMENT":
        yield f"feature: {event.get('feature')}"
    for where in ("sdk", "latency.total_us", "cost.expected_nanousd"):
        if not dig(event, where):
            yield f"no {where}"


def check(row, runs, events, truth_of):
    failed = 0
    direct, captured = (lines(os.path.join(runs, f"{row['name']}.{k}")) for k in ("direct", "captured"))
    mine = [e for e in events if e.get("feature", {}).get("value") == row["name"]]
    for stream in (False, True):
        what = f"{row['name']}, {'streaming' if stream else 'plain'}"
        one = [next((x for x in run if x.get("stream") == stream), None) for run in (direct, captured)]
        told = [e for e in mine if bool(e.get("streaming_requested")) == stream]
        found = list(differences(row, *one, told[0] if told else None, truth_of[row["provider"], row["api"], stream]))
        if len(told) != 1:
            found.append(f"{len(told)} events instead of one")
        failed += bool(found)
        print(f"not ok - {what}: {'; '.join(found)}" if found else
              f"ok - {what}: HTTP/{row['http_version']}, {told[0].get('sdk')}, "
              f"{dig(told[0], 'reported.input_tokens')} → {dig(told[0], 'reported.output_tokens')} tokens")
    return failed


def main():
    table, runs, events, exchanges = sys.argv[1:]
    events, truth_of = lines(events), truths(exchanges)
    failed = 0
    with open(table, encoding="utf-8") as f:
        for words in map(str.split, f):
            row = dict(zip(("name", "provider", "api", "http_version"), words))
            failed += check(row, runs, events, truth_of)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
