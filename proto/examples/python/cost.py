#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What each feature costs, from the single calls, to the nano-dollar.

    cost.py [--once] [SUBJECT]        default lectr.v1.>; of one organisation lectr.v1.*.acme.>

An event may come twice: it is counted once. One that did not come is told as missing. What the
agents could not meter comes as gaps.
"""
import asyncio
import sys

import lectr
import lectr_pb2

TYPES = {"call": lectr_pb2.Call, "gap": lectr_pb2.Gap, "coverage": lectr_pb2.Coverage}


class Costs:
    def __init__(self):
        self.numbers = lectr.Numbers()
        self.features = {}
        self.unmetered = {"connections": 0, "calls_in_flight": 0, "events_lost": 0}

    def feed(self, subject, payload):
        kind = subject.split(".")[2]
        if kind not in TYPES:
            return  # roll-ups and alerts, and what a later version may add
        event = TYPES[kind].FromString(payload)
        if not self.numbers.claim(event):
            return
        if kind == "call":
            self.add_call(event)
        elif kind == "gap":
            for key in self.unmetered:
                self.unmetered[key] += getattr(event, key)

    def add_call(self, call):
        f = self.features.setdefault(call.feature.value, {"calls": 0, "cost_nanousd": 0, "cost_unknown": 0})
        f["calls"] += 1
        # Absent is unknown, never zero.
        if call.cost.HasField("expected_nanousd"):
            f["cost_nanousd"] += call.cost.expected_nanousd
        else:
            f["cost_unknown"] += 1

    def summary(self):
        n = self.numbers
        return {"features": self.features, "unmetered": self.unmetered,
                "events": {"received": n.received, "duplicates": n.duplicates, "missing": n.missing}}


async def main(words):
    once = "--once" in words
    subject = next((w for w in words if not w.startswith("-")), "lectr.v1.>")
    costs = Costs()
    async with lectr.Nats() as nats:
        telling = None if once else lectr.every(10, costs.summary)
        async for name, payload in lectr.read(nats, subject, once):
            costs.feed(name, payload)
    lectr.tell(costs.summary())


asyncio.run(main(sys.argv[1:]))
