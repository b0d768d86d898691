# SPDX-License-Identifier: Apache-2.0
"""sdk_check.py NAME CLIENT_LINE EVENTS EXPECT: compares what a client library printed about one
call with the event of that call (told by its feature NAME). EXPECT is JSON: what the event must
say besides (provider, streaming, …). Prints one ok or not ok line; exit 1 when they differ."""
import json
import sys

# event.reported name -> where the client libraries show it, first that is there
USAGE = {
    "input_tokens": ("prompt_tokens", "input_tokens", "promptTokenCount"),
    "output_tokens": ("completion_tokens", "output_tokens", "candidatesTokenCount"),
    "total_tokens": ("total_tokens", "totalTokenCount"),
    "cached_input_tokens": (("prompt_tokens_details", "cached_tokens"), ("input_tokens_details", "cached_tokens"),
                            "cache_read_input_tokens", "cachedContentTokenCount"),
    "cache_creation_tokens": ("cache_creation_input_tokens",),
    "reasoning_tokens": (("completion_tokens_details", "reasoning_tokens"),
                         ("output_tokens_details", "reasoning_tokens"), "thoughtsTokenCount"),
}


def dig(usage, where):
    for key in where if isinstance(where, tuple) else (where,):
        usage = usage.get(key) if isinstance(usage, dict) else None
    return usage


def expected_usage(usage):
    for name, places in USAGE.items():
        value = next((v for v in (dig(usage, p) for p in places) if v is not None), None)
        if value is not None:
            yield name, value


def differences(line, event, expect):
    reported = event.get("reported", {})
    for name, value in expected_usage(line.get("usage") or {}):
        if reported.get(name) != value:
            yield f"reported.{name}: the client printed {value}, the event says {reported.get(name)}"
    if bool(line.get("usage")) != bool(event.get("usage_reported")):
        yield f"usage_reported: {event.get('usage_reported')}"
    pairs = [("model", "model_responded"), ("id", "response_id"), ("finish", "finish_reason"),
             ("request_id", "request_id")]
    for theirs, ours in pairs:
        if line.get(theirs) is not None and event.get(ours) != line[theirs]:
            yield f"{ours}: the client printed {line[theirs]}, the event says {event.get(ours)}"
    for name, value in expect.items():
        if event.get(name) != value:
            yield f"{name}: expected {value}, the event says {event.get(name)}"
    if event.get("feature", {}).get("source") != "FROM_ENVIRONMENT":
        yield f"feature: {event.get('feature')}"
    for name in ("trace_id", "id", "agent_instance", "seq", "start_time_unix_nano", "end_time_unix_nano"):
        if name != "trace_id" and not event.get(name):
            yield f"{name} is missing"
    if not event.get("latency", {}).get("total_us"):
        yield f"latency: {event.get('latency')}"
    if "cost" not in event:
        yield "cost is missing"


def main():
    name, line, events, expect = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
    with open(events, encoding="utf-8") as f:
        mine = [e for e in map(json.loads, f) if e.get("feature", {}).get("value") == name]
    if len(mine) != 1:
        print(f"not ok - {name}: {len(mine)} events instead of one")
        return 1
    found = list(differences(line, mine[0], expect))
    if found:
        print(f"not ok - {name}: {'; '.join(found)}")
        return 1
    usage = dict(expected_usage(line.get("usage") or {}))
    print(f"ok - {name}: {mine[0].get('model_responded')}, {usage}, {mine[0].get('finish_reason')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
