# SPDX-License-Identifier: Apache-2.0
"""What a store holds, summed without the collector: by sqlite3 or psql, for every schema version."""
import re
import sqlite3

SUMS = {
    "calls": "calls", "input_total": "input_total", "output_total": "output_total",
    "input_unknown": "input_unknown", "output_unknown": "output_unknown", "cost_unknown": "cost_unknown",
    "tokens_estimated": "tokens_estimated", "cost_low": "cost_low", "cost_expected": "cost_expected",
    "cost_high": "cost_high",
}
# Columns of tokens by kind, and the kinds of the wire that they sum.
KINDS = {
    "input": ["input"], "cached_input": ["cached_input"],
    "cache_write": ["cache_write", "cache_write_5m", "cache_write_1h"],
    "output": ["output"], "reasoning": ["reasoning"],
}
STEPS = {"minute": 60, "hour": 3600, "day": 86400}


class SqliteStore:
    def __init__(self, path):
        self.path = path

    def rows(self, sql):
        with sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, timeout=60) as db:
            return [list(row) for row in db.execute(sql)]

    def has(self, table, column):
        return any(row[1] == column for row in self.rows(f"PRAGMA table_info({table})"))

    def is_sound(self):
        return self.rows("PRAGMA integrity_check") == [["ok"]]


class PostgresStore:
    def __init__(self, server):
        self.server = server

    def rows(self, sql):
        rows = self.server.psql(sql)
        if rows is None:
            raise RuntimeError(f"psql: {sql}")
        return rows

    def has(self, table, column):
        return bool(self.rows("SELECT 1 FROM information_schema.columns WHERE table_name = "
                              f"'{table}' AND column_name = '{column}'"))



def number(value):
    return int(value or 0)


def tally(rows):
    """Sums "name TAB count" lines; kind.modality/unit/source is summed over modalities."""
    sums = {}
    for (text,) in rows:
        for line in (text or "").splitlines():
            name, count = line.rsplit("\t", 1)
            name = re.sub(r"^([^./]*)\.[^/]*/", r"\1/", name)
            sums[name] = sums.get(name, 0) + int(count)
    return sums


def one(store, sql):
    return [number(x) for x in store.rows(sql)[0]]


def read_rollup(store, step, base_s):
    """Totals of one resolution, under the names that the torrent prints."""
    seconds = STEPS[step]
    columns = list(SUMS.values()) + list(KINDS)
    where = f"FROM rollup WHERE seconds = {seconds}"
    values = one(store, "SELECT " + ", ".join(f"sum({c})" for c in columns) + " " + where)
    got = dict(zip(list(SUMS) + ["tokens " + k for k in KINDS], values))
    at = f"((bucket - {base_s}) / {seconds})"
    got[step + "s"], squared = one(store, f"SELECT sum(calls * {at}), sum(calls * {at} * {at}) {where}")
    if step == "minute":
        got["minutes_squared"] = squared
    if store.has("rollup", "error_types"):
        got["errors"] = tally(store.rows(f"SELECT error_types {where}"))
        got["usage"] = tally(store.rows(f"SELECT usage {where}"))
    else:
        got["errors"] = {t: number(n) for t, n in store.rows(
            f"SELECT type, sum(calls) FROM rollup_error WHERE seconds = {seconds} GROUP BY type")}
    return got


def read_features(store, step):
    rows = store.rows("SELECT org, feature, sum(calls), sum(input_total), sum(output_total), "
                      "sum(cost_expected) FROM rollup JOIN series ON series.id = rollup.series "
                      f"WHERE seconds = {STEPS[step]} GROUP BY org, feature")
    return {(org, feature): [number(x) for x in rest] for org, feature, *rest in rows}


def read_coverage(store, step):
    def where(table):
        if store.has(table, "seconds"):
            return f"FROM {table} WHERE seconds = {STEPS[step]}"
        return f"FROM {table}"

    names = ["connections", "calls_in_flight", "events_lost", "seen", "metered"]
    return dict(zip(names, one(store, f"SELECT sum(connections), sum(calls_in_flight), sum(events_lost) {where('gap')}")
                    + one(store, f"SELECT sum(seen), sum(metered) {where('coverage')}")))


def wanted_rollup(truth, step):
    names = list(SUMS) + [step + "s"] + (["minutes_squared"] if step == "minute" else [])
    want = {name: truth[name] for name in names}
    for column, kinds in KINDS.items():
        want["tokens " + column] = sum(count for name, count in truth["usage"].items()
                                       if name.split("/")[0] in kinds and name.split("/")[1] == "token")
    want["errors"] = truth["errors"]
    want["usage"] = truth["usage"]
    return want


def differences(want, got):
    """What of `got` is not as it was wanted."""
    wrong = []
    for name, value in got.items():
        if isinstance(value, dict):
            both = {**dict.fromkeys(want[name], 0), **value}
            wrong += [f"{name}: {line}" for line in differences(want[name], both)]
        elif want.get(name, 0) != value:
            wrong.append(f"{name}: {want.get(name)} wanted, {value} there")
    return wrong


def read_calls(store):
    """Single calls that are kept."""
    if store.has("call_block", "calls"):
        return one(store, "SELECT coalesce(sum(calls), 0) FROM call_block")[0]
    return one(store, "SELECT count(*) FROM call")[0]


def check_store(store, truth, check, keeps_calls):
    for step in STEPS:
        wrong = differences(wanted_rollup(truth, step), read_rollup(store, step, truth["base_s"]))
        check(f"{step} roll-ups: calls, errors by type, tokens, nano-dollars and their buckets", not wrong, wrong)
        features = {(org, feature): rest for org, feature, *rest in truth["features"]}
        wrong = differences(features, read_features(store, step))
        check(f"{step} roll-ups: every one of {len(features)} features", not wrong, wrong[:5])
        wrong = differences(truth, read_coverage(store, step))
        check(f"{step} gaps and coverage", not wrong, wrong)
    want, got = truth["calls"] if keeps_calls else 0, read_calls(store)
    check(f"single calls that are kept ({want})", want == got, [f"got {got}"])
    if isinstance(store, SqliteStore):
        check("the file is sound", store.is_sound())
