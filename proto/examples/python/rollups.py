#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Calls, tokens, cost, errors, latency and coverage from the roll-ups: little to read, nothing to
add up twice.

    rollups.py [--once] [WINDOW [ORG]]        1m (default), 1h, 1d

A bucket that changed is told again, whole, with a higher revision: the highest one counts alone.
"""
import asyncio
import collections
import math
import sys

import lectr
import lectr_pb2


class Sketch:
    """Quantiles that can be merged: counts of the same bucket are added, that is all there is to it."""

    def __init__(self):
        self.count, self.buckets, self.relative_error = 0, collections.Counter(), 0.0

    def add(self, message):
        if message.count:
            self.count += message.count
            self.relative_error = message.relative_error
            self.buckets.update(dict(zip(message.bucket, message.bucket_count)))

    def quantile(self, q):
        growth = (1 + self.relative_error) / (1 - self.relative_error)
        rank, seen = math.floor(q * (self.count - 1)), 0
        for bucket in sorted(self.buckets):
            seen += self.buckets[bucket]
            if seen > rank:
                return 1 if bucket == 0 else 2 * growth**bucket / (growth + 1)
        return None


class Feature:
    def __init__(self):
        self.sums = collections.Counter(calls=0, cost_nanousd=0, cost_unknown=0)
        self.errors, self.usage, self.latency = collections.Counter(), collections.Counter(), Sketch()

    def add(self, r):
        self.sums.update(calls=r.calls, cost_nanousd=r.cost_expected_nanousd, cost_unknown=r.calls_cost_unknown)
        self.errors.update({e.type: e.calls for e in r.error_types})
        for u in r.usage:
            kind = f"{u.kind}.{u.modality}" if u.modality else u.kind
            source = lectr_pb2.Source.Name(u.source)[len("SOURCE_"):].lower()
            self.usage[f"{kind}/{u.unit or 'token'}/{source}"] += u.count
        self.latency.add(r.latency_us)

    def summary(self):
        return {**self.sums, "errors": self.errors, "usage": self.usage, "latency_p95_us": self.latency.quantile(0.95)}


class Rollups:
    def __init__(self):
        self.latest = {}  # id -> roll-up
        self.revised = 0

    def feed(self, payload):
        r = lectr_pb2.Rollup.FromString(payload)
        known = self.latest.get(r.id)
        if known and known.revision >= r.revision:
            return
        self.revised += known is not None
        self.latest[r.id] = r

    def summary(self):
        features = collections.defaultdict(Feature)
        coverage = {"seen": 0, "metered": 0, "gaps": collections.Counter()}
        for r in self.latest.values():
            if r.HasField("coverage"):
                coverage["seen"] += r.coverage.seen_connections
                coverage["metered"] += r.coverage.metered_connections
                for gap in r.coverage.gaps:
                    coverage["gaps"][gap.reason] += gap.connections
            else:
                features[r.feature].add(r)
        return {"features": {name: f.summary() for name, f in features.items()}, "coverage": coverage,
                "rollups": len(self.latest), "revised": self.revised}


async def main(words):
    once = "--once" in words
    window, org = ([w for w in words if not w.startswith("-")] + ["1m", "*"][len(words) - once:])[:2]
    rollups = Rollups()
    async with lectr.Nats() as nats:
        telling = None if once else lectr.every(10, rollups.summary)
        async for _, payload in lectr.read(nats, f"lectr.v1.rollup.{org}.{window}", once):
            rollups.feed(payload)
    lectr.tell(rollups.summary())


asyncio.run(main(sys.argv[1:]))
