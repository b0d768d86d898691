#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The short form of `make torture`: a collector is killed (-9) at random moments and at chosen steps
# of a commit while events pour in, with TLS and a password on NATS; then with NATS killed as well;
# then two collectors on PostgreSQL, one of them killed every few seconds. Each time the store holds
# exactly what was poured, to the token and the nano-dollar.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin torture
for tool in torrent kill_preload.so; do
    [ -e "$B/tests/harness/$tool" ] || skip_all "$B/tests/harness/$tool is not built"
done
events=${FAST:+40000}
events=${events:-80000}
kills=${FAST:+6}
kills=${kills:-16}
seed=${TORTURE_SEED:-$RANDOM}
export TMPDIR=$tmp LECTR_BUILD=$B

# torture WHAT ARG...: its lines are this script's.
torture() {
    local what=$1 status=0
    shift
    note "$what, seed $seed"
    "$top/tests/harness/torture" --events "$events" --seed "$seed" "$@" >"$tmp/out" 2>&1 || status=$?
    cat "$tmp/out"
    e2e_failed=$((e2e_failed + $(grep -c '^not ok' "$tmp/out")))
    e2e_skipped=$((e2e_skipped + $(grep -c '^SKIP' "$tmp/out")))
    [ $status = 0 ] || grep -q '^not ok' "$tmp/out" || not_ok "torture ended with status $status"
}

torture "SQLite, one collector" --kills "$kills" --keep-calls-h 9000
torture "SQLite, killed again and again before its first commit" --crash-loop
torture "SQLite, NATS killed as well" --kills $((kills / 2)) --restart-nats 2

printf 'store:\n  url: postgresql://x@127.0.0.1:1/x\n' >"$tmp/postgres.yaml"
if "$B/lectr-collector" check-config -c "$tmp/postgres.yaml" >/dev/null 2>&1; then
    torture "PostgreSQL, two collectors" --store postgres --collectors 2 --kill-every 3 --kills 6
else
    skip "PostgreSQL: this collector has no store.url"
fi
