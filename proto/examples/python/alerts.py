#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Who is alarmed, and why: every transition as it comes, and the episodes that are not over.

    alerts.py [--once] [ORG [KIND]]        e.g. acme cost

Reads the CloudEvents, so that JSON is all it needs. Transitions come at least once, in order for
each episode: an id that was seen is dropped.
"""
import asyncio
import json
import sys

import lectr


class Alerts:
    def __init__(self):
        self.seen = set()  # a program that keeps running forgets the ids of episodes that are over
        self.active = {}  # fingerprint -> what the CloudEvent says
        self.transitions = {"firing": 0, "updated": 0, "resolved": 0}

    def feed(self, event):
        """The transition, or None when it is known."""
        if event["id"] in self.seen:
            return None
        self.seen.add(event["id"])
        alert = event["data"]
        self.transitions[alert["status"]] += 1
        if alert["status"] == "resolved":
            self.active.pop(alert["fingerprint"], None)
        else:
            self.active[alert["fingerprint"]] = alert
        return alert

    def summary(self):
        scope = ("feature", "provider", "model")
        return {"transitions": self.transitions, "active": {
            fingerprint: {"rule": a["rule"],
                          "scope": {name: a["labels"][name] for name in scope if a["labels"].get(name)},
                          "observed": a["observed"]["value"], "baseline": a["baseline"]["value"],
                          "reason": a["reason"]}
            for fingerprint, a in self.active.items()}}


async def main(words):
    once = "--once" in words
    org, kind = ([w for w in words if not w.startswith("-")] + ["*", "*"][len(words) - once:])[:2]
    alerts = Alerts()
    async with lectr.Nats() as nats:
        async for _, payload in lectr.read(nats, f"lectr.v1.cloudevent.{org}.{kind}", once):
            alert = alerts.feed(json.loads(payload))
            if alert and not once:
                print(alert["status"], alert["severity"], f'{alert["rule"]}:', alert["reason"], flush=True)
    lectr.tell(alerts.summary())


asyncio.run(main(sys.argv[1:]))
