# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What every end-to-end script needs. A script begins with
#
#   source "$(dirname "$0")/../harness/e2e-lib.sh"
#   e2e_begin NAME
#
# and prints "ok - …", "not ok - …" or "SKIP - reason" lines. It has a folder ($tmp), a lab (lab)
# and a stack of NATS, agent and collector (stack) of its own, so that scripts may run side by side.
# The EXIT trap ends what was started, takes away what was made, and shows the logs when something
# failed.
#
# Environment: LECTR_BUILD (build folder), EXCHANGES (recordings), E2E_FAST=1 (shorter waits, fewer
# rounds), E2E_KEEP=1 (leave $tmp behind).

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
B=$(cd "$top" && realpath -m "${LECTR_BUILD:-build}")
FAST=${E2E_FAST:-}
e2e_failed=0
e2e_skipped=0
e2e_pids=()

# --- saying what was seen ------------------------------------------------------------------------

ok() { echo "ok - $*"; }

not_ok() {
    echo "not ok - $*"
    e2e_failed=$((e2e_failed + 1))
}

note() { echo "# $*"; }

skip() {
    echo "SKIP - $*"
    e2e_skipped=$((e2e_skipped + 1))
}

# skip_all REASON: nothing of this script can run here.
skip_all() {
    skip "$e2e_name: $*"
    exit 0
}

# check WHAT CMD...: ok when CMD succeeds; false when not.
check() {
    local what=$1
    shift
    if "$@"; then
        ok "$what"
    else
        not_ok "$what"
        return 1
    fi
}

# holds FILTER [jq option...]: whether the JSON on standard input is so.
holds() { jq -e "${@:2}" "$1" >/dev/null; }

# same WHAT EXPECTED GOT; false when they differ, so that "|| note …" can say more.
same() {
    if [ "$2" = "$3" ]; then
        ok "$1 ($3)"
    else
        not_ok "$1: expected '$2', got '$3'"
        return 1
    fi
}

# wait_for SECONDS CMD...: until CMD succeeds; false when it never did.
wait_for() {
    local end=$((SECONDS + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$end" ] || return 1
        sleep 0.1
    done
}

# --- begin and end -------------------------------------------------------------------------------

e2e_begin() {
    e2e_name=$1
    set -u -o pipefail
    echo "# $e2e_name"
    [ "$(id -u)" = 0 ] || skip_all "needs root"
    local tool
    for tool in ip nsenter unshare curl jq openssl nats-server sqlite3 dnsmasq protoc; do
        command -v "$tool" >/dev/null || skip_all "$tool is not installed"
    done
    /usr/bin/python3 -c 'import google.protobuf' 2>/dev/null || skip_all "python3-protobuf is not installed"
    for tool in lectr-agent lectr-collector lectrctl; do
        [ -x "$B/$tool" ] || skip_all "$B/$tool is not built"
    done
    tmp=$(mktemp -d "/tmp/lectr-e2e-$e2e_name.XXXXXX")
    chmod 755 "$tmp"
    id=$e2e_name$$
    trap e2e_end EXIT
    trap 'exit 130' INT TERM
    export LECTR_LAB_NAME=$id LECTR_LAB_DIR=$tmp/lab LECTR_STACK_DIR=$tmp/stack LECTR_STACK_ORG=e2e
    export LECTR_BUILD=$B
    lab_prefix=lectr-lab-$id
    log=$tmp/log
    proto_dir=$tmp/proto
    mkdir -p "$proto_dir" "$log"
    protoc -I "$top/proto" --python_out="$proto_dir" lectr.proto
}

# Background processes of this script: ended by id, and only while they are still its children.
ours() { [ "$(awk '/^PPid:/ { print $2 }' "/proc/$1/status" 2>/dev/null)" = "$$" ]; }

e2e_stop_all() {
    local pid
    for pid in "${e2e_pids[@]}"; do
        ours "$pid" && kill -CONT "$pid" && kill "$pid"
    done 2>/dev/null
    for pid in "${e2e_pids[@]}"; do
        for _ in {1..50}; do
            ours "$pid" && [ "$(awk '/^State:/ { print $2 }' "/proc/$pid/status")" != Z ] || break
            sleep 0.1
        done 2>/dev/null
        ours "$pid" && kill -KILL "$pid" 2>/dev/null
    done
    wait 2>/dev/null
}

e2e_logs() {
    local file
    for file in "$log"/* "$tmp"/stack/log/*; do
        [ -s "$file" ] || continue
        echo "# --- ${file##*/} (last lines)"
        tail -n 25 "$file" | cut -c1-400 | sed 's/^/#   /'
    done
}

e2e_end() {
    local status=$?
    trap - EXIT INT TERM
    [ "$status" = 0 ] || not_ok "$e2e_name: ended early (exit $status)"
    e2e_stop_all
    [ "$e2e_failed" = 0 ] || e2e_logs
    [ -z "${E2E_KEEP:-}" ] || { mkdir "$tmp.kept" && tar -C "$tmp" --exclude=./stack/bpf -cf - . | tar -C "$tmp.kept" -xf -; }
    mkdir -p "$log" "$tmp/stack" # whatever became of them, the cleaning up must run
    stack down >"$log/stack-down" 2>&1
    [ ! -s "$log/stack-down" ] || not_ok "$e2e_name: stack down: $(head -c 300 "$log/stack-down")"
    lab down >/dev/null 2>&1
    rm -rf "$tmp"
    echo "# $e2e_name: $e2e_failed failed, $e2e_skipped skipped"
    [ "$e2e_failed" = 0 ]
    exit
}

# background NAME CMD...: log in $log/NAME; sets $started to its pid.
background() {
    local name=$1
    shift
    "$@" </dev/null >>"$log/$name" 2>&1 &
    started=$!
    e2e_pids+=("$started")
}

# --- NATS, agent, collector ----------------------------------------------------------------------

stack() { "$top/tests/harness/stack" "$@"; }

# After lab_up (unless LECTR_STACK_LAB=0). Settings may be changed between this and stack_start. Sets $trust (what clients
# believe: the lab's root and Lectr's), $lab_trust (the lab's alone) and the addresses.
stack_init() {
    stack init >"$log/stack-init" 2>&1 || {
        not_ok "stack init: $(tail -n 5 "$log/stack-init")"
        exit 1
    }
    agent_config=$tmp/stack/agent.yaml
    collector_config=$tmp/stack/collector.yaml
    sed -i '1ilog_level: debug' "$agent_config"
    trust=$tmp/stack/trust.pem
    lab_trust=$tmp/lab/$id/pki/root.crt
    local nats agent collector
    read -r nats agent collector <"$tmp/stack/ports"
    export NATS_PORT=$nats
    agent_url=http://127.0.0.1:$agent
    collector_url=http://127.0.0.1:$collector
}

# stack_start NAME...: a script cannot go on without it. Sets $helper_pid and $collector_pid.
stack_start() {
    local name
    for name; do
        stack start "$name" >"$log/stack-start-$name" 2>&1 || {
            not_ok "$name does not start: $(tail -n 3 "$log/stack-start-$name")"
            exit 1
        }
    done
    helper_pid=$(stack pid agent)
    collector_pid=$(stack pid collector)
}

# The proxy is the helper's child; it changes.
proxy_pid() { awk '{ print $1 }' "/proc/$helper_pid/task/$helper_pid/children" 2>/dev/null; }

gone() { [ ! -e "/proc/$1" ] || grep -q '^State:.*Z' "/proc/$1/status" 2>/dev/null; }

# --- the lab -------------------------------------------------------------------------------------

lab() { "$top/tests/harness/lab" "$@"; }

# The folder of recordings that the simulator answers from.
exchanges=$(realpath -m "${EXCHANGES:-$top/tests/golden/exchanges}")

lab_up() {
    EXCHANGES=$exchanges lab up >"$log/lab-up" 2>&1 || {
        not_ok "lab up: $(tail -n 5 "$log/lab-up")"
        exit 1
    }
    node_bin=$(lab env | sed -n 's/^LECTR_LAB_NODE=//p')
}

# pod POD [VAR=VALUE...] -- CMD...: runs CMD in the pod, trusting the lab's root and Lectr's.
pod() {
    local name=$1 vars=()
    shift
    while [ "$1" != -- ]; do
        vars+=("$1")
        shift
    done
    shift
    lab exec "$name" -- env -i PATH="$PATH" HOME="$tmp" NODE_EXTRA_CA_CERTS="$trust" \
        SSL_CERT_FILE="$trust" REQUESTS_CA_BUNDLE="$trust" CURL_CA_BUNDLE="$trust" "${vars[@]}" "$@"
}

pod_address() { ip -n "$lab_prefix.pod.$1" -j -4 addr show eth0 | jq -r '.[0].addr_info[0].local'; }

# --- what was told -------------------------------------------------------------------------------

tool() { PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$proto_dir /usr/bin/python3 "$top/tests/e2e/tools/$1" "${@:2}"; }

# client POD HOST...: a plain client in a pod (tools/client.py), one JSON line a call.
client() { pod "$1" -- /usr/bin/python3 -B "$top/tests/e2e/tools/client.py" "${@:2}"; }

# events SUBJECT_PREFIX: the stream's messages as JSON lines (snake_case names), e.g. lectr.v1.call
events() { tool events.py "${1:-lectr.v1}"; }

count_events() { events "$1" | grep -c .; }

# events_reach PREFIX COUNT: true once at least so many are there (for wait_for).
events_reach() { [ "$(count_events "$1")" -ge "$2" ]; }

# gap_connections REASON...: sum over all gaps of these reasons.
gap_connections() {
    events lectr.v1.gap | jq -s '[.[] | select(IN(.reason; $ARGS.positional[])) | .connections // 0] |
        add // 0' --args "$@"
}

# Connections as coverage and gaps tell them, of all workloads: "seen accounted".
conns_told() {
    { events lectr.v1.coverage; events lectr.v1.gap; } | jq -s -r '
        [([.[] | .seen_connections // 0] | add // 0),
         ([.[] | (.metered_connections // 0) + (.connections // 0)] | add // 0)] | join(" ")'
}
# conns_told_since BEFORE: the same, since conns_told said BEFORE.
conns_told_since() { conns_told | awk -v s="${1% *}" -v a="${1#* }" '{ print $1 - s, $2 - a }'; }
# conns_all_told BEFORE COUNT: since then so many were seen, and all accounted for.
conns_all_told() { [ "$(conns_told_since "$1")" = "$2 $2" ]; }

# Calls that had begun when a proxy died, as the gaps tell it.
gap_in_flight() {
    events lectr.v1.gap | jq -s '[.[] | select(.reason == "agent_died") | .calls_in_flight // 0] | add // 0'
}

# without_event ROWS FILTER: of the client's calls that FILTER chooses, those without an event. An
# answer is passed on before it is counted, so a proxy that is killed between the two leaves a call
# that finished for its client and is told as one in flight.
without_event() {
    jq -r "select($2) | .trace_id" "$1" | sort |
        comm -23 - <(events lectr.v1.call | jq -r '.trace_id // empty' | sort -u) | grep -c .
}

gaps_reach() { [ "$(gap_connections "$1")" -ge "$2" ]; }
