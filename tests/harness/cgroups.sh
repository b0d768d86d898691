# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Control groups as a way to find again, and end, everything that was started.

cgroup_root() {
    local dir
    for dir in /sys/fs/cgroup /sys/fs/cgroup/unified; do
        if [ "$(stat -f -c %T "$dir" 2>/dev/null)" = cgroup2fs ]; then
            echo "$dir"
            return 0
        fi
    done
    echo "no cgroup2 mount at /sys/fs/cgroup or /sys/fs/cgroup/unified" >&2
    return 1
}

# cgroup_end DIR: ends every process below DIR.
cgroup_end() {
    local dir=$1
    for _ in {1..100}; do
        [ -n "$(find "$dir" -name cgroup.procs -exec cat {} +)" ] || return 0
        if [ -w "$dir/cgroup.kill" ]; then
            echo 1 >"$dir/cgroup.kill"
        else # before Linux 5.14
            # shellcheck disable=SC2046 # a list of pids
            kill -KILL $(find "$dir" -name cgroup.procs -exec cat {} +) 2>/dev/null || true
        fi
        sleep 0.02
    done
    return 1
}

# cgroup_kill DIR: the same, and removes DIR. Fails if it cannot.
cgroup_kill() {
    local dir=$1 sub
    # A dying process keeps its group busy a little longer than it is listed in it.
    for _ in {1..50}; do
        [ -d "$dir" ] || return 0
        cgroup_end "$dir"
        while read -r sub; do rmdir "$sub" 2>/dev/null || true; done < <(find "$dir" -depth -type d)
        [ -d "$dir" ] || return 0
        sleep 0.02
    done
    return 1
}
