#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# C sources are as clang-format leaves them.
source "$(dirname "$0")/prove.bash"

command -v clang-format >/dev/null || {
    echo "SKIP - format: clang-format is not installed"
    exit 0
}

find_breaches() {
    files -name '*.c' -o -name '*.h' |
        xargs -r clang-format --style="file:$top/.clang-format" --dry-run 2>&1 |
        sed -nE 's/^([^: ]+):([0-9]+):[0-9]+: warning: code should be clang-formatted.*/\1: not in the house format (make format)/p' |
        sort -u
}

prove format
