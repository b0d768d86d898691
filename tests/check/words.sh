#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Words that have no place in the tree: notes to oneself, places of one machine, unbounded calls.
source "$(dirname "$0")/prove.bash"

# The brackets keep the rule from finding itself.
anywhere='\b(TO[D]O|FIX[M]E|XX[X]|HAC[K])\b|/wor[k]/|/home/[a-z]+/|registry\.npm[j]s|Co-[a]uthored|\b(chat[g]pt|sub[a]gent)\b'
in_c='\b(strcat|sprintf|vsprintf|gets|strtok|alloca)[[:space:]]*\(|\bstrcpy[[:space:]]*\([^,]*,[[:space:]]*[^"[:space:]]'

find_breaches() {
    local all
    all=$(files -not -name '*.json' -not -name 'LICENSE*' -not -name '*.in' -not -name '.git*')
    {
        xargs -r grep -nHIE "$anywhere" <<<"$all" | sed -E 's/^([^:]+:[0-9]+):.*/\1: a word that has no place here/'
        grep -E '\.[ch]$' <<<"$all" | grep -vE '^(bpf|tests)/' | xargs -r grep -nHIE "$in_c" |
            sed -E 's/^([^:]+:[0-9]+):.*/\1: an unbounded call/'
    } | grep -v '\.in/' | sort -t: -k1,1 -k2,2n
}

prove words
