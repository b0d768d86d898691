#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Every source says its licence in its first lines: Apache-2.0, in bpf/ the dual one.
source "$(dirname "$0")/prove.bash"

sources() {
    files -name '*.[ch]' -o -name '*.sh' -o -name '*.bash' -o -name '*.awk' -o -name '*.mjs' \
        -o -name '*.py' -o -name '*.mk' -o -name 'Makefile' -o -name '*.proto' -o -name '*.yaml' \
        -o -name '*.service' -o -name '*.[18]'
    # Scripts without an ending.
    files -perm -u+x -not -name '*.*' | while read -r f; do
        head -c 2 "$f" | grep -q '#!' && echo "$f"
    done
}

find_breaches() {
    local f want
    sources | sort -u | while read -r f; do
        want='SPDX-License-Identifier: Apache-2\.0'
        case $f in
        bpf/*.[ch]) want='SPDX-License-Identifier: \(GPL-2\.0-only OR BSD-2-Clause\)' ;;
        helm/*/templates/*) continue ;; # covered by the chart's own papers
        esac
        head -n 5 "$f" | grep -qE "$want" || echo "$f:1: no line ${want//\\/}"
    done
}

prove papers
