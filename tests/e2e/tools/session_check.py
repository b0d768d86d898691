# SPDX-License-Identifier: Apache-2.0
"""session_check.py DIR PREFIX EVENTS [ID...]: the events of the golden sessions in DIR, told by
their feature (PREFIX + id), against their truth, in the order of the calls' ends. Every field that
the truth names must be equal; usage rows are "kind.modality[.unit]=count", "?" for unknown;
first_token and cost_nanousd say whether, and how much. Prints one ok or not ok line a session."""
import json
import os
import sys


def row_text(row):
    unit = row.get("unit") or "token"
    modality = row.get("modality") or "text"
    return f"{row['kind']}.{modality}{'' if unit == 'token' else '.' + unit}={row.get('count', '?')}"


def seen(event, field):
    if field == "usage":
        return [row_text(r) for r in event.get("usage", [])]
    if field == "first_token":
        return "first_token_us" in event.get("latency", {})
    if field == "cost_nanousd":
        return event.get("cost", {}).get("expected_nanousd")
    if field == "cost_basis":
        return event.get("cost", {}).get("basis")
    return event.get(field)


def differences(truth, events):
    if len(truth) != len(events):
        yield f"{len(truth)} calls expected, {len(events)} told"
    for at, (want, event) in enumerate(zip(truth, events)):
        for field, value in want.items():
            if seen(event, field) != value:
                yield f"call {at} ({want['operation']}): {field}: {value} expected, {seen(event, field)} told"


def main():
    folder, prefix, events_file, *ids = sys.argv[1:]
    with open(events_file, encoding="utf8") as f:
        events = [json.loads(line) for line in f]
    failed = 0
    for name in sorted(os.listdir(folder)):
        with open(os.path.join(folder, name), encoding="utf8") as f:
            session = json.load(f)
        if ids and session["id"] not in ids:
            continue
        own = [e for e in events if e.get("feature", {}).get("value") == prefix + session["id"]]
        own.sort(key=lambda e: e["seq"])
        wrong = list(differences(session["truth"], own))
        connections = {e.get("connection_id") for e in own}
        if len(connections) > 1:
            wrong.append("calls of one session on several connections")
        print(f"{'not ok' if wrong else 'ok'} - {prefix}{session['id']}: {len(own)} calls as they were"
              if not wrong else f"not ok - {prefix}{session['id']}: {'; '.join(wrong)[:900]}")
        failed += bool(wrong)
    sys.exit(1 if failed else 0)


main()
