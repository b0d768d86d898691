#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# `lectr-agent run` puts a command below the cgroup it is in, so that its limits hold, and takes
# that away again; the proxy's user is refused. There is one daemon; cleanup leaves a living one
# alone, a stopped one too.
source "$(dirname "$0")/../harness/e2e-lib.sh"
e2e_begin control

lab_up
stack_init
stack_start nats agent
lab pod add a
run_dir=$(sed -n 's/^run_dir: //p' "$agent_config")
root=$(sed -n 's,^[^ ]* \([^ ]*\) cgroup2 .*,\1,p' /proc/mounts | head -n 1)

# --- run -----------------------------------------------------------------------------------------
cgroup_in_pod() { pod a -- "$@" sed -n 's/^0:://p' /proc/self/cgroup; }
outside=$(cgroup_in_pod)
inside=$(cgroup_in_pod "$B/lectr-agent" run -c "$agent_config" --)
case $inside in
"$outside"/lectr-run-sed-*) ok "a command stays below its cgroup ($inside)" ;;
*) not_ok "a command stays below its cgroup: from '$outside' to '$inside'" ;;
esac
wait_for 15 eval "[ ! -e '$root$inside' ]"
check "its cgroup goes with it" [ ! -e "$root$inside" ]
line=$(pod a -- "$B/lectr-agent" run -c "$agent_config" -- /usr/bin/python3 -B \
    "$top/tests/e2e/tools/client.py" api.openai.com | tail -n 1)
same "what it calls is captured" true "$(jq -r '.captured and .ok' <<<"$line")"

ask_as() { # UID REQUEST
    /usr/bin/python3 - "$run_dir" "$@" <<'PY'
import os, socket, sys
os.chdir(sys.argv[1])
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
os.setresuid(*3 * [int(sys.argv[2])])
s.connect("control.sock")
s.send(sys.argv[3].encode())
print(s.recv(512).decode())
PY
}
same "the proxy's user may ask how it is" ok "$(ask_as "$(id -u nobody)" ping)"
same "… and not be moved" "error Permission denied" "$(ask_as "$(id -u nobody)" "run x")"

# --- one daemon ----------------------------------------------------------------------------------
timeout 20 "$B/lectr-agent" daemon -c "$agent_config" >"$log/second" 2>&1
same "a second daemon ends at once" 1 $?
check "… and names the first" grep -q "another daemon runs already.*$helper_pid" "$log/second"
same "the first still answers" ok "$(ask_as 0 ping)"
kill -STOP "$helper_pid"
check "cleanup leaves a stopped daemon alone" eval \
    '! "$B/lectr-agent" cleanup -c "$agent_config" >"$log/cleanup" 2>&1 && grep -q "process $helper_pid" "$log/cleanup"'
kill -CONT "$helper_pid"
check "its pins are there" [ -n "$(find "$tmp/stack/bpf" -mindepth 1 2>/dev/null)" ]
stack stop agent
check "cleanup works without it" "$B/lectr-agent" cleanup -c "$agent_config"
check "… and takes the run folder away" [ ! -e "$run_dir" ]
