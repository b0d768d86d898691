#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Who may include whom: layers, stages, and the owners of third-party headers.
source "$(dirname "$0")/prove.bash"

# Folder -> what its files may include with quotes (regular expressions).
layers='
proto/base  ^proto/base/
proto       ^proto/
agent       ^(agent|proto)/|^bpf/abi\.h$|^bpf/lectr\.skel\.h$
collector   ^(collector|proto)/
bpf         ^bpf/|^vmlinux\.h$
'

# Stages in the order in which bytes flow: one may include those before it, never one behind it.
# Coordinators (conn, pipeline, main, commands) are not in the list: they see every stage.
flows='
agent     json body sse http1 http2 provider estimate price meter event spool publish
collector record sketch tally rollup baseline alert
'

# Third-party header -> the files that own it.
owners='
^bpf/           ^bpf/|^agent/capture[a-z_]*\.c$
^openssl/       ^agent/(tls|cert|ca|trust)[a-z_]*\.[ch]$|^collector/sign\.c$|^tests/bench/
^nats/          ^agent/publish\.c$|^collector/bus[a-z_]*\.[ch]$|^collector/ctl/[a-z_]+\.c$|^tests/harness/
^uv\.h$         ^agent/loop\.c$
^llhttp         ^agent/http1\.c$
^nghttp2/       ^agent/http2\.c$|^tests/
^(cyaml/|yaml\.h$)  ^agent/(config|yamldoc|provider|price_supplement)[a-z_]*\.c$|^collector/(config|alerting_schema|places|yamlread)\.c$
^jansson\.h$    ^agent/price_table\.c$|^collector/.*\.[ch]$|^tests/harness/
^sqlite3\.h$    ^collector/db_sqlite\.c$
^libpq-fe\.h$  ^collector/db_(pg\.[ch]|postgres\.c)$
^microhttpd\.h$ ^collector/(serve|health)[a-z_]*\.c$|^agent/health\.c$
^curl/          ^collector/(export|webhook|ctl/)[a-z_]*\.c$
^(zlib\.h$|zstd(_errors)?\.h$|brotli/) ^agent/(body|eventstream)[a-z_]*\.c$|^collector/call_block\.c$|^tests/(unit|harness|fuzz)/
^seccomp\.h$ ^agent/seccomp\.c$
^(elf\.h$|libelf\.h$|gelf\.h$) ^agent/capture\.c$
^uthash\.h$     ^(agent|collector)/
^cmocka\.h$     ^tests/
^protobuf-c/    ^proto/
'

# The generated wire contract is for those that make or read events.
contract='^(proto|collector)/|^agent/(event|publish|outbox|gap|coverage|census|recover|origin)[a-z_]*\.[ch]$|^tests/'

# Everything else in angle brackets must be the C library's or the kernel's.
system='^(sys|linux|net|netinet|arpa|asm|bits)/|^(assert|byteswap|ctype|dirent|dlfcn|endian|err|errno|fcntl|float|fnmatch|ftw|getopt|glob|grp|ifaddrs|inttypes|langinfo|libgen|limits|locale|malloc|math|mntent|netdb|poll|pthread|pwd|regex|sched|search|semaphore|setjmp|signal|spawn|stdalign|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdlib|stdnoreturn|string|strings|syslog|termios|threads|time|uchar|ucontext|unistd|utime|wchar|wctype)\.h$'

export layers flows owners contract system # as they stand: awk would read escapes in -v

find_breaches() {
    files -name '*.c' -o -name '*.h' | xargs -r grep -nHE '^[[:space:]]*#[[:space:]]*include' |
        awk -f "$here/includes.awk"
}

prove includes
