# SPDX-License-Identifier: Apache-2.0
"""store.py DATABASE calls|rollup: the collector's single calls as JSON lines, read with nothing but
sqlite3, libzstd and proto/lectr.proto; or the number of calls in its one-minute roll-ups."""
import ctypes
import json
import sqlite3
import sys

import lectr_pb2
from events import plain

BLOCK_BYTES_MAX = 2 * 1024 * 1024
zstd = ctypes.CDLL("libzstd.so.1")
zstd.ZSTD_decompress.restype = ctypes.c_size_t
zstd.ZSTD_decompress.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t)
zstd.ZSTD_isError.argtypes = (ctypes.c_size_t,)


def varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at


def calls_of(block):
    """As collector/call_block.h has it: an end time, a length, the bytes."""
    out = ctypes.create_string_buffer(BLOCK_BYTES_MAX)
    size = zstd.ZSTD_decompress(out, BLOCK_BYTES_MAX, block, len(block))
    if zstd.ZSTD_isError(size):
        raise ValueError("a damaged block of calls")
    data, at = out.raw[:size], 0
    while at < size:
        _, at = varint(data, at)
        length, at = varint(data, at)
        yield data[at : at + length]
        at += length


def main():
    with sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=10) as db:
        if sys.argv[2] == "rollup":
            print(db.execute("SELECT coalesce(sum(calls), 0) FROM rollup WHERE seconds = 60").fetchone()[0])
            return
        for (block,) in db.execute("SELECT payload FROM call_block"):
            for payload in calls_of(block):
                print(json.dumps(plain(lectr_pb2.Call.FromString(payload))))


if __name__ == "__main__":
    main()
