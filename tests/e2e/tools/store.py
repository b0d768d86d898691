# SPDX-License-Identifier: Apache-2.0
"""store.py DATABASE calls|rollup: the collector's single calls as JSON lines, read with nothing but
sqlite3 and proto/lectr.proto; or the number of calls in its one-minute roll-ups."""
import json
import sqlite3
import sys

import lectr_pb2
from events import plain


def main():
    with sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=10) as db:
        if sys.argv[2] == "rollup":
            print(db.execute("SELECT coalesce(sum(calls), 0) FROM rollup WHERE seconds = 60").fetchone()[0])
            return
        for (payload,) in db.execute("SELECT payload FROM call ORDER BY end_ns"):
            print(json.dumps(plain(lectr_pb2.Call.FromString(payload))))


if __name__ == "__main__":
    main()
