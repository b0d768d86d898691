# SPDX-License-Identifier: Apache-2.0
"""A collector is killed at every write and sync of a migration: the file is then sound, of one
version or the other, and comes out the same in the end."""
import signal
import sqlite3

import torture_world as world

STEPS = ("frame", "sync", "synced")


def dump(path):
    """Every row of every table, in an order that says nothing of how it came there."""
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60) as db:
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1")]
        return {table: sorted(map(repr, db.execute(f"SELECT * FROM {table}"))) for table in tables}


def look(path):
    with sqlite3.connect(path, timeout=60) as db:
        return db.execute("PRAGMA user_version").fetchone()[0], db.execute("PRAGMA integrity_check").fetchone()[0]


def make(path, script):
    for end in ("", "-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    with sqlite3.connect(path) as db:
        db.executescript(script)


def migrate(collector):
    """Starts it and stops it when the file is open."""
    collector.start()
    came = world.wait_for(30, lambda: collector.get("/api/v1/status") is not None)
    return collector.end() == 0 and came


def run(folder, preload, scripts, check):
    """Kills by version and step; `scripts`: version -> SQL of a file of that version."""
    nats = world.Nats(folder, plain=True)  # not started: nothing comes in meanwhile
    path = folder / "collector.db"
    kills = 0
    collector = world.Collector(folder, "migrate", nats, f"  path: {path}\n", "detect:\n  enabled: false\n", preload)
    for version, script in scripts.items():
        make(path, script)
        check(f"version {version} is taken", migrate(collector))
        want, (newest, _) = dump(path), look(path)
        wrong, killed = [], 0
        for step in STEPS:
            for n in range(1, 1000):
                make(path, script)
                collector.start(f"{step}:{n}")
                world.wait_for(30, lambda: not collector.is_alive() or collector.get("/api/v1/status") is not None,
                               0.01)
                if collector.is_alive():
                    collector.end()
                    break
                killed += collector.child.returncode == -signal.SIGKILL
                found, sound = look(path)
                if found not in range(version, newest + 1) or sound != "ok":
                    wrong.append(f"{step} {n}: version {found}, {sound}")
                if not migrate(collector) or dump(path) != want:
                    wrong.append(f"{step} {n}: comes out different")
        check(f"version {version} to {newest}, killed at each of {killed} steps", killed > 3 and not wrong, wrong[:10])
        kills += killed
    return kills
