# SPDX-License-Identifier: Apache-2.0
"""What the published roll-ups come to, as any subscriber sees them: of each series and bucket the
highest revision counts, alone."""
import importlib
import subprocess
import sys

import torture_world as world

WINDOWS = {"minute": 60, "hour": 3600, "day": 86400}
SUMS = {"calls": "calls", "input_tokens": "input_total", "output_tokens": "output_total",
        "cost_low_nanousd": "cost_low", "cost_expected_nanousd": "cost_expected",
        "cost_high_nanousd": "cost_high", "calls_cost_unknown": "cost_unknown"}


def load_contract(folder):
    subprocess.run(["protoc", "-I", str(world.TOP / "proto"), f"--python_out={folder}", "lectr.proto"], check=True)
    sys.path.insert(0, str(folder))
    return importlib.import_module("lectr_pb2")


def read(nats, contract):
    """Window -> totals; and how many messages told of how many buckets."""
    newest, messages = {}, 0
    for content in nats.read_stream("lectr.v1.rollup.>"):
        m = contract.Rollup.FromString(content)
        messages += 1
        if newest.get(m.id) is None or newest[m.id].revision < m.revision:
            newest[m.id] = m
    told = {window: dict.fromkeys(SUMS.values(), 0) for window in WINDOWS}
    for m in newest.values():
        for window, seconds in WINDOWS.items():
            if m.window_seconds == seconds:
                for field, name in SUMS.items():
                    told[window][name] += getattr(m, field)
    return told, messages, len(newest)
