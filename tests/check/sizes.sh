#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A .c file stops at 700 lines, a function at 80.
source "$(dirname "$0")/prove.bash"

if ! ctags --version 2>/dev/null | grep -q Universal; then
    echo "SKIP - sizes: universal-ctags is not installed"
    exit 0
fi

find_breaches() {
    local f
    files -name '*.c' | while read -r f; do
        [ "$(wc -l <"$f")" -le 700 ] || echo "$f:1: $(wc -l <"$f") lines, more than 700"
    done
    files -name '*.c' -o -name '*.h' |
        ctags -L - -o - --kinds-C=f --languages=C --langmap=C:+.h --fields=+ne --excmd=number |
        awk -F'\t' '{
            start = end = 0
            for (i = 4; i <= NF; i++) {
                if ($i ~ /^line:/) start = substr($i, 6)
                if ($i ~ /^end:/) end = substr($i, 5)
            }
            if (end - start + 1 > 80)
                print $2 ":" start ": " $1 "() has " end - start + 1 " lines, more than 80"
        }' | sort -t: -k1,1 -k2,2n
}

prove sizes
